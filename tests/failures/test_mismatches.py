"""Ranks that contradict each other: every one of them learns who said what."""

import unittest

from jobs import JobCase

START = """
    import numpy as np
    from mpi4py import MPI
    world = MPI.COMM_WORLD
    me, size = world.rank, world.size
    odd = me == size - 1
    case = "the only one"

    def outcome(call, *then):
        try:
            call()
            for more in then:
                more()
        except MPI.Exception as error:
            name = MPI.Get_error_string(error.Get_error_class()).split(":")[0]
            print(case, "|", name, "|", error, flush=True)
        else:
            print(case, "| nothing wrong", flush=True)
"""

# What the last rank calls and what the others call, and what the errors say.
DIFFERENT = {
    "operations": ("comm.Barrier()", "comm.Bcast(ints)", ["Barrier", "Bcast of"]),
    "reductions and others": (
        "comm.Allgather(ints, many)",
        "comm.Allreduce(ints, out)",
        ["Allgather of", "Allreduce of"],
    ),
    "by messages and not": (
        "comm.Barrier()",
        "comm.Allgatherv(ints, many)",
        ["Barrier", "Allgatherv"],
    ),
    "sizes": (
        "comm.Allreduce(more, more_out)",
        "comm.Allreduce(ints, out)",
        ["Allreduce of"],
    ),
    "fewer bytes": (
        "comm.Allgather(one, many[:size])",
        "comm.Allgather(ints, many)",
        ["Allgather of 8 bytes", "Allgather of"],
    ),
    "roots": (
        "comm.Gather(ints, many, root=size - 1)",
        "comm.Gather(ints, many, root=0)",
        ["with root 0", "with root"],
    ),
    "roots of operations by messages": (
        "comm.Gatherv(ints, many, root=size - 1)",
        "comm.Gatherv(ints, many, root=0)",
        ["Gatherv with root 0", "with root"],
    ),
}

# The same, where the ranks stay in step: the communicator goes on.
IN_STEP = {
    "reductions": (
        "comm.Allreduce(ints, out, op=MPI.MAX)",
        "comm.Allreduce(ints, out, op=MPI.SUM)",
        ["MPI_ERR_OP", "MPI_MAX", "MPI_SUM"],
    ),
    "types": (
        "comm.Allreduce(floats, floats_out)",
        "comm.Allreduce(ints, out)",
        ["MPI_ERR_TYPE", "MPI_DOUBLE"],
    ),
    "reductions at a root": (
        "comm.Reduce(ints, out, op=MPI.MAX)",
        "comm.Reduce(ints, out, op=MPI.SUM)",
        ["MPI_ERR_OP", "MPI_MAX", "MPI_SUM"],
    ),
    "types that are moved": (
        "comm.Bcast(floats)",
        "comm.Bcast(ints)",
        ["MPI_ERR_TYPE", "MPI_DOUBLE"],
    ),
    "types of all": (
        "comm.Alltoall(float_blocks, float_blocks.copy())",
        "comm.Alltoall(many, many.copy())",
        ["MPI_ERR_TYPE", "MPI_DOUBLE"],
    ),
}

BUFFERS = """
    comm = world.Dup()
    ints, out = np.ones(COUNT, "i8"), np.zeros(COUNT, "i8")
    floats, floats_out = np.ones(COUNT), np.zeros(COUNT)
    one, more, more_out = ints[:1], np.ones(3 * COUNT, "i8"), np.zeros(3 * COUNT, "i8")
    many, float_blocks = np.ones(size * COUNT, "i8"), np.ones(size * COUNT)
"""


