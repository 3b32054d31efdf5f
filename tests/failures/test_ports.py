"""Jobs that are started on their own and meet: at ports, by names, over sockets."""

import os
import random
import signal
import sys
import textwrap
import time
from pathlib import Path

from jobs import PHALANX, Ended, Job, JobCase

HEAD = """
import os, signal, socket, sys, time
from phalanx import MPI
comm = MPI.COMM_WORLD
me = comm.rank
def find(service):
    deadline = time.monotonic() + 30
    while True:
        try:
            return MPI.Lookup_name(service)
        except MPI.Exception as error:
            assert error.Get_error_class() == MPI.ERR_NAME, error
            assert time.monotonic() < deadline, error
            time.sleep(0.02)
def accept(service, times=1):
    port = MPI.Open_port() if me == 0 else ""
    if me == 0:
        MPI.Publish_name(service, port)
    for _ in range(times):
        yield comm.Accept(port)
    if me == 0:
        MPI.Unpublish_name(service, port)
        MPI.Close_port(port)
def connect(service):
    return comm.Connect(find(service) if me == 0 else "")
def refused(error_class, call, *args):
    try:
        call(*args)
    except MPI.Exception as error:
        assert error.Get_error_class() == error_class, error
        return str(error)
    raise AssertionError("not refused")
"""

TALK = """
def talk(inter, side):
    others = range(inter.remote_size)
    said = [inter.isend(("hello", side, me, [1.5] * 100), r, tag=me) for r in others]
    seen = set()
    for _ in others:
        status = MPI.Status()
        inter.probe(MPI.ANY_SOURCE, MPI.ANY_TAG, status)
        word, theirs, rank, data = inter.recv(source=status.source, tag=status.tag)
        assert (word, theirs, data) == ("hello", 1 - side, [1.5] * 100)
        assert rank == status.source == status.tag
        seen.add(rank)
    assert seen == set(others)
    MPI.Request.waitall(said)
    inter.Barrier()
    for size in (0, 1, 5000, 100_000, 9_000_000):
        mine = bytearray([side * 16 + me]) * size
        theirs = [bytearray(size) for _ in others]
        requests = [inter.Irecv(theirs[r], r, 5) for r in others]
        requests += [inter.Isend(mine, r, 5) for r in others]
        MPI.Request.Waitall(requests)
        for r in others:
            assert theirs[r] == bytearray([(1 - side) * 16 + r]) * size, size
    for r in others:
        inter.issend("matched", r, tag=9)
    assert [inter.mprobe(r, 9).recv() for r in others] == ["matched"] * len(others)
    assert inter.allgather(me) == list(others)
    assert inter.allreduce(side) == (1 - side) * len(others)
    whole = inter.Merge(high=bool(side))
    n = whole.size
    assert n == comm.size + len(others)
    assert whole.allreduce(whole.rank) == n * (n - 1) // 2
    assert whole.alltoall([(whole.rank, r) for r in range(n)]) == [
        (r, whole.rank) for r in range(n)
    ]
    big = bytearray(b"x" * 3_000_000 if whole.rank == n - 1 else 3_000_000)
    whole.Bcast(big, root=n - 1)
    assert big == b"x" * 3_000_000
    assert whole.scan(1) == whole.rank + 1
    copy = inter.Dup()
    part = whole.Split(whole.rank % 2, -whole.rank)
    assert part.allgather(whole.rank) == sorted(
        (r for r in range(n) if r % 2 == whole.rank % 2), reverse=True
    )
    request = part.Ibarrier()
    request.Wait()
    shared = whole.Split_type(MPI.COMM_TYPE_SHARED)
    assert shared.size == comm.size
    MPI.Win.Allocate(64, comm=shared).Free()
    for call in (
        lambda: MPI.Win.Allocate(64, comm=whole),
        lambda: MPI.File.Open(whole, "file", MPI.MODE_CREATE | MPI.MODE_RDWR),
        lambda: whole.Spawn(sys.executable),
        lambda: whole.Accept("phalanx"),
    ):
        text = refused(MPI.ERR_UNSUPPORTED_OPERATION, call)
        assert "several jobs" in text, text
    copy.Barrier()
    for other in (part, shared, copy, whole):
        other.Free()
"""

