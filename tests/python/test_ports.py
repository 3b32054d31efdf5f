"""Groups of one job that meet at ports, by published names, or over a socket."""

import functools
import socket
import unittest

from phalanx import MPI

COMM = MPI.COMM_WORLD


def port_of(rank: int) -> str:
    """Open a port at one rank and tell all ranks its name."""
    return COMM.bcast(MPI.Open_port() if rank == COMM.rank else None, root=rank)


def close(port: str, rank: int) -> None:
    COMM.barrier()
    if rank == COMM.rank:
        MPI.Close_port(port)


class Case(unittest.TestCase):
    def refused(self, error_class: int, call) -> str:
        """The text of the error of this class that `call` raises."""
        with self.assertRaises(MPI.Exception) as caught:
            call()
        self.assertEqual(caught.exception.Get_error_class(), error_class)
        return str(caught.exception)


class Ports(Case):
    @unittest.skipIf(COMM.size < 2, "two groups need two ranks")
    def test_two_groups_meet_and_part(self) -> None:
        port = port_of(0)
        side = COMM.rank % 2
        group = COMM.Split(side)
        for _ in range(3):
            # The name matters at the root only.
            name = port if group.rank == 0 else "any"
            meet = group.Connect if side else group.Accept
            inter = meet(name, root=0)
            self.assertTrue(inter.Is_inter())
            self.assertEqual(inter.size, group.size)
            self.assertEqual(inter.remote_size, COMM.size - group.size)
            others = inter.allgather(COMM.rank)
            self.assertEqual(others, list(range(1 - side, COMM.size, 2)))
            whole = inter.Merge(high=bool(side))
            self.assertEqual(whole.allreduce(1), COMM.size)
            whole.Free()
            inter.Disconnect()
        group.Free()
        close(port, 0)

    @unittest.skipIf(COMM.size < 3, "two that connect to a third")
    def test_those_who_connect_are_accepted_one_after_the_other(self) -> None:
        port = port_of(0)
        if COMM.rank == 0:
            seen = set()
            for _ in range(COMM.size - 1):
                inter = MPI.COMM_SELF.Accept(port)
                seen.add(inter.recv(source=0))
                inter.Disconnect()
            self.assertEqual(seen, set(range(1, COMM.size)))
        else:
            inter = MPI.COMM_SELF.Connect(port)
            inter.send(COMM.rank, 0)
            inter.Disconnect()
        close(port, 0)

    def test_a_name_that_is_no_port_is_refused_on_all_ranks(self) -> None:
        for name in ("", "nonsense", "phalanx:", "phalanx:elsewhere:1:0:2:ff"):
            for call in (COMM.Connect, COMM.Accept):
                text = self.refused(MPI.ERR_PORT, functools.partial(call, name))
                self.assertIn("port", text)

    def test_a_port_that_was_closed_is_refused(self) -> None:
        port = port_of(0)
        close(port, 0)
        COMM.barrier()
        text = self.refused(MPI.ERR_PORT, lambda: COMM.Connect(port))
        self.assertIn("closed", text)
        self.refused(MPI.ERR_PORT, lambda: MPI.Close_port(port))

    def test_only_the_owner_accepts_and_closes_and_it_does_not_connect(self) -> None:
        port = port_of(0)
        if COMM.rank == 0:
            text = self.refused(MPI.ERR_PORT, lambda: MPI.COMM_SELF.Connect(port))
            self.assertIn("own", text)
        else:
            self.refused(MPI.ERR_PORT, lambda: MPI.COMM_SELF.Accept(port))
            self.refused(MPI.ERR_PORT, lambda: MPI.Close_port(port))
        close(port, 0)

    def test_a_root_that_does_not_exist_is_refused(self) -> None:
        for root in (-1, COMM.size):
            for call in (COMM.Connect, COMM.Accept):
                self.refused(MPI.ERR_ROOT, functools.partial(call, "x", root=root))

    @unittest.skipIf(COMM.size < 2, "somebody waits for somebody else")
    def test_who_waits_at_a_port_that_closes_is_refused(self) -> None:
        port = port_of(0)
        COMM.barrier()
        if COMM.rank == 0:
            MPI.Close_port(port)
        else:
            self.refused(MPI.ERR_PORT, lambda: MPI.COMM_SELF.Connect(port))
        COMM.barrier()


class Names(Case):
    def test_a_published_port_is_found_until_it_is_taken_back(self) -> None:
        port = port_of(0)
        for service in ("simulation", "with spaces", "größe=100%"):
            if COMM.rank == 0:
                MPI.Publish_name(service, port)
                twice = functools.partial(MPI.Publish_name, service, port)
                self.refused(MPI.ERR_SERVICE, twice)
            COMM.barrier()
            self.assertEqual(MPI.Lookup_name(service), port)
            COMM.barrier()
            if COMM.rank == 0:
                MPI.Unpublish_name(service, port)
                twice = functools.partial(MPI.Unpublish_name, service, port)
                self.refused(MPI.ERR_SERVICE, twice)
            COMM.barrier()
            self.refused(MPI.ERR_NAME, functools.partial(MPI.Lookup_name, service))
            COMM.barrier()
        close(port, 0)


class Sockets(Case):
    @unittest.skipIf(COMM.size < 2, "a socket has two ends")
    def test_two_processes_join_over_a_socket(self) -> None:
        if COMM.rank == 0:
            server = socket.create_server(("127.0.0.1", 0))
            COMM.bcast(server.getsockname(), root=0)
            end, _ = server.accept()
            server.close()
        else:
            address = COMM.bcast(None, root=0)
            end = socket.create_connection(address) if COMM.rank == 1 else None
        if end is not None:
            inter = MPI.Comm.Join(end.fileno())
            self.assertEqual((inter.size, inter.remote_size), (1, 1))
            self.assertEqual(inter.sendrecv(COMM.rank, 0, source=0), 1 - COMM.rank)
            inter.Disconnect()
            # The socket is the caller's again, with nothing left in it.
            end.sendall(b"after")
            end.settimeout(30)
            self.assertEqual(end.recv(5, socket.MSG_WAITALL), b"after")
            end.close()
        COMM.barrier()

    def test_what_is_no_socket_is_refused(self) -> None:
        with open("/dev/null") as file:
            for descriptor in (file.fileno(), -1, 1 << 20):
                self.refused(MPI.ERR_ARG, functools.partial(MPI.Comm.Join, descriptor))

    def test_another_end_that_does_not_join_is_an_error(self) -> None:
        for said in (b"GET / HTTP/1.0\n", b"x" * 1000, b""):
            mine, other = socket.socketpair()
            other.sendall(said)
            other.shutdown(socket.SHUT_WR)
            join = functools.partial(MPI.Comm.Join, mine.fileno())
            self.refused(MPI.ERR_OTHER, join)
            mine.close()
            other.close()
