"""When one rank of a collective operation fails, the job shows that rank's error."""

import unittest

from jobs import JobCase

RUNS = 10

START = """
    import threading
    from mpi4py import MPI
    comm = MPI.COMM_WORLD
    bad = comm.size - 1
    thing = threading.Lock() if comm.rank == bad else 1
    things = [thing] * comm.size
"""

CALLS = {
    "bcast": "comm.bcast(thing, root=bad)",
    "scatter": "comm.scatter(things if comm.rank == bad else None, root=bad)",
    "gather": "comm.gather(thing, root=0)",
    "allgather": "comm.allgather(thing)",
    "alltoall": "comm.alltoall(things)",
    "reduce": "comm.reduce(thing, op=lambda a, b: a, root=0)",
    "allreduce": "comm.allreduce(thing, op=lambda a, b: a)",
}


class TestTheErrorThatBeganIt(JobCase):
    def assert_printed(self, ended, *texts):
        for text in texts:
            self.assertIn(text, ended.out, ended.text)

    def test_of_an_object_that_does_not_pickle(self):
        for operation, call in CALLS.items():
            for run in range(RUNS):
                with self.subTest(operation=operation, run=run):
                    ended = self.run_job(2, START + f"    {call}\n    comm.Barrier()\n")
                    self.assertEqual(ended.status, 1, ended.text)
                    self.assert_says(
                        ended, "TypeError: cannot pickle '_thread.lock' object"
                    )
                    self.assert_says(ended, "rank 1")

    def test_the_others_name_the_call_the_rank_and_its_error(self):
        for operation, call in CALLS.items():
            if operation in {"gather", "reduce"}:
                continue  # Only the root hears of it: see below.
            with self.subTest(operation=operation):
                self.check_reactions(operation, call, ranks=3, reacting=2)
        for operation in ("gather", "reduce"):
            with self.subTest(operation=operation):
                self.check_reactions(operation, CALLS[operation], ranks=2, reacting=1)

    def check_reactions(self, operation, call, ranks, reacting):
        script = (
            START
            + f"""
    try:
        {call}
    except RuntimeError as error:
        print(str(error).splitlines()[0])
        assert "Traceback" in str(error) and "in <module>" in str(error), str(error)
    except TypeError as error:
        assert comm.rank == bad
    assert comm.allreduce(comm.rank) == sum(range(comm.size))
    assert comm.allgather("x" * 200) == ["x" * 200] * comm.size
"""
        )
        ended = self.run_job(ranks, script)
        self.assertEqual(ended.status, 0, ended.text)
        told = f"{operation}: rank {ranks - 1} raised TypeError: cannot pickle"
        self.assertEqual(ended.out.count(told), reacting, ended.text)

    def test_a_sequence_of_the_wrong_length_is_not_called_pickling(self):
        for call in (
            "comm.scatter([1], root=0)",
            "comm.alltoall([1] * (1 + comm.rank))",
        ):
            script = f"""
    from mpi4py import MPI
    comm = MPI.COMM_WORLD
    try:
        {call}
    except RuntimeError as error:
        print(comm.rank, str(error).splitlines()[0])
    except ValueError as error:
        print(comm.rank, error)
    comm.Barrier()
"""
            with self.subTest(call=call):
                ended = self.run_job(2, script)
                self.assertEqual(ended.status, 0, ended.text)
                operation = call[5 : call.index("(")]
                self.assert_printed(
                    ended, f"{operation}: rank 0 raised ValueError: expecting 2 items"
                )
                self.assertNotIn("pickle", ended.out)

    def test_an_operation_that_raises_is_told_in_every_reduction(self):
        script = """
    from mpi4py import MPI
    comm = MPI.COMM_WORLD
    def op(a, b):
        if comm.rank == RAISES:
            raise LookupError("no such operand")
        return a
    large = [comm.rank] * 100_000
    for call in (comm.reduce, comm.allreduce, comm.scan, comm.exscan):
        for thing in (1, large):
            try:
                call(thing, op=op)
            except (LookupError, RuntimeError) as error:
                print(comm.rank, call.__name__, str(error).splitlines()[0])
            comm.Barrier()
"""
        for rank in (0, 2):
            with self.subTest(rank=rank):
                ended = self.run_job(4, script.replace("RAISES", str(rank)))
                self.assertEqual(ended.status, 0, ended.text)
                self.assert_printed(ended, "no such operand")
        self.assert_printed(
            ended, "3 scan scan: rank 2 raised LookupError: no such operand"
        )
        self.assert_printed(ended, "3 allreduce allreduce: rank 2 raised LookupError")

    def test_a_long_error_is_shortened(self):
        script = """
    from mpi4py import MPI
    comm = MPI.COMM_WORLD
    class Wordy:
        def __reduce__(self):
            raise ValueError("ä" * 1_000_000)
    try:
        comm.bcast(Wordy(), root=0)
    except RuntimeError as error:
        begins = str(error).startswith("bcast: rank 0 raised ValueError: ää")
        print(comm.rank, len(str(error)) < 10_000, begins)
    except ValueError as error:
        print(comm.rank, len(str(error)))
"""
        ended = self.run_job(2, script)
        self.assertEqual(ended.status, 0, ended.text)
        self.assert_printed(ended, "0 1000000", "1 True True")


if __name__ == "__main__":
    unittest.main()
