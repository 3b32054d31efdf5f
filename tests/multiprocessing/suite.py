"""Run cases of CPython's own test suite, and report each one as it ends.

    python suite.py --list MODULE          prints a JSON list of the cases
    python suite.py --events FILE MODULE   runs the cases that standard input names

Whether the standard library's multiprocessing runs or Phalanx's, the environment
decides: with the door open (as `phalanx run --doors multiprocessing` opens it),
the names are replaced before the suite is imported, here and in every child.
"""

import argparse
import json
import os
import sys
import time
import unittest
from collections.abc import Iterable, Iterator
from typing import Any


def cases(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from cases(test)
        else:
            yield test


class Report(unittest.TestResult):
    """Writes one line of JSON when a case starts, and one when it has ended."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.file = open(path, "a", buffering=1)
        self.outcome = self.text = ""
        self.started = 0.0

    def emit(self, **what: Any) -> None:
        self.file.write(json.dumps(what) + "\n")

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self.outcome, self.text = "passed", ""
        self.started = time.monotonic()
        self.emit(start=test.id())

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        seconds = round(time.monotonic() - self.started, 2)
        self.emit(end=test.id(), outcome=self.outcome, text=self.text, seconds=seconds)

    def wrong(self, test: Any, error: Any) -> None:
        text = self._exc_info_to_string(error, test)
        if not isinstance(test, unittest.TestCase):
            # What a class or the module sets up or takes down.
            self.emit(end=test.id(), outcome="failed", text=text, seconds=0)
        self.outcome, self.text = "failed", text

    def addError(self, test: Any, err: Any) -> None:
        self.wrong(test, err)

    def addFailure(self, test: Any, err: Any) -> None:
        self.wrong(test, err)

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        if err is not None:
            self.wrong(test, err)

    def addSkip(self, test: Any, reason: str) -> None:
        if not isinstance(test, unittest.TestCase):
            self.emit(end=test.id(), outcome="skipped", text=reason, seconds=0)
        self.outcome, self.text = "skipped", reason

    def addUnexpectedSuccess(self, test: Any) -> None:
        self.outcome, self.text = "failed", "unexpected success"


def demand_ours(tests: Iterable[unittest.TestCase]) -> None:
    """Be sure that with the door open it is Phalanx's classes that are tested."""
    import concurrent.futures
    import multiprocessing.pool
    import multiprocessing.shared_memory

    found = {
        type(multiprocessing.Lock.__self__),
        multiprocessing.Process,
        multiprocessing.pool.Pool,
        multiprocessing.shared_memory.SharedMemory,
        concurrent.futures.ProcessPoolExecutor,
    }
    executors = (getattr(test, "executor_type", None) for test in tests)
    found |= {
        kind for kind in executors if "ProcessPool" in getattr(kind, "__name__", "")
    }
    standard = [kind for kind in found if not kind.__module__.startswith("phalanx.")]
    if standard:
        sys.exit(f"the door is open, and these are not Phalanx's: {standard}")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--events")
    parser.add_argument("module")
    options = parser.parse_args()
    loaded = unittest.defaultTestLoader.loadTestsFromName(options.module)
    tests = {test.id(): test for test in cases(loaded)}
    if options.list:
        print(json.dumps(list(tests)))
        return 0
    if "multiprocessing" in os.environ.get("PHALANX_DOORS", ""):
        demand_ours(tests.values())
    chosen = json.load(sys.stdin)
    suite = unittest.TestSuite(tests[name] for name in chosen)
    suite.run(Report(options.events))
    return 0


if __name__ == "__main__":
    sys.exit(main())
