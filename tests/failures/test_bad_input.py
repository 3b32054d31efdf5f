"""Wrong arguments raise errors that say what was wrong, and the job goes on."""

import json
import textwrap
import unittest

from jobs import JobCase

PREAMBLE = """
import json
from array import array
from mpi4py import MPI
comm = MPI.COMM_WORLD
def outcome(call):
    try:
        call()
    except BaseException as error:
        kind = type(error).__name__
        name = error.error_string if hasattr(error, "error_string") else str(error)
        return kind, str(error), name
    return "none", "", ""
result = None
"""


class TestBadArguments(JobCase):
    def outcomes(self, ranks: int, body: str) -> dict:
        """Run the body, which fills `result` on rank 0; then all must work still."""
        script = (
            PREAMBLE
            + textwrap.dedent(body)
            + "\nassert comm.allreduce(1) == comm.size\n"
            + "if comm.rank == 0: print(json.dumps(result), flush=True)\n"
        )
        ended = self.run_job(ranks, script)
        self.assertEqual(ended.status, 0, ended.text)
        return json.loads(ended.out)

    def assert_raised(self, outcome, kinds: tuple[str, ...], *texts: str) -> None:
        kind, text, _ = outcome
        self.assertIn(kind, kinds, outcome)
        for expected in texts:
            self.assertIn(expected.lower(), text.lower(), outcome)

    def test_rank_tag_root_and_count(self):
        body = """
            b = array("d", [1.0] * 4)
            calls = {
                "rank": lambda: comm.Send(b, dest=comm.size),
                "negative rank": lambda: comm.Send(b, dest=-77),
                "source": lambda: comm.Recv(b, source=comm.size + 3),
                "tag": lambda: comm.Send(b, dest=0, tag=-4),
                "huge tag": lambda: comm.send(1, dest=0, tag=2**31 - 1)
                    if comm.Get_attr(MPI.TAG_UB) < 2**31 - 1 else 1 / 0,
                "root": lambda: comm.Bcast(b, root=comm.size),
                "count": lambda: comm.Send([b, -1, MPI.DOUBLE], dest=0),
                "too many": lambda: comm.Send([b, 5, MPI.DOUBLE], dest=0),
                "float count": lambda: comm.Send([b, 1.5, MPI.DOUBLE], dest=0),
            }
            result = {name: outcome(call) for name, call in calls.items()}
        """
        for ranks in (1, 2, 3):
            with self.subTest(ranks=ranks):
                got = self.outcomes(ranks, body)
                error = ("Exception",)
                self.assert_raised(got["rank"], error, "MPI_ERR_RANK", str(ranks))
                self.assert_raised(got["negative rank"], error, "MPI_ERR_RANK", "-77")
                self.assert_raised(got["source"], error, "MPI_ERR_RANK", str(ranks + 3))
                self.assert_raised(got["tag"], error, "MPI_ERR_TAG", "-4")
                self.assert_raised(got["root"], error, "MPI_ERR_ROOT", str(ranks))
                self.assertIn(got["count"][0], ("Exception", "ValueError"))
                self.assertIn(got["too many"][0], ("Exception", "ValueError"))
                self.assertEqual(got["float count"][0], "TypeError")
                kinds = ("Exception", "ZeroDivisionError", "OverflowError")
                self.assertIn(got["huge tag"][0], kinds)

    def test_buffers(self):
        body = """
            strided = memoryview(array("d", range(16)))[::2]
            frozen = memoryview(b"frozen!!")
            class Thing: pass
            calls = {
                "read-only": lambda: comm.Recv(frozen, source=comm.rank),
                "strided": lambda: comm.Send(strided, dest=comm.rank),
                "no buffer": lambda: comm.Send(Thing(), dest=comm.rank),
                "number": lambda: comm.Send(3.5, dest=comm.rank),
                "text": lambda: comm.Send("text", dest=comm.rank),
                "bad type": lambda: comm.Send([bytearray(8), "no such type"], dest=0),
            }
            result = {name: outcome(call) for name, call in calls.items()}
        """
        got = self.outcomes(2, body)
        kinds = ("BufferError", "ValueError", "TypeError")
        self.assert_raised(got["read-only"], kinds, "read-only")
        self.assert_raised(got["strided"], kinds, "contiguous")
        for name in ("no buffer", "number", "text"):
            self.assertEqual(got[name][0], "TypeError", got[name])
        self.assertIn(got["bad type"][0], ("KeyError", *kinds))

    def test_truncation_names_both_sides(self):
        body = """
            if comm.rank == 1:
                comm.Send([array("d", [1.0] * 10), MPI.DOUBLE], dest=0, tag=42)
            if comm.rank == 0:
                small = array("i", [0] * 4)
                result = outcome(lambda: comm.Recv([small, MPI.INT], source=1, tag=42))
        """
        kind, text, _ = self.outcomes(2, body)
        self.assertEqual(kind, "Exception", text)
        for part in ("MPI_ERR_TRUNCATE", "80", "16", "MPI_DOUBLE", "MPI_INT", "42"):
            self.assertIn(part, text)
        self.assertRegex(text, r"rank 1\b")

    def test_truncation_of_a_large_message(self):
        body = """
            if comm.rank == 1:
                comm.Send([bytearray(10_000_000), MPI.BYTE], dest=0, tag=7)
            if comm.rank == 0:
                small = bytearray(1000)
                result = outcome(lambda: comm.Recv([small, MPI.BYTE], source=1, tag=7))
        """
        _, text, _ = self.outcomes(2, body)
        for part in ("MPI_ERR_TRUNCATE", "10000000", "1000", "MPI_BYTE"):
            self.assertIn(part, text.replace(",", ""))

    def test_use_of_freed_and_null_handles(self):
        body = """
            gone = comm.Dup()
            copy = MPI.Intracomm.fromhandle(gone.handle)
            gone.Free()
            calls = {
                "null": lambda: gone.Barrier(),
                "freed": lambda: copy.Barrier(),
                "garbage": lambda: MPI.Intracomm.fromhandle(0x7777777).Barrier(),
                "null type": lambda: comm.Send([bytearray(1), 1, MPI.DATATYPE_NULL], 0),
            }
            result = {name: outcome(call) for name, call in calls.items()}
        """
        got = self.outcomes(2, body)
        for name in ("null", "freed", "garbage"):
            self.assert_raised(got[name], ("Exception",), "MPI_ERR_COMM")
        self.assert_raised(got["null type"], ("Exception",), "MPI_ERR_TYPE")


if __name__ == "__main__":
    unittest.main()
