"""Where workers run: how many, on which CPUs, with how many threads each."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Placement", "is_without_main", "usable_cpus"]

# Read by the libraries when they are loaded.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)

# The functions that change it in a library that is loaded already: the part of the
# file's name by which the library is known, and its names for the function.
_THREAD_FUNCTIONS = (
    (
        "openblas",
        (
            "openblas_set_num_threads",
            "openblas_set_num_threads64_",
            "scipy_openblas_set_num_threads",
            "scipy_openblas_set_num_threads64_",
        ),
    ),
    ("mkl_rt", ("MKL_Set_Num_Threads",)),
    ("blis", ("bli_thread_set_num_threads",)),
    ("libgomp", ("omp_set_num_threads",)),
    ("libomp", ("omp_set_num_threads",)),
    ("libiomp", ("omp_set_num_threads",)),
)


def usable_cpus() -> int:
    """Return how many CPUs this process may use.

    That is the size of its affinity mask, or the CPU limit of its container, rounded
    up, if that is less.
    """
    count: Callable[[], int | None] | None = getattr(os, "process_cpu_count", None)
    cpus = (count() or 1) if count else len(os.sched_getaffinity(0))
    quota = _cgroup_quota()
    return max(1, min(cpus, quota)) if quota else cpus


def _cgroup_quota() -> int | None:
    """Return how many CPUs the control group grants, rounded up, if it has a limit."""
    try:
        with open("/proc/self/cgroup", encoding="ascii") as file:
            groups = [line.rstrip("\n").split(":", 2) for line in file]
    except (OSError, UnicodeDecodeError):
        return None
    limits = []
    for _, controllers, path in groups:
        if controllers == "":
            # Version 2: the limits of all groups above hold as well.
            while True:
                limits.append(_quota_of(f"/sys/fs/cgroup{path.rstrip('/')}/cpu.max"))
                if path in ("", "/"):
                    break
                path = path.rpartition("/")[0]
        elif "cpu" in controllers.split(","):
            for root in (f"/sys/fs/cgroup/cpu{path}", "/sys/fs/cgroup/cpu"):
                limits.append(
                    _quota_of(f"{root}/cpu.cfs_quota_us", f"{root}/cpu.cfs_period_us")
                )
    known = [limit for limit in limits if limit]
    return min(known) if known else None


def _quota_of(*files: str) -> int | None:
    words: list[str] = []
    try:
        for name in files:
            with open(name, encoding="ascii") as file:
                words += file.read().split()
        quota, period = int(words[0]), int(words[1])
    except (OSError, ValueError, IndexError):
        return None
    return -(-quota // period) if quota > 0 and period > 0 else None


class Placement:
    """What one worker does to itself before any code of the program runs in it.

    It travels as the first argument of the worker's process, and takes effect when it
    is unpickled, before the arguments after it can import anything. A forked worker
    unpickles nothing, and applies it when it starts.
    """

    __slots__ = ("cpu", "forked", "threads")

    def __init__(
        self, cpu: int | None, threads: int | None, *, forked: bool = True
    ) -> None:
        self.cpu = cpu
        self.threads = threads
        self.forked = forked

    @staticmethod
    def choose(pin: bool, threads: int | None) -> list[Placement]:
        """Return the placements of a pool's workers, which take turns over them."""
        if not pin:
            return [Placement(None, threads)]
        return [Placement(cpu, threads) for cpu in sorted(os.sched_getaffinity(0))]

    def __reduce__(self) -> tuple[object, ...]:
        return _arrive, (self.cpu, self.threads)

    def apply(self) -> None:
        """Take effect in this process."""
        if self.cpu is not None:
            try:
                os.sched_setaffinity(0, (self.cpu,))
            except OSError as error:
                print(
                    f"phalanx: worker {os.getpid()} cannot be kept on CPU {self.cpu}: "
                    f"{error.strerror}; it runs on any",
                    file=sys.stderr,
                )
        if self.threads is not None:
            for variable in _THREAD_VARIABLES:
                os.environ[variable] = str(self.threads)
            _limit_loaded_libraries(self.threads)


#: Whether this process is a worker that was spawned.
_spawned = False


def is_without_main() -> bool:
    """Whether this is a spawned worker that did not import the main module."""
    # That is the name of a main module that was imported for a worker.
    return _spawned and sys.modules["__main__"].__name__ != "__mp_main__"


def _arrive(cpu: int | None, threads: int | None) -> Placement:
    global _spawned
    _spawned = True
    Placement(cpu, threads).apply()
    return Placement(None, None, forked=False)


def _limit_loaded_libraries(threads: int) -> None:
    """Set the number of threads of the libraries that read the variables before."""
    functions: tuple[str, ...]
    found: dict[str, tuple[str, ...]] = {}
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        for line in maps:
            start = line.find("/")
            if start < 0:
                continue
            path = line[start:].rstrip("\n")
            name = path.rpartition("/")[2].lower()
            for part, functions in _THREAD_FUNCTIONS:
                if part in name:
                    found[path] = functions
    if not found:
        return
    import ctypes

    for path, functions in found.items():
        try:
            library = ctypes.CDLL(path, mode=os.RTLD_NOW | os.RTLD_NOLOAD)
        except OSError:
            continue  # Not a library, or unloaded since.
        for function in functions:
            call = getattr(library, function, None)
            if call is not None:
                call.argtypes = (ctypes.c_int,)
                call.restype = None
                call(threads)
