"""The record of benchmark runs: what is written is read, and summed up right."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

import machine
import record

CPUINFO = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 17
model name\t: AMD EPYC
stepping\t: 1

processor\t: 1
cpu family\t: 99
"""
STAT = """cpu  100 0 0 0 0 0 0 0 0 0
cpu0 10 1 5 70 2 1 1 10 0 0
cpu1 1 0 0 99 0 0 0 0 0 0
cpu7 500 0 0 0 0 0 0 0 0 0
"""


def run_of(date: str, rows: record.Rows) -> record.Record:
    return record.Record("mpi", date, "amd", {}, rows)


class TestMachine(unittest.TestCase):
    def test_the_first_cpu_names_the_machine(self):
        name, key = machine.identify(CPUINFO, "x86_64")
        self.assertEqual(name, "AMD EPYC (AuthenticAMD family 25 model 17 stepping 1)")
        self.assertEqual(key, "amd-25-17-1")

    def test_only_the_cpus_that_may_be_used_count(self):
        self.assertEqual(machine.ticks(STAT, {0, 1}), machine.Ticks(19, 10, 200))

    def test_a_placement_that_changed_says_so(self):
        self.assertEqual(machine.placement([], []), "alone")
        self.assertEqual(machine.placement([50], [50]), "near (50 ns)")
        both = machine.placement([50, 210], [55, 240])
        self.assertEqual(both, "near to far (50 to 240 ns)")


class TestRecord(unittest.TestCase):
    def test_what_is_written_is_read(self):
        rows: record.Rows = {"Barrier": {"Phalanx": 500, "MPICH": "fails"}}
        conditions = machine.Conditions(nearest_ns=[40], farthest_ns=[180])
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            path = record.write("mpi", rows, conditions, ["x==1"], {"busy": 2}, place)
            (run,) = record.read("mpi", place)
            self.assertEqual(record.read("pools", place), [])
            self.assertIn('\n  "Barrier": {"Phalanx": 500', path.read_text())
        self.assertEqual((run.rows, run.about["busy"]), (rows, 2))
        self.assertEqual(run.placement, "near to far (40 to 180 ns)")

    def test_runs_of_the_same_minute_are_all_kept(self):
        conditions = machine.Conditions()
        rows = {"Barrier": {"Phalanx": 500.0}}
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            for busy in (1, 2, 4):
                record.write("mpi", dict(rows), conditions, [], {"busy": busy}, place)
            kept = record.read("mpi", place)
        self.assertEqual(sorted(str(r.about["busy"]) for r in kept), ["1", "2", "4"])

    def test_a_ratio_is_that_to_the_best_that_has_a_figure(self):
        rows: record.Rows = {
            "a": {"Phalanx": 50, "MPICH": 200, "Open MPI": 100},
            "b": {"Phalanx": 50, "MPICH": "fails", "Open MPI": 25},
            "c": {"Phalanx": 50, "MPICH": "fails"},
            "d": {"Phalanx": "fails", "MPICH": 1},
        }
        run = run_of("2026", rows)
        self.assertEqual([run.ratio(row) for row in "abcde"], [2, 0.5, *[None] * 3])

    def test_bare_interpreters_are_a_measure_and_no_engine(self):
        rows: record.Rows = {
            "import": {"Phalanx": 50, "bare": 20, "MPICH": 100},
            "barrier": {"Phalanx": 50, "bare": 20, "MPICH": "fails"},
            "pool": {"Phalanx": 50, "multiprocessing": 25},
        }
        run = run_of("2026", rows)
        self.assertEqual([run.ratio(row) for row in rows], [2, None, 0.5])
        self.assertEqual([run.bare(row) for row in rows], [0.4, 0.4, None])
        spreads = record.spreads([run], figure=record.Record.bare)
        self.assertEqual([s.row for s in spreads], ["import", "barrier"])

    def test_worst_median_and_best_with_where_the_worst_was(self):
        runs = [
            run_of(str(n), {"a": {"Phalanx": 10, "MPICH": mpich}, "b": {"Phalanx": 1}})
            for n, mpich in enumerate((30, 5, 20))
        ]
        (spread,) = record.spreads(runs)
        self.assertEqual((spread.worst, spread.median, spread.best), (0.5, 2, 3))
        self.assertEqual(spread.where.date, "1")
        self.assertTrue(spread.behind)
        self.assertEqual(record.spreads(runs, lambda row: row == "b"), [])

    def test_the_last_runs_of_a_machine_are_those_that_have_the_row(self):
        rows = [{"a": {"Phalanx": 10, "MPICH": mpich}} for mpich in (1, 30, 20)]
        runs = [run_of(str(n), row) for n, row in enumerate(rows)]
        runs.append(run_of("3", {"b": {"Phalanx": 1, "MPICH": 1}}))
        (spread, _) = record.spreads(runs, last=2)
        self.assertEqual((spread.worst, spread.median, spread.best), (2, 2.5, 3))
        (spread, _) = record.spreads(runs)
        self.assertEqual(spread.worst, 0.1)

    def test_three_digits_are_kept(self):
        digits = [record.three_digits(x) for x in (123456.0, 100.4, 99.96, 0.012345)]
        self.assertEqual(digits, [123000, 100, 100, 0.0123])


if __name__ == "__main__":
    unittest.main()
