"""The contexts: every name of the standard module, one start method, no guard."""

import importlib
import inspect
import multiprocessing as std
import multiprocessing.context as std_context
import multiprocessing.pool as std_pool
import unittest
from concurrent.futures import process as std_process

import phalanx.multiprocessing as mp
from phalanx.multiprocessing import _popen, context, pool
from watch import HereCase, ScriptCase

METHODS = mp.get_all_start_methods()

# What a script says about itself that has no guard: it ran as often as it printed.
UNGUARDED = """
import sys
import phalanx.multiprocessing as mp

print("main runs")

class Point:
    def __init__(self, x):
        self.x = x

def shifted(point, by=1):
    return Point(point.x + by)

scale = 10
with mp.get_context({method!r}).Pool(2) as pool:
    print([p.x for p in pool.map(shifted, [Point(1), Point(2)])])
    print(pool.apply(lambda x: x * scale, (4,)))
    print(pool.apply(shifted, (Point(5),), {{"by": 2}}).x)
"""

# As in a notebook: what is there changes, and is defined once more.
CHANGING = """
import phalanx.multiprocessing as mp

def start(value):
    global own, calls
    own, calls = value, 0

pool = mp.get_context({method!r}).Pool(1, start, (7,))
factor = 2
own = "the program's"

def helper(x):
    return x

def work(x):
    global calls
    calls += 1
    return helper(x) * factor, own, calls

print(pool.map(work, [1]))
factor = 100
print(pool.map(work, [1]))

def helper(x):
    return -x

print(pool.map(work, [1]))
pool.terminate()
"""

GUARDED = """
import phalanx.multiprocessing as mp

print(f"main runs as {{__name__}}")

def where():
    import sys
    return sys.modules["__main__"].__name__

if __name__ == "__main__":
    with mp.get_context({method!r}).Pool(1) as pool:
        print(pool.apply(where))
"""

PROCESS_WITHOUT_GUARD = """
import sys
import phalanx.multiprocessing as mp
process = mp.get_context({method!r}).Process(target=print, args=("never",))
process.start()
process.join()
sys.exit(process.exitcode)
"""

IMPORTS = """
import sys
import phalanx.multiprocessing as mp
mp.Process, mp.Pool, mp.Queue, mp.Lock, mp.get_context("spawn")
names = "pool queues synchronize shared_memory managers connection".split()
print([name for name in names if f"multiprocessing.{name}" in sys.modules])
print([name for name in sys.modules if name.startswith("phalanx._workers")])
"""

FAMILY = """
import multiprocessing as std
import phalanx.multiprocessing as mp

class Child(mp.Process):
    def __init__(self, lock, queue, value, end):
        super().__init__()
        self.lock, self.queue, self.value, self.end = lock, queue, value, end

    def run(self):
        with self.lock:
            self.value.value += 1
        self.queue.put(type(std.current_process()).__mro__[1].__name__)
        self.end.send(mp.get_start_method())

def grandchild(queue, method):
    context = mp.get_context(method)
    inner = context.Process(target=queue.put, args=("grandchild",))
    inner.start()
    inner.join()

if __name__ == "__main__":
    for method in mp.get_all_start_methods():
        mp.set_start_method(method, force=True)
        lock, queue, value = mp.Lock(), mp.Queue(), mp.Value("i", 0)
        mine, other = mp.Pipe()
        child = Child(lock, queue, value, other)
        child.start()
        print(queue.get(), mine.recv(), end=" ")
        child.join()
        process = mp.Process(target=grandchild, args=(queue, method))
        process.start()
        print(queue.get(), value.value, child.exitcode)
        process.join()
"""

# The fork server's children are not this process's: it learns of their ends otherwise.
KILLED = """
import os, signal
import phalanx.multiprocessing as mp

def work(x):
    if x % 10 == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return x

if __name__ == "__main__":
    with mp.get_context({method!r}).Pool(2, maxtasksperchild=7) as pool:
        calls = [pool.apply_async(work, (i,)) for i in range(40)]
        good, codes = 0, []
        for i, call in enumerate(calls):
            try:
                good += call.get() == i
            except mp.errors.WorkerLostError as error:
                codes.append((i, error.exitcode))
        print(good, codes)
"""


