"""Ranks that are killed in a job that goes on: what the others are told, and how they
agree, shrink their communicators and go on."""

import unittest

from jobs import Ended, JobCase

HEAD = """
    import array, os, random, signal, sys, time
    from mpi4py import MPI
    world = MPI.COMM_WORLD
    me, size = world.rank, world.size
    last = size - 1
    FAILED, REVOKED, PENDING = (
        MPI.ERR_PROC_FAILED, MPI.ERR_REVOKED, MPI.ERR_PROC_FAILED_PENDING)

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def fails(error_class, call, *arguments, **options):
        try:
            result = call(*arguments, **options)
        except MPI.Exception as error:
            assert error.error_class == error_class, error
            return error
        raise AssertionError(f"{call} gave {result}")

    def known(comm, *ranks):
        "Wait until these ranks are known to have failed."
        while True:
            group = comm.Get_failed()
            there = comm.group.Translate_ranks(list(ranks), group)
            if MPI.UNDEFINED not in there:
                return group
            time.sleep(0.01)
"""

TAIL = """
    print("done", flush=True)
"""


class TestFaultTolerance(JobCase):
    def survive(
        self, ranks: int, script: str, dead: int = 1, status: int = 128 + 9
    ) -> Ended:
        """All but so many ranks come to the end of the script."""
        ended = self.run_job(ranks, HEAD + script + TAIL, "--keep-going")
        self.assertEqual(ended.status, status, ended.text)
        self.assertEqual(ended.out.count("done"), ranks - dead, ended.text)
        return ended

    def each(self, script: str, ranks: tuple[int, ...] = (2, 3, 8)) -> None:
        for n in ranks:
            with self.subTest(ranks=n):
                self.survive(n, script)

    def test_receive_from_the_dead(self):
        script = """
    if me == last:
        world.send("before", 0)
        die()
    if me == 0:
        assert world.recv(source=last) == "before"
    error = fails(FAILED, world.recv, source=last)
    assert f"rank {last}" in str(error), error
    error = fails(FAILED, world.Ssend, bytearray(8), last)
    fails(FAILED, world.probe, source=last)
    fails(FAILED, world.Irecv(bytearray(8), last).Wait)
"""
        self.each(script)

    def test_exit_without_finalize(self):
        script = """
    if me == last:
        os._exit(3)
    fails(FAILED, world.recv, source=last)
    assert known(world, last).size == 1
    new = world.Shrink()
    assert new.size == size - 1
"""
        for n in (2, 3):
            self.survive(n, script, status=3)

    def test_receive_from_any_source(self):
        script = """
    if me == last:
        die()
    if me == 0:
        fails(FAILED, world.recv)
        fails(FAILED, world.Recv, bytearray(8))
        fails(FAILED, world.probe)
        # What has been started goes on, and is told of once for each wait.
        room = array.array("i", [0])
        request = world.Irecv(room)
        for _ in range(3):
            fails(PENDING, request.Wait)
            assert request != MPI.REQUEST_NULL
        while True:
            try:
                assert not request.Test()
            except MPI.Exception as error:
                assert error.error_class == PENDING, error
                break
        known(world, last)
        assert world.Ack_failed(0) == 0
        assert world.Ack_failed() == 1 == world.Ack_failed(0) == world.Ack_failed(9)
        for rank in range(1, last):
            world.send("go", rank)
        for at in range(1, last):
            if at == 1:
                request.Wait()
                assert room[0] == 7
            else:
                world.Recv(room)
                assert room[0] == 7
        if last == 1:
            request.Cancel()
            request.Wait()
    elif me != last:
        assert world.recv(source=0) == "go"
        world.Send(array.array("i", [7]), 0)
"""
        self.each(script)

    def test_wait_for_several(self):
        script = """
    if me == last:
        die()
    if me == 0:
        rooms = [array.array("i", [0]) for _ in range(size + 1)]
        requests = [world.Irecv(rooms[rank], rank) for rank in range(size)]
        requests.append(world.Irecv(rooms[size], MPI.ANY_SOURCE, 5))
        world.Send(array.array("i", [0]), 0)
        statuses = [MPI.Status() for _ in requests]
        try:
            MPI.Request.Waitall(requests, statuses)
        except MPI.Exception as error:
            assert error.error_class == MPI.ERR_IN_STATUS, error
        else:
            raise AssertionError("Waitall has not failed")
        classes = [MPI.Get_error_class(status.error) for status in statuses]
        assert classes == [0] * last + [FAILED, PENDING], classes
        assert [room[0] for room in rooms[:last]] == list(range(last)), rooms
        null = [request == MPI.REQUEST_NULL for request in requests]
        assert null == [True] * size + [False], null
        known(world, last)
        world.Ack_failed()
        world.Send(array.array("i", [5]), 0, 5)
        requests[-1].Wait()
        assert rooms[-1][0] == 5
    else:
        world.Send(array.array("i", [me]), 0)
"""
        self.each(script)

    def test_collectives(self):
        script = """
    victim = size // 2
    comms = [world.Dup() for _ in range(9)]
    one, all = array.array("i", [1]), array.array("i", [0] * size)
    big = array.array("d", [1.0] * 100000)
    if me == victim:
        die()
    fails(FAILED, comms[0].Barrier)
    fails(FAILED, comms[1].Allreduce, one, all[:1])
    fails(FAILED, comms[2].Allgather, one, all)
    fails(FAILED, comms[3].Ibarrier().Wait)
    fails(FAILED, comms[4].Iallreduce(big, big[:]).Wait)
    fails(FAILED, comms[5].Alltoall, all, all[:])
    fails(FAILED, comms[6].allgather, me)
    fails(FAILED, comms[7].Split)
    for comm in comms[:8]:
        fails(FAILED, comm.Barrier)
    # A broadcast needs not everybody; it ends in any case.
    try:
        comms[8].Ibcast(big, 0).Wait()
    except MPI.Exception as error:
        assert error.error_class == FAILED, error
    new = world.Shrink()
    new.Barrier()
"""
        self.each(script)

    def test_a_rank_dies_in_a_collective(self):
        script = """
    data = array.array("d", [1.0] * 1000)
    turns = 0
    comm = world
    while comm.size == size:
        turns += 1
        if me == last and turns == 50:
            die()
        try:
            comm.Allreduce(data, array.array("d", data))
        except MPI.Exception as error:
            assert error.error_class in (FAILED, REVOKED), error
            comm.Revoke()
            comm = comm.Shrink()
    assert comm.size == last and comm.allreduce(1) == last
    assert comm.rank == me
"""
        self.each(script)

    def test_agree(self):
        script = """
    assert world.Agree(~(1 << me)) == ~((1 << size) - 1)
    if me == last:
        die()
    error = fails(FAILED, world.Agree, 1)
    assert f"rank {last}" in str(error), error
    assert known(world, last).size == 1
    # Not all have acknowledged it.
    if me == 0:
        world.Ack_failed()
    if last > 1:
        fails(FAILED, world.Agree, 1)
    world.Ack_failed()
    assert world.Agree(6 if me == 0 else 3) == (6 if last == 1 else 2)
    flag = array.array("i", [6 if me == 0 else 3])
    world.Iagree(flag).Wait()
    assert flag[0] == (6 if last == 1 else 2)
"""
        self.each(script)

    def test_a_rank_dies_while_the_others_agree(self):
        script = """
    draw = random.Random(os.environ["DRAW"])
    when = draw.uniform(0, 0.02)
    outcomes = []
    if me == last:
        def kill(*_):
            die()
        signal.signal(signal.SIGALRM, kill)
        signal.setitimer(signal.ITIMER_REAL, 0.05 + when)
    for turn in range(1000000):
        try:
            if turn % 2:
                outcomes.append(world.Agree(turn | 1 << 20 + me % 8))
            else:
                flag = array.array("i", [turn | 1 << 20 + me % 8])
                world.Iagree(flag).Wait()
                outcomes.append(flag[0])
        except MPI.Exception as error:
            assert error.error_class == FAILED, error
            break
    new = world.Shrink()
    assert new.size == last, new.size
    # All have seen the same outcomes, and the same end.
    everybody = new.allgather((turn, hash(tuple(outcomes))))
    assert len(set(everybody)) == 1, everybody
"""
        for n in (2, 3, 8):
            for draw in range(4):
                with self.subTest(ranks=n, draw=draw):
                    self.survive(n, script.replace('os.environ["DRAW"]', str(draw)))

    def test_ranks_die_while_the_others_shrink(self):
        script = """
    comm = world
    draw = random.Random(DRAW + me)
    if me % 2:
        signal.signal(signal.SIGALRM, lambda *_: die())
        signal.setitimer(signal.ITIMER_REAL, 0.05 + draw.uniform(0, 0.03))
    alive = (size + 1) // 2
    while comm.size > alive:
        if comm.rank % 3 == 0:
            new = comm.Shrink()
        else:
            new, request = comm.Ishrink()
            request.Wait()
        assert new.rank <= comm.rank and new.size <= comm.size
        assert new.group.Translate_ranks([new.rank], world.group) == [me]
        comm.Free() if comm != world else None
        comm = new
    assert comm.size == alive
    while True:
        try:
            members = comm.allgather(me)
            break
        except MPI.Exception as error:
            comm.Revoke()
            comm = comm.Shrink()
    assert members == list(range(0, size, 2)), members
"""
        for n in (2, 3, 8):
            for draw in range(3):
                with self.subTest(ranks=n, draw=draw):
                    self.survive(n, script.replace("DRAW", str(100 * draw)), n // 2)

    def test_revoking_wakes_who_waits(self):
        script = """
    waits = [
        lambda comm: comm.recv(source=0),
        lambda comm: comm.Recv(bytearray(8), 0),
        lambda comm: comm.probe(),
        lambda comm: comm.mprobe(),
        lambda comm: comm.Barrier(),
        lambda comm: comm.Allreduce(array.array("i", [1]), array.array("i", [1])),
        lambda comm: comm.Ibarrier().Wait(),
        lambda comm: comm.Ssend(b"x", 0),
        lambda comm: comm.Send(bytearray(10_000_000), 0),
        lambda comm: comm.Isend(bytearray(10_000_000), 0).Wait(),
        lambda comm: comm.Irecv(bytearray(10_000_000), 0).Wait(),
        lambda comm: comm.bcast(None, 0),
        lambda comm: comm.Dup(),
    ]
    for wait in waits:
        comm = world.Dup()
        if me == 0:
            time.sleep(0.05)
            comm.Revoke()
            assert comm.Is_revoked()
        else:
            error = fails(REVOKED, wait, comm)
            assert "rank 0" in str(error), error
            assert comm.Is_revoked()
        fails(REVOKED, comm.Send, b"x", MPI.PROC_NULL)
        fails(REVOKED, comm.recv)
        assert comm.Agree(me | 8) >= 8
        new = comm.Shrink()
        assert new.size == size and new.allreduce(1) == size
        comm.Free()
        new.Free()
    world.Barrier()
"""
        for n in (2, 3, 8):
            with self.subTest(ranks=n):
                self.survive(n, script, 0, 0)

    def test_a_revoker_dies(self):
        script = """
    comm = world.Dup()
    if me == last:
        comm.Revoke()
        die()
    fails(REVOKED, comm.recv, source=(me + 1) % size if me + 1 < last else me)
    new = comm.Shrink()
    assert new.size == last
    world.Shrink().Barrier()
"""
        self.each(script)

    def test_intercommunicators(self):
        script = """
    half = size // 2
    mine = world.Split(int(me >= half))
    inter = mine.Create_intercomm(0, world, half if me < half else 0)
    other = inter.Dup()
    low = ~(1 << me)
    theirs = range(half, size) if me < half else range(half)
    expected = ~sum(1 << rank for rank in theirs)
    assert inter.Agree(low) == expected
    if me == last:
        die()
    if me < half:
        fails(FAILED, inter.recv, source=inter.remote_size - 1)
    fails(FAILED, inter.Barrier)
    fails(FAILED, inter.Agree, 1)
    assert inter.Get_failed().size == 1
    inter.Ack_failed()
    inter.Agree(1)
    if me == 0:
        other.Revoke()
    else:
        # From one that lives: of the failure, nothing has been acknowledged here.
        fails(REVOKED, other.recv, source=0)
    if size > 2:
        new = other.Shrink()
        assert new.Is_inter() and new.size + new.remote_size == last
        merged = new.Merge(me >= half)
        assert merged.allreduce(1) == last
    else:
        fails(FAILED, other.Shrink)
"""
        self.each(script)

    def test_spawned_worlds(self):
        script = """
    if len(sys.argv) > 1:
        parent = MPI.Comm.Get_parent()
        if me == 0:
            die()
        new = parent.Shrink()
        assert (new.size, new.remote_size) == (1, int(sys.argv[1]))
        new.Merge(True).Barrier()
        sys.exit()
    info = MPI.Info.Create({"phalanx_expendable": "true"})
    inter = world.Spawn(sys.executable, [__file__, str(size)], 2, info)
    if me == 0:
        fails(FAILED, inter.recv, source=0)
    new = inter.Shrink()
    assert (new.size, new.remote_size) == (size, 1), (new.size, new.remote_size)
    new.Merge(False).Barrier()
    world.Barrier()
"""
        for n in (1, 2):
            with self.subTest(ranks=n):
                ended = self.run_job(
                    n, HEAD + script + TAIL, "--keep-going", "--oversubscribe"
                )
                self.assertEqual(ended.out.count("done"), n, ended.text)

    def test_many_communicators(self):
        script = """
    for turn in range(300):
        comm = world.Dup()
        assert comm.Agree(turn) == turn
        comm.Shrink().Free()
        comm.Revoke()
        comm.Free()
    world.Barrier()
"""
        self.survive(3, script, 0, 0)


if __name__ == "__main__":
    unittest.main()