# A rank that waits for the other job, and lives on when that ends.
OUTLIVE = """
    print("met", flush=True)
    count = 0
    try:
        while True:
            inter.allgather(me)
            inter.sendrecv(bytes(200_000), 0, source=0) if me == 0 else None
            count += 1
    except MPI.Exception as error:
        known = (MPI.ERR_PROC_ABORTED, MPI.ERR_PROC_FAILED)
        assert error.Get_error_class() in known, error
        print("told", flush=True)
    inter.Free()
    assert comm.allreduce(1) == comm.size
    if me == 0:
        print("went on", flush=True)
"""


class PortCase(JobCase):
    """Jobs that have a folder each, and one place for names."""

    def setUp(self) -> None:
        super().setUp()
        self.names = Path(self.folder, "names")
        self.names.mkdir(mode=0o700)
        self.service = f"service {self.mark}"
        self.count = 0

    def begin(self, ranks: int, script: str, *flags: str, **environment: str) -> Job:
        """Start a job of so many ranks; of one process without launcher for 0."""
        self.count += 1
        folder = Path(self.folder, f"job{self.count}")
        (folder / "tmp").mkdir(parents=True)
        path = folder / "script.py"
        text = HEAD + TALK + f"service = {self.service!r}\n" + textwrap.dedent(script)
        path.write_text(text)
        command = [sys.executable, str(path)]
        if ranks:
            command = [PHALANX, "run", "-n", str(ranks), *flags, *command]
        environment["XDG_RUNTIME_DIR"] = str(self.names)
        return Job(str(folder), self.mark, command, **environment)

    def both(self, first: Job, second: Job) -> None:
        """Both end well; a failure tells what either has said."""
        ends = []
        for job in (first, second):
            try:
                ends.append(job.end())
            except AssertionError as hung:
                ends.append(Ended(-1, str(hung), ""))
        for ended in ends:
            self.assertEqual(ended.status, 0, "\n".join(e.text for e in ends))

    def names_left(self) -> list[str]:
        folder = self.names / "phalanx-names"
        return [path.name for path in folder.glob("*.n*")]