class Names(unittest.TestCase):
    def test_every_public_name_of_the_standard_module(self) -> None:
        self.assertEqual(set(std.__all__) - set(mp.__all__), set())
        missing = [name for name in mp.__all__ if not hasattr(mp, name)]
        self.assertEqual(missing, [])
        self.assertIs(mp.Pipe.__func__, std.Pipe.__func__)
        self.assertIs(mp.current_process, std.current_process)

    def test_every_submodule(self) -> None:
        for name in (
            *("connection", "dummy", "forkserver", "heap", "managers", "process"),
            *("reduction", "resource_sharer", "resource_tracker", "sharedctypes"),
            *("spawn", "util"),
        ):
            module = importlib.import_module(f"phalanx.multiprocessing.{name}")
            self.assertIs(module, importlib.import_module(f"multiprocessing.{name}"))
            self.assertIs(getattr(mp, name), module)
        for name in ("context", "pool", "queues", "shared_memory", "synchronize"):
            module = importlib.import_module(f"phalanx.multiprocessing.{name}")
            other = importlib.import_module(f"multiprocessing.{name}")
            public = getattr(other, "__all__", ())
            self.assertEqual([n for n in public if not hasattr(module, n)], [])

    def test_an_unknown_name_is_an_attribute_error(self) -> None:
        with self.assertRaisesRegex(AttributeError, "no_such_name"):
            mp.no_such_name  # noqa: B018


class Guards(unittest.TestCase):
    def test_a_guard_is_a_comparison_in_the_code(self):
        for source in (
            'if __name__ == "__main__":\n    run()\n',
            "if '__main__' == __name__: run()\n",
            'def f():\n    return __name__ in ("__main__", "other")\n',
            'x = [1 if __name__ != "__mp_main__" else 2]\n',
        ):
            self.assertTrue(_popen._has_guard(source), source)

    def test_a_text_or_another_use_of_the_name_is_none(self):
        for source in (
            "run()\n",
            '"""if __name__ == "__main__":"""\nrun()\n',
            '# if __name__ == "__main__":\nrun()\n',
            'print(__name__, "__main__")\n',
            'if __name__ == "other": run()\n',
        ):
            self.assertFalse(_popen._has_guard(source), source)

    def test_what_cannot_be_read_is_left_to_the_standard_library(self):
        self.assertTrue(_popen._has_guard("if __name__ =\n"))


class Contexts(unittest.TestCase):
    def setUp(self) -> None:
        self.addCleanup(mp.set_start_method, None, force=True)

    def test_they_are_contexts_of_the_standard_library(self) -> None:
        for method in METHODS:
            ours, other = mp.get_context(method), std.get_context(method)
            self.assertIsInstance(ours, type(other))
            self.assertTrue(issubclass(ours.Process, other.Process))
            self.assertEqual(ours.get_start_method(), method)
            self.assertIs(ours.get_context(), ours)
            self.assertIs(other.get_context(), other)
        self.assertTrue(issubclass(mp.Process, std.Process))
        self.assertIsInstance(context._default_context, std_context.DefaultContext)

    def test_an_unknown_start_method_is_refused(self) -> None:
        for ask in (mp.get_context, mp.set_start_method):
            with self.assertRaisesRegex(ValueError, "cannot find context"):
                ask("teleport")
        with self.assertRaisesRegex(ValueError, "concrete context"):
            mp.get_context("spawn").set_start_method("fork")

    def test_one_start_method_for_both_modules(self) -> None:
        std.set_start_method("spawn", force=True)
        self.assertEqual(mp.get_start_method(), "spawn")
        self.assertIs(mp.get_context(), mp.get_context("spawn"))
        mp.set_start_method("forkserver", force=True)
        self.assertEqual(std.get_start_method(), "forkserver")
        with self.assertRaisesRegex(RuntimeError, "already been set"):
            mp.set_start_method("spawn")
        mp.set_start_method(None, force=True)
        self.assertIsNone(std.get_start_method(allow_none=True))
        self.assertIsNone(mp.get_start_method(allow_none=True))
        self.assertEqual(mp.get_start_method(), METHODS[0])
        self.assertEqual(std.get_start_method(allow_none=True), METHODS[0])


