"""A library that cannot be what PHALANX_MPI says is refused with a reason."""

import os
import unittest
from unittest import mock

from jobs import JobCase

HELLO = "from phalanx import MPI\nprint(MPI.COMM_WORLD.size, flush=True)\n"


class TestChosenLibrary(JobCase):
    def run_with(self, chosen: str):
        with mock.patch.dict(os.environ, {"PHALANX_MPI": chosen}):
            return self.run_job(2, HELLO)

    def test_embedded_by_name(self):
        ended = self.run_with("embedded")
        self.assertEqual(ended.status, 0, ended.text)
        self.assertEqual(ended.out.split(), ["2", "2"], ended.text)

    def test_file_that_does_not_exist(self):
        ended = self.run_with("/nowhere/libmpi_abi.so.1")
        self.assertEqual(ended.status, 1, ended.text)
        self.assert_says(ended, "PHALANX_MPI=/nowhere/libmpi_abi.so.1", "embedded")

    def test_pools_need_no_library(self):
        with mock.patch.dict(os.environ, {"PHALANX_MPI": "/nowhere/libmpi_abi.so.1"}):
            ended = self.run_job(
                1,
                """
                import phalanx.multiprocessing as mp
                from phalanx import shared
                with mp.Pool(1) as pool:
                    print(pool.apply(abs, (-4,)))
                """,
            )
        self.assertEqual((ended.status, ended.out), (0, "4\n"), ended.text)

    def test_library_of_another_name(self):
        with open("/proc/self/maps") as maps:
            paths = {x.split()[-1] for x in maps if "/libc.so" in x or "/libc-" in x}
        ended = self.run_with(min(paths))
        self.assertEqual(ended.status, 1, ended.text)
        self.assert_says(ended, "ImportError", "standard ABI")


if __name__ == "__main__":
    unittest.main()