class TestJobsThatMeet(PortCase):
    def test_at_a_port_with_a_published_name(self):
        for server, client in ((1, 1), (2, 3), (3, 1), (2, 0), (0, 2)):
            with self.subTest(server=server, client=client):
                first = self.begin(
                    server,
                    "for inter in accept(service):\n"
                    "    talk(inter, 0)\n"
                    "    inter.Disconnect()\n",
                )
                second = self.begin(
                    client,
                    "inter = connect(service)\ntalk(inter, 1)\ninter.Disconnect()\n",
                )
                self.both(first, second)
                self.assertEqual(self.names_left(), [])

    def test_fifty_times_and_nothing_grows(self):
        counting = """
        def held():
            maps = open("/proc/self/maps").read().count("phalanx-universe")
            return len(os.listdir("/proc/self/fd")), maps
        def meet(i, inter, seen=[]):
            got = inter.sendrecv(bytes(100_000), me % inter.remote_size,
                                 source=me % inter.remote_size) if me < 2 else b""
            assert me >= 2 or len(got) == 100_000
            inter.Disconnect()
            comm.barrier()
            if i >= 10:
                seen.append(held())
                assert seen[-1] <= max(seen[:3]), seen
        """
        first = self.begin(
            2,
            textwrap.dedent(counting)
            + "for i, inter in enumerate(accept(service, 50)):\n    meet(i, inter)\n",
        )
        second = self.begin(
            3,
            textwrap.dedent(counting)
            + "port = find(service) if me == 0 else ''\n"
            + "for i in range(50):\n    meet(i, comm.Connect(port))\n",
        )
        self.both(first, second)

    def test_over_a_socket(self):
        first = self.begin(
            2,
            """
            inter = None
            if me == 0:
                server = socket.create_server(("127.0.0.1", 0))
                print("listens", server.getsockname()[1], flush=True)
                end, _ = server.accept()
                inter = MPI.Comm.Join(end.fileno())
                assert (inter.size, inter.remote_size) == (1, 1)
                assert inter.sendrecv("first", 0, source=0) == "second"
                inter.Disconnect()
                end.sendall(b"after")
                assert end.recv(5, socket.MSG_WAITALL) == b"after"
            """,
        )
        first.wait_for("listens")
        port = first.read(first.out).split()[1]
        second = self.begin(
            0,
            f"""
            end = socket.create_connection(("127.0.0.1", {port}))
            inter = MPI.Comm.Join(end.fileno())
            assert inter.sendrecv("second", 0, source=0) == "first"
            inter.Disconnect()
            end.sendall(b"after")
            assert end.recv(5, socket.MSG_WAITALL) == b"after"
            """,
        )
        self.both(first, second)

    def test_several_clients_at_once(self):
        server = self.begin(
            2,
            """
            inters = list(accept(service, 3))
            seen = [inter.recv(source=0) for inter in inters] if me == 0 else []
            assert me or sorted(seen) == [0, 1, 2], seen
            for inter in inters:
                inter.Barrier()
            for inter in inters:
                inter.Disconnect()
            """,
        )
        clients = [
            self.begin(
                ranks,
                f"""
                inter = connect(service)
                inter.send({number}, 0) if me == 0 else None
                inter.Barrier()
                inter.Disconnect()
                """,
            )
            for number, ranks in enumerate((0, 1, 2))
        ]
        for job in (server, *clients):
            ended = job.end()
            self.assertEqual(ended.status, 0, ended.text)

    def test_a_client_that_is_stopped_meanwhile(self):
        """Whoever lives is waited for, however long it is stopped."""
        server = self.begin(
            2,
            """
            port = MPI.Open_port() if me == 0 else ""
            if me == 0:
                MPI.Publish_name(service, port)
                print("is open", flush=True)
                while not os.path.exists("go"):
                    time.sleep(0.01)
            inter = comm.Accept(port)
            inter.Barrier()
            inter.Disconnect()
            """,
        )
        server.wait_for("is open")
        client = self.begin(
            0,
            """
            port = find(service)
            print("knows", flush=True)
            inter = comm.Connect(port)
            inter.Barrier()
            inter.Disconnect()
            """,
        )
        client.wait_for("knows")
        time.sleep(0.5)
        os.kill(client.process.pid, signal.SIGSTOP)
        Path(server.out.name).with_name("go").touch()
        time.sleep(12)
        os.kill(client.process.pid, signal.SIGCONT)
        self.both(server, client)


class TestDeadlocksOfJobsThatHaveMet(PortCase):
    """What another job may do is not known: nobody who waits for it is accused."""

    SERVER = """
        for inter in accept(service):
            {first}
            if me == 0:
                inter.recv(source=0)
                comm.send(None, 1)
            else:
                comm.recv(source=0)
            inter.Disconnect()
    """
    CLIENT = """
        inter = connect(service)
        time.sleep({seconds})
        inter.send(None, 0)
        inter.Disconnect()
    """

    def start_both(self, first: str, seconds: float) -> tuple[Job, Job]:
        server = textwrap.dedent(self.SERVER).format(first=first)
        client = textwrap.dedent(self.CLIENT).format(seconds=seconds)
        watched = {"PHALANX_ON_DEADLOCK": ""}
        return self.begin(2, server, **watched), self.begin(0, client, **watched)

    def test_waits_for_a_guest_and_for_who_waits_for_one(self):
        server, client = self.start_both("", 4)
        self.both(server, client)

    def test_ranks_of_one_job_that_wait_for_each_other_are_told(self):
        server, client = self.start_both("comm.recv(source=1 - me)", 0)
        ended = server.end()
        self.assertNotEqual(ended.status, 0, ended.text)
        self.assertIn("deadlock", ended.err.lower())
        for rank in ("rank 0", "rank 1"):
            self.assertIn(rank, ended.err)
        self.assertNotEqual(client.end().status, 0, "its peer has ended")


