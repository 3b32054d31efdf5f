"""The door: programs and packages that use `multiprocessing` get Phalanx's parts of it.

How `phalanx run` opens it is tested in `tests/failures/test_doors.py`; here it is
open, and what goes through it is tested.
"""

import importlib.util
import unittest
from pathlib import Path

import phalanx
from watch import SECONDS, ScriptCase

START = Path(phalanx.__file__).parent / "doors" / "start"

OPEN = """
from phalanx.multiprocessing import _patch
_patch.install()
"""

LAZY = """
import multiprocessing, sys
from concurrent import futures
before = list(sys.modules)
import multiprocessing.pool, multiprocessing.shared_memory, concurrent.futures.process
ours = ("pool", "futures", "shared_memory", "queues", "synchronize")
names = [f"phalanx.multiprocessing.{name}" for name in ours] + ["phalanx.futures"]
print([name for name in names if name in sys.modules])
print(multiprocessing.pool.Pool.__module__, futures.ProcessPoolExecutor.__module__)
from multiprocessing.shared_memory import SharedMemory
print(SharedMemory.__module__, multiprocessing.pool.__name__)
"""

NAMES = """
import multiprocessing as mp
import multiprocessing.pool, multiprocessing.queues
from multiprocessing import context, synchronize

print(type(mp.Lock()).__module__, type(mp.Queue()).__module__)
for method in mp.get_all_start_methods():
    for found in (mp.get_context(method), context._default_context.get_context(method)):
        assert type(found).__module__ == "phalanx.multiprocessing.context", found
assert isinstance(mp.Lock(), synchronize.Lock)
assert isinstance(mp.Queue(), multiprocessing.queues.Queue)
with mp.Pool(1) as pool, multiprocessing.pool.ThreadPool(1) as threads:
    assert isinstance(pool, multiprocessing.pool.Pool)
    print(pool.map(abs, [-1]), threads.map(abs, [-2]))
"""

# Recipes that people copy: pools in workers of a pool, and a queue with a method more.
SUBCLASSES = """
import multiprocessing as mp
import multiprocessing.pool, multiprocessing.queues

class NoDaemonProcess(mp.Process):
    @property
    def daemon(self):
        return False

    @daemon.setter
    def daemon(self, value):
        pass

class NoDaemonContext(type(mp.get_context("fork"))):
    Process = NoDaemonProcess

class NestablePool(multiprocessing.pool.Pool):
    def __init__(self, *args, **options):
        super().__init__(*args, context=NoDaemonContext(), **options)

class CountedQueue(multiprocessing.queues.Queue):
    def __init__(self):
        super().__init__(ctx=mp.get_context())
        self.count = 0

    def put(self, item):
        self.count += 1
        super().put(item)

def nest(n):
    with mp.Pool(2) as pool:
        return pool.map(abs, range(-n, 0))

if __name__ == "__main__":
    with NestablePool(2) as pool:
        print(pool.map(nest, [1, 2]))
    queue = CountedQueue()
    queue.put("item")
    print(queue.get(), queue.count)
"""

# What may come first in a program, and must not close the door.
FIRST = (
    "import multiprocessing",
    "import phalanx.multiprocessing",
    "from phalanx.multiprocessing.pool import Pool",
    "import phalanx.futures, phalanx.shared, phalanx.native",
    "import concurrent.futures.process",
    "from concurrent.futures import ProcessPoolExecutor",
    "import multiprocessing.pool, multiprocessing.shared_memory",
    "from multiprocessing.context import SpawnContext",
    "from importlib.util import find_spec as f; f('multiprocessing')",
    "from importlib.util import find_spec as f; f('multiprocessing.pool')",
    "from importlib.util import find_spec as f; f('concurrent.futures.process')",
    "import sys; sys.modules.pop('concurrent.futures', None)",
    "import sys; old = type('Old', (), {'find_module': lambda *_: None}); "
    "sys.meta_path.insert(1, old())",
)
BEHIND_THE_DOOR = f"""
import os, subprocess, sys
path = os.pathsep.join([{str(START)!r}, os.environ["PYTHONPATH"]])
env = {{**os.environ, "PHALANX_DOORS": "multiprocessing", "PYTHONPATH": path}}
subprocess.run([sys.executable, "-c", sys.argv[1]], env=env, check=True)
"""
THEN = """
import multiprocessing as mp
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.pool import Pool
from multiprocessing.shared_memory import SharedMemory
for found in (type(mp.Lock()), ProcessPoolExecutor, Pool, SharedMemory):
    print(found.__module__)
"""

