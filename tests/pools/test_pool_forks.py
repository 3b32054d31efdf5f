"""Tasks that fork: the child is no worker, however it ends."""

import os
import sys
import unittest

import phalanx.multiprocessing as mp
from phalanx.futures import ProcessPoolExecutor
from watch import HereCase, ScriptCase

METHODS = ("fork", "spawn", "forkserver")
WAYS = ("exit", "return", "raise", "leave")


def fork(x: int, way: str, wait: bool = True) -> tuple[int, int | None]:
    """Fork, have the child end in some way; return its exit status."""
    pid = os.fork()
    if pid == 0:
        sys.stderr = open(os.devnull, "w")
        if way == "exit":
            sys.exit(3)
        if way == "raise":
            raise ValueError(x)
        if way == "leave":
            os._exit(4)
        return -1, None
    if not wait:
        return x, None
    return x, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def fork_twice(x: int) -> tuple[int, int]:
    """A child with a child; both come back from the task."""
    pid = os.fork()
    if pid == 0:
        inner = os.fork()
        if inner:
            os.waitpid(inner, 0)
        return -1, -1
    return x, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def fork_at_start() -> None:
    if os.fork() == 0:
        return
    os.wait()


class Children(HereCase):
    seconds = 120

    def test_each_way_to_end(self) -> None:
        codes = {"exit": 3, "return": 0, "raise": 1, "leave": 4}
        for method in METHODS:
            with mp.get_context(method).Pool(2) as pool:
                for way in WAYS:
                    with self.subTest(method, way=way):
                        items = [(x, way) for x in range(6)]
                        expected = [(x, codes[way]) for x in range(6)]
                        self.assertEqual(pool.starmap(fork, items, 2), expected)

    def test_a_child_that_nobody_waits_for(self) -> None:
        with mp.Pool(2) as pool:
            for way in WAYS:
                items = [(x, way, False) for x in range(20)]
                expected = [(x, None) for x in range(20)]
                self.assertEqual(pool.starmap(fork, items), expected)
                self.assertEqual(list(pool.imap(abs, range(50))), list(range(50)))

    def test_children_of_children(self) -> None:
        with ProcessPoolExecutor(2) as executor:
            calls = [executor.submit(fork_twice, x) for x in range(6)]
            self.assertEqual([c.result() for c in calls], [(x, 0) for x in range(6)])

    def test_an_initializer_that_forks(self) -> None:
        with mp.Pool(2, fork_at_start) as pool:
            self.assertEqual(pool.map(abs, range(100)), list(range(100)))


class Scripts(ScriptCase):
    def test_what_a_child_raises_is_printed_once(self) -> None:
        ended = self.run_script(
            """
            import os
            import phalanx.multiprocessing as mp
            def work(x):
                pid = os.fork()
                if pid == 0:
                    raise LookupError("in the child")
                os.waitpid(pid, 0)
                return x
            with mp.Pool(1) as pool:
                print(pool.apply(work, (5,)))
            """
        )
        self.assertEqual(ended.lines, ["5"], ended.text)
        self.assertEqual(ended.err.count("LookupError: in the child"), 1, ended.text)


if __name__ == "__main__":
    unittest.main()