class TestJobsThatEnd(PortCase):
    """One side is killed: the other one is told, and lives on."""

    SERVER = "for inter in accept(service):" + OUTLIVE
    CLIENT = "if True:\n    inter = connect(service)" + OUTLIVE

    def check(self, ranks: tuple[int, int], whom: int, how: str, after: float) -> None:
        # Ranks of a launcher that was killed live on for a moment, with their port.
        self.service = f"service {self.mark} {self.count}"
        jobs = self.begin(ranks[0], self.SERVER), self.begin(ranks[1], self.CLIENT)
        for job, other, n in zip(jobs, jobs[::-1], ranks, strict=True):
            try:
                job.wait_for("met", max(n, 1))
            except AssertionError as error:
                raise AssertionError(f"{error}\n{other.read(other.err)}") from None
        time.sleep(after)
        victim, survivor = jobs[whom], jobs[1 - whom]
        if how == "launcher" or not ranks[whom]:
            os.kill(victim.process.pid, signal.SIGKILL)
        else:
            os.kill(random.choice(children_of(victim.process.pid)), signal.SIGKILL)
        ended = survivor.end()
        dead = victim.end()
        self.assertEqual(ended.status, 0, ended.text + dead.text)
        told = ended.out.count("told")
        self.assertEqual(told, max(ranks[1 - whom], 1), ended.text)
        self.assertIn("went on", ended.out)
        self.assertNotEqual(dead.status, 0, dead.text)

    def test_a_rank_is_killed(self):
        for ranks in ((1, 1), (2, 3), (3, 2)):
            for whom in (0, 1):
                with self.subTest(ranks=ranks, whom=whom):
                    self.check(ranks, whom, "rank", random.uniform(0, 0.3))

    def test_a_launcher_is_killed(self):
        for whom in (0, 1):
            with self.subTest(whom=whom):
                self.check((2, 2), whom, "launcher", random.uniform(0, 0.3))

    def test_a_program_without_launcher_is_killed(self):
        self.check((2, 0), 1, "rank", 0.1)
        self.check((0, 2), 0, "rank", 0.1)

    def test_a_server_outlives_clients_that_are_killed_while_they_connect(self):
        server = self.begin(
            2,
            """
            met = 0
            port = MPI.Open_port() if me == 0 else ""
            print(port, "is open", flush=True) if me == 0 else None
            while True:
                try:
                    inter = comm.Accept(port)
                except MPI.Exception as error:
                    continue
                try:
                    word = inter.bcast(None, root=0)
                    assert word == "over"
                    inter.Disconnect()
                    break
                except MPI.Exception as error:
                    known = (MPI.ERR_PROC_ABORTED, MPI.ERR_PROC_FAILED)
                    assert error.Get_error_class() in known, error
                    inter.Free()
            """,
        )
        server.wait_for("is open")
        port = server.read(server.out).split()[0]
        for _ in range(8):
            client = self.begin(0, f"comm.Connect({port!r})\ntime.sleep(100)\n")
            time.sleep(random.uniform(0.05, 0.4))
            os.kill(client.process.pid, signal.SIGKILL)
            client.end()
        last = self.begin(
            2,
            f"""
            inter = comm.Connect({port!r})
            inter.bcast("over", root=MPI.ROOT if me == 0 else MPI.PROC_NULL)
            inter.Disconnect()
            """,
        )
        self.both(server, last)