class TestCollectives(JobCase):
    def check(self, cases, body):
        """One job of each size goes through them, each on a communicator of its own."""
        labels = {}
        script = START
        for count in (5, 3000):
            for case, (last, others, texts) in cases.items():
                label = f"{case}, {count}"
                labels[label] = texts
                script += f'    case = "{label}"\n'
                script += BUFFERS.replace("COUNT", str(count))
                script += body.replace("LAST", last).replace("OTHERS", others)
        for ranks in (2, 3, 8):
            ended = self.run_job(ranks, script)
            self.assertEqual(ended.status, 0, ended.text)
            lines = ended.out.splitlines()
            for label, texts in labels.items():
                with self.subTest(label, ranks=ranks):
                    told = [x for x in lines if x.startswith(f"{label} |")]
                    told = [x for x in told if "disagree" in x]
                    self.assertEqual(len(told), ranks, ended.text)
                    for line in told:
                        for text in texts:
                            self.assertIn(text, line, ended.text)

    def test_that_differ_are_named_on_every_rank(self):
        # Who hears nobody learns of it in the next operation.
        body = """
    call = (lambda: LAST) if odd else (lambda: OTHERS)
    outcome(call, comm.Barrier)
    world.Barrier()
"""
        self.check(DIFFERENT, body)

    def test_that_differ_but_stay_in_step_harm_nothing(self):
        body = """
    def both():
        # Both are called, whatever becomes of the first.
        try:
            LAST if odd else OTHERS
        finally:
            comm.Barrier()
    outcome(both)
    assert comm.allreduce(me) == sum(range(size))
    comm.Allreduce(ints, out)
    assert (out == size).all()
"""
        self.check(IN_STEP, body)

    def test_without_waiting_are_errors_on_every_rank(self):
        script = (
            START
            + """
    for count in (1, 100_000):
        case = count
        data = np.ones(count, "f4" if odd else "i4")
        outcome(lambda: world.Iallreduce(data, np.zeros_like(data)).Wait())
        request = world.Allreduce_init(data, np.zeros_like(data))
        outcome(lambda: (request.Start(), request.Wait()))
        request.Free()
        assert world.allreduce(me) == sum(range(size))
"""
        )
        for ranks in (2, 3, 8):
            ended = self.run_job(ranks, script)
            self.assertEqual(ended.status, 0, ended.text)
            for count in (1, 100_000):
                with self.subTest(ranks=ranks, count=count):
                    lines = [
                        x for x in ended.out.splitlines() if x.startswith(f"{count} |")
                    ]
                    self.assertEqual(len(lines), 2 * ranks, ended.text)
                    for line in lines:
                        self.assertRegex(line, "MPI_ERR_(TYPE|TRUNCATE)", ended.text)
                    self.assertTrue(any("MPI_FLOAT" in x for x in lines), ended.text)

    def test_whose_counts_do_not_agree_are_named_where_data_comes(self):
        script = (
            START
            + """
    given, room = 10 + 2 * odd, np.zeros(10 * size, "i4")
    outcome(lambda: world.Gatherv(np.ones(given, "i4"), room))
    each = [10] * size
    if odd:
        each[0] = 7
    outcome(lambda: world.Alltoallv([np.ones(10 * size, "i4"), each], room))
    parts = [10] * size
    outcome(lambda: world.Scatterv([room, parts], np.zeros(10 - odd, "i4")))
    assert world.allreduce(me) == sum(range(size))
"""
        )
        for ranks in (2, 3, 8):
            with self.subTest(ranks=ranks):
                ended = self.run_job(ranks, script)
                self.assertEqual(ended.status, 0, ended.text)
                told = [x for x in ended.out.splitlines() if "nothing" not in x]
                self.assertEqual(len(told), 3, ended.text)
                for text in ("Gatherv", "Alltoallv", "Scatterv"):
                    (line,) = [x for x in told if text in x]
                    self.assertIn("MPI_ERR_TRUNCATE", line)
                    self.assertRegex(line, r"rank \d")
                    self.assertRegex(line, r"(28|36|40|48) bytes")