# A recipe for progress with `starmap`, and a pool that sends its tasks in its own way.
INSIDES = """
import multiprocessing as mp, multiprocessing.pool as mpp

def istarmap(self, func, iterable, chunksize=1):
    self._check_running()
    batches = mpp.Pool._get_tasks(func, iterable, chunksize)
    result = mpp.IMapIterator(self)
    tasks = self._guarded_task_generation(result._job, mpp.starmapstar, batches)
    self._taskqueue.put((tasks, result._set_length))
    return (item for chunk in result for item in chunk)

mpp.Pool.istarmap = istarmap

class OwnPool(mpp.Pool):
    def _setup_queues(self):
        super()._setup_queues()
        print("own queues")

if __name__ == "__main__":
    with mp.Pool(2) as pool:
        print(list(pool.istarmap(divmod, [(7, 2), (9, 4), (1, 1)], chunksize=2)))
        try:
            list(pool.istarmap(divmod, [(1, 0)]))
        except ZeroDivisionError as error:
            print(error)
        print(pool._cache)
    with OwnPool(2) as pool:
        print(pool.map(abs, [-1, -2]), OwnPool.__mro__[1].__module__)
    from unittest import mock
    import concurrent.futures.process, multiprocessing.shared_memory
    for name in ("multiprocessing.pool.Pool",
                 "multiprocessing.shared_memory.SharedMemory",
                 "concurrent.futures.process.ProcessPoolExecutor"):
        module, _, attribute = name.rpartition(".")
        with mock.patch(name) as stand_in:
            assert getattr(sys.modules[module], attribute) is stand_in
        print(getattr(sys.modules[module], attribute).__module__)
"""

PACKAGES = {
    "joblib": """
from joblib import Parallel, delayed
def square(x):
    return x * x
if __name__ == "__main__":
    for backend in ("loky", "multiprocessing", "threading"):
        calls = (delayed(square)(i) for i in range(4))
        print(Parallel(n_jobs=2, backend=backend)(calls))
    from joblib.externals.loky import get_reusable_executor
    get_reusable_executor().shutdown(wait=True)
""",
    "mpire": """
from mpire import WorkerPool
def square(x):
    return x * x
if __name__ == "__main__":
    for method in ("fork", "spawn", "threading"):
        with WorkerPool(2, start_method=method) as pool:
            print(pool.map(square, range(4)))
""",
    "tqdm": """
from tqdm.contrib.concurrent import process_map
def square(x):
    return x * x
if __name__ == "__main__":
    print(process_map(square, range(4), max_workers=2, disable=True))
""",
}


class Door(ScriptCase):
    def test_nothing_is_imported_before_it_is_asked_for(self) -> None:
        ended = self.run_script(OPEN + LAZY)
        expected = [
            "[]",
            "phalanx.multiprocessing.pool phalanx.futures",
            "phalanx.multiprocessing.shared_memory multiprocessing.pool",
        ]
        self.assertEqual(ended.lines, expected)

    def test_every_way_to_a_name_leads_to_the_same(self) -> None:
        ended = self.run_script(OPEN + NAMES)
        modules = "phalanx.multiprocessing.synchronize phalanx.multiprocessing.queues"
        self.assertEqual(ended.lines, [modules, "[1] [2]"])

    def test_classes_that_programs_derive(self) -> None:
        ended = self.run_script(OPEN + SUBCLASSES)
        self.assertEqual(ended.lines, ["[[1], [2, 1]]", "item 1"])

    def test_it_is_open_whatever_is_imported_first(self) -> None:
        expected = [
            "phalanx.multiprocessing.synchronize",
            "phalanx.futures",
            "phalanx.multiprocessing.pool",
            "phalanx.multiprocessing.shared_memory",
        ]
        for first in FIRST:
            with self.subTest(first):
                ended = self.run_script(BEHIND_THE_DOOR, SECONDS, None, first + THEN)
                self.assertEqual(ended.lines, expected, ended.text)

    def test_programs_that_know_the_insides(self) -> None:
        ended = self.run_script("import sys\n" + OPEN + INSIDES)
        expected = [
            "[(3, 1), (2, 1), (1, 0)]",
            "integer division or modulo by zero",
            "{}",
            "own queues",
            "[1, 2] multiprocessing.pool",
            "phalanx.multiprocessing.pool",
            "phalanx.multiprocessing.shared_memory",
            "phalanx.futures",
        ]
        self.assertEqual(ended.lines, expected, ended.text)

    def test_packages_that_use_multiprocessing(self) -> None:
        for package, text in PACKAGES.items():
            with self.subTest(package=package):
                if importlib.util.find_spec(package) is None:
                    self.skipTest(f"{package} is not installed")
                ended = self.run_script(OPEN + text)
                self.assertEqual(set(ended.lines), {"[0, 1, 4, 9]"})


if __name__ == "__main__":
    unittest.main()