class Here(HereCase):
    def test_a_pool_takes_the_same_from_a_context_as_by_itself(self) -> None:
        direct = dict(inspect.signature(pool.Pool).parameters)
        del direct["context"]
        given = inspect.signature(mp.get_context("fork").Pool).parameters
        kinds = [
            {n: (p.kind, p.default) for n, p in c.items()} for c in (direct, given)
        ]
        self.assertEqual(*kinds)

    def test_the_standard_pools_take_our_contexts(self) -> None:
        given = mp.get_context("fork")
        with std_pool.Pool(2, context=given) as pool:
            self.assertEqual(pool.map(abs, [-1, -2, -3]), [1, 2, 3])
        pool.join()
        with std_process.ProcessPoolExecutor(2, given) as standard:
            self.assertEqual(list(standard.map(abs, [-1, -2])), [1, 2])

    def test_what_is_not_replaced_uses_what_is(self) -> None:
        from phalanx.multiprocessing import synchronize

        for method in METHODS:
            value = mp.get_context(method).Value("i", 3)
            self.assertIsInstance(value.get_lock(), synchronize.RLock)
            with mp.get_context(method).Manager() as manager:
                process = manager._process
                self.assertIsInstance(process, mp.get_context(method).Process)
                items = manager.list([1])
                items.append(2)
                self.assertEqual(list(items), [1, 2])


class Scripts(ScriptCase):
    def test_importing_it_loads_little(self) -> None:
        ended = self.run_script(IMPORTS)
        self.assertEqual(ended.lines, ["[]", "[]"])

    def test_children_and_grandchildren_share_what_they_are_given(self) -> None:
        ended = self.run_script(FAMILY)
        expected = [f"Process {m} grandchild 1 0" for m in METHODS]
        self.assertEqual(ended.lines, expected)

    def test_a_pool_needs_no_guard(self) -> None:
        for method in METHODS:
            for way in ("file", "-m", "-c", "-"):
                with self.subTest(method=method, way=way):
                    ended = self.run_script(UNGUARDED.format(method=method), way=way)
                    self.assertEqual(ended.lines, ["main runs", "[2, 3]", "40", "7"])

    def test_what_a_program_changes_workers_see(self) -> None:
        expected = [f"[({value}, 7, {n})]" for n, value in enumerate((2, 100, -100), 1)]
        for method in ("spawn", "forkserver"):
            for way in ("file", "-c", "-"):
                with self.subTest(method=method, way=way):
                    ended = self.run_script(CHANGING.format(method=method), way=way)
                    self.assertEqual(ended.lines, expected)

    def test_each_killed_worker_costs_its_own_call(self) -> None:
        lost = [(i, -9) for i in (3, 13, 23, 33)]
        for method in METHODS:
            ended = self.run_script(KILLED.format(method=method))
            self.assertEqual(ended.lines, [f"36 {lost}"])

    def test_a_guarded_main_is_imported_as_ever(self) -> None:
        for method, name in (("spawn", "__mp_main__"), ("fork", "__main__")):
            ended = self.run_script(GUARDED.format(method=method))
            again = ["main runs as __mp_main__"] if method == "spawn" else []
            self.assertEqual(ended.lines, ["main runs as __main__", *again, name])

    def test_the_error_says_where_a_guard_is_missing(self) -> None:
        for method in ("spawn", "forkserver"):
            text = PROCESS_WITHOUT_GUARD.format(method=method)
            ended = self.run_script(text, status=1)
            self.assertIn('if __name__ == "__main__":', ended.err)
            self.assertIn("script.py", ended.err)
            self.assertEqual(ended.lines, [])


if __name__ == "__main__":
    unittest.main()