class TestMessages(JobCase):
    def test_of_another_type_are_named_with_both_sides(self):
        script = (
            START
            + """
    def receive(count, form):
        data = np.zeros(count, "i8")
        if form == "blocking":
            world.Recv(data, 0, 7)
        elif form == "persistent":
            request = world.Recv_init(data, 0, 7)
            request.Start()
            try:
                request.Wait()
            finally:
                request.Free()
        elif form == "matched":
            world.Mprobe(0, 7).Recv(data)
        else:
            world.Irecv(data, 0, 7).Wait()

    for count in (1, 100, 200_000):
        for form in ("blocking", "nonblocking", "persistent", "matched"):
            if me == 0:
                world.Send(np.ones(count), 1, 7)
            else:
                outcome(lambda: receive(count, form))
    assert world.allreduce(1) == 2
    if me == 0:
        request = world.Isend(np.ones(1, "f4"), 0, 7)
        outcome(lambda: world.Recv(np.zeros(1, "i4"), 0, 7))
        request.Wait()
"""
        )
        ended = self.run_job(2, script)
        self.assertEqual(ended.status, 0, ended.text)
        lines = ended.out.splitlines()
        self.assertEqual(len(lines), 13, ended.text)
        for line in lines:
            self.assertIn("MPI_ERR_TYPE", line)
            self.assertIn("type mismatch: rank 0 sent", line)
            self.assertIn("with tag 7 on", line)
        self.assertEqual(ended.out.count("MPI_DOUBLE"), 12, ended.text)
        self.assertEqual(ended.out.count("receives MPI_LONG"), 12, ended.text)

    def test_that_are_too_long_are_named_with_both_sides(self):
        script = (
            START
            + """
    for count in (4, 100_000):
        if me == 0:
            world.Send(np.ones(count), 1, 7)
        else:
            outcome(lambda: world.Recv(np.zeros(2), 0, 7))
    assert world.allreduce(1) == 2
"""
        )
        ended = self.run_job(2, script)
        self.assertEqual(ended.status, 0, ended.text)
        for text in ("32 bytes", "800000 bytes", "holds 16 bytes", "MPI_ERR_TRUNCATE"):
            self.assertIn(text, ended.out, ended.text)

    def test_of_types_that_match_are_not_accused(self):
        script = (
            START
            + """
    pair = MPI.Datatype.Create_struct([1, 1], [0, 8], [MPI.INT64_T, MPI.DOUBLE])
    pair.Commit()
    column = MPI.DOUBLE.Create_vector(4, 1, 2).Commit()
    numbers = np.arange(8.0)
    a, b = np.arange(4, dtype="i8"), np.arange(8, dtype="i4")
    right = [
        ([numbers, MPI.DOUBLE], [bytearray(64), MPI.BYTE]),
        ([bytes(64), MPI.BYTE], [numbers, MPI.DOUBLE]),
        ([bytes(64), MPI.CHAR], [numbers, MPI.DOUBLE]),
        (numbers.view("u1"), numbers),
        ([a, MPI.LONG], [a, MPI.INT64_T]),
        ([a, MPI.INT64_T], [a, MPI.UINT64_T]),
        ([a, MPI.AINT], [a, MPI.COUNT]),
        ([b, 4, MPI.TWOINT], [b, 8, MPI.INT]),
        ([numbers, MPI.DOUBLE], [numbers.view("c16"), MPI.C_DOUBLE_COMPLEX]),
        ([numbers, 4, MPI.DOUBLE], [numbers, 1, column]),
        ([numbers, 4, pair], [numbers, 64, MPI.PACKED]),
        ([numbers, 0, MPI.DOUBLE], [b, 0, MPI.INT]),
        ([numbers, 0, MPI.DOUBLE], [b, 4, MPI.INT]),
    ]
    for sent, received in right:
        if me == 0:
            world.Send(sent, 1)
            world.Ssend(sent, 1)
            world.Isend(sent, 1).Wait()
        else:
            world.Recv(received, 0)
            world.Irecv(received, 0).Wait()
            world.Mprobe(0).Recv(received)
        world.Barrier()
    for count in (1, 5000):
        for mine, theirs in ((np.ones(count), bytearray(8 * count)),
                             (np.ones(count, "i8"), np.ones(count, "u8"))):
            world.Bcast(mine if me == 0 else theirs)
            world.Bcast(theirs if me == 0 else mine)
            world.Ibcast(mine if me == 0 else theirs).Wait()
            world.Gather(mine, np.zeros(2 * count, mine.dtype) if me == 0 else None)
            world.Barrier()
    print("right", flush=True)
"""
        )
        ended = self.run_job(2, script)
        self.assertEqual(ended.status, 0, ended.text)
        self.assertEqual(ended.out.count("right"), 2, ended.text)


if __name__ == "__main__":
    unittest.main()