class TestPortsThatAreNone(PortCase):
    def test_wild_names(self):
        script = """
        port = MPI.Open_port()
        MPI.Close_port(port)
        parts = port.split(":")
        wild = ["", "x", "phalanx", port, port + ":1", port[:-1], "phalanx:" * 100]
        wild += ["phalanx:machine:1:0:12:0", "phalanx:" + "9" * 900]
        for at in range(1, 6):
            for word in ("", "-1", "0", "ffffffffffffffffff", "\\u00e4"):
                wild.append(":".join([*parts[:at], word, *parts[at + 1:]]))
        for name in wild:
            text = refused(MPI.ERR_PORT, comm.Connect, name)
            assert "port" in text, text
            refused(MPI.ERR_PORT, comm.Accept, name)
        """
        ended = self.begin(2, script).end()
        self.assertEqual(ended.status, 0, ended.text)

    def test_the_port_and_the_name_of_a_job_that_has_been_killed(self):
        script = """
        port = MPI.Open_port()
        MPI.Publish_name(service, port)
        print(port, "is open", flush=True)
        time.sleep(100)
        """
        job = self.begin(1, script)
        job.wait_for("is open")
        port = job.read(job.out).split()[0]
        self.assertEqual(len(self.names_left()), 1)
        os.kill(job.process.pid, signal.SIGKILL)
        job.end()
        self.assert_nothing_left()
        ended = self.begin(
            2,
            f"""
            text = refused(MPI.ERR_PORT, comm.Connect, {port!r})
            assert "not open" in text, text
            text = refused(MPI.ERR_NAME, MPI.Lookup_name, service)
            assert service in text, text
            """,
        ).end()
        self.assertEqual(ended.status, 0, ended.text)
        self.assertEqual(self.names_left(), [])

    def test_waits_have_an_end(self):
        script = """
        short = MPI.Info.Create({"timeout": "0.3"})
        port = MPI.Open_port() if me == 0 else ""
        text = refused(MPI.ERR_PORT, comm.Accept, port, short)
        assert "within 0.3 s" in text, text
        wrong = MPI.Info.Create({"timeout": "soon"})
        if me == 0:
            refused(MPI.ERR_INFO_VALUE, comm.Accept, port, wrong)
            MPI.Publish_name(service, port)
            print("is open", flush=True)
        else:
            refused(MPI.ERR_PORT, comm.Accept, port, wrong)
        comm.barrier()
        time.sleep(2)
        """
        first = self.begin(2, script)
        first.wait_for("is open")
        second = self.begin(
            2,
            """
            short = MPI.Info.Create({"timeout": "0.3"})
            port = find(service)
            text = refused(MPI.ERR_PORT, comm.Connect, port, short)
            assert "within 0.3 s" in text, text
            """,
        )
        self.both(first, second)

    def test_waits_can_be_interrupted(self):
        accepting = """
        port = MPI.Open_port()
        MPI.Publish_name(service, port)
        print("waits", flush=True)
        try:
            MPI.COMM_SELF.Accept(port)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        """
        connecting = """
        port = find(service)
        print("waits", flush=True)
        try:
            MPI.COMM_SELF.Connect(port)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        """
        busy = """
        MPI.Publish_name(service, MPI.Open_port())
        print("is there", flush=True)
        time.sleep(5)
        """
        first = self.begin(0, accepting)
        first.wait_for("waits")
        os.kill(first.process.pid, signal.SIGINT)
        ended = first.end()
        self.assertEqual(ended.status, 0, ended.text)
        self.assertIn("interrupted", ended.out)
        server = self.begin(0, busy)
        server.wait_for("is there")
        second = self.begin(0, connecting)
        second.wait_for("waits")
        time.sleep(0.2)
        os.kill(second.process.pid, signal.SIGINT)
        ended = second.end()
        self.assertEqual(ended.status, 0, ended.text)
        self.assertIn("interrupted", ended.out)
        server.end()


class TestServersOfExecutors(PortCase):
    def test_the_ranks_of_another_job_work(self):
        server = self.launch_server()
        client = self.begin(0, CLIENT)
        self.both(server, client)

    def launch_server(self) -> Job:
        self.count += 1
        folder = Path(self.folder, f"job{self.count}")
        (folder / "tmp").mkdir(parents=True)
        command = [PHALANX, "run", "-n", "4", sys.executable, "-m"]
        command += ["mpi4py.futures.server", "--service", self.service]
        return Job(str(folder), self.mark, command, XDG_RUNTIME_DIR=str(self.names))


CLIENT = """
from phalanx._mpi_futures import MPIPoolExecutor
if __name__ == "__main__":
    find(service)
    with MPIPoolExecutor(service=service) as executor:
        squares = executor.map(pow, range(200), [2] * 200)
        assert list(squares) == [i * i for i in range(200)]
        assert executor.num_workers == 4
"""


def children_of(launcher: int) -> list[int]:
    """The ranks that a launcher has started, without its helpers."""
    path = Path(f"/proc/{launcher}/task/{launcher}/children")
    children = [int(child) for child in path.read_text().split()]
    words = {c: Path(f"/proc/{c}/cmdline").read_text().split("\0") for c in children}
    return [child for child in children if words[child][1].endswith("script.py")]
