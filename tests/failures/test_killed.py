"""A rank that is killed while large data moves, in every way that it moves."""

import random
import unittest

from moving import COLLECTIVES, PAIRS, SEED, WAYS, MovesCase, times

KILLED = """
comm.Barrier()
if me == {victim}:
    threading.Timer({seconds}, os.kill, (os.getpid(), signal.SIGKILL)).start()
turn = 0
try:
    while True:
        {operation}(turn)
        turn += 1
except MPI.Exception as error:
    assert error.Get_error_class() == MPI.ERR_PROC_ABORTED, error
    print(f"rank {{me}} was told: {{error}}", flush=True)
"""

# What the ranks that are left can still do, all of them together.
AFTERWARDS = """
left = [rank for rank in range(n) if rank != {victim}]
comm = comm.Create_group(comm.group.Incl(left))
me, n, last = comm.rank, comm.size, comm.size - 1
for operation in COLLECTIVES + PAIRS if n > 1 else ():
    operation(1)
print("went on", flush=True)
"""


# A partitioned message takes several calls: one of them can be interrupted, but not the
# whole, so that these are not among the pairs of the other tests.
BY_PAIRS = (*PAIRS, "parts")


class TestKilled(MovesCase):
    def cases(self, number: int) -> list:
        draw = random.Random(SEED)
        cases = []
        for _ in range(number):
            for ways in draw.sample(WAYS, len(WAYS)):
                operation = draw.choice(BY_PAIRS + COLLECTIVES)
                ranks = 2 if operation in BY_PAIRS else draw.choice((2, 3))
                victim = draw.choice((0, ranks - 1))
                cases.append((operation, ways, ranks, victim, draw.uniform(0, 0.04)))
        return cases

    def test_ends_the_job_which_names_it(self):
        def check(operation, ways, ranks, victim, seconds):
            script = KILLED.format(**locals())
            ended = self.moving(ranks, script, ways).end()
            self.assertEqual(ended.status, 128 + 9, ended.text)
            self.assert_says(ended, f"rank {victim} ", "SIGKILL")
            self.assertNotIn("Traceback", ended.err, ended.text)

        self.at_once(3, check, self.cases(times(5)))

    def test_is_told_to_those_who_wait_where_the_job_goes_on(self):
        def check(operation, ways, ranks, victim, seconds):
            script = (KILLED + AFTERWARDS).format(**locals())
            ended = self.moving(ranks, script, ways, "--keep-going").end()
            self.assertEqual(ended.status, 128 + 9, ended.text)
            self.assert_says(ended, f"rank {victim} ", "SIGKILL")
            told = [line for line in ended.out.splitlines() if "was told" in line]
            self.assertEqual(len(told), ranks - 1, ended.text)
            for line in told:
                self.assertRegex(line, r"MPI_[A-Z][a-z]+", ended.text)
                # Who is told by another rank may be told before the launcher knows.
                named = rf"rank {victim}\b.*ended|because a rank has ended"
                self.assertRegex(line, named, ended.text)
            self.assertEqual(ended.out.count("went on"), ranks - 1, ended.text)
            self.assertNotIn("Traceback", ended.err, ended.text)

        self.at_once(8, check, self.cases(times(4)))


if __name__ == "__main__":
    unittest.main()
