"""The machine that figures come from, and the state it was in meanwhile.

The same two virtual CPUs may share a cache in one hour and lie in different
chiplets in the next, and a neighbour may take half of them; figures differ by
several times then. So a benchmark looks, before, between and after its rounds:
how long a cache line takes from one CPU to another, how many CPUs were busy with
something else, and how much of their time the hypervisor gave to others.

The line's way is measured in Python, which needs no compiler and no product
that is installed: two processes answer each other through one shared page. What
the interpreter itself needs for it is measured by one process which answers itself,
and subtracted. That is within some 10 ns of a program in C; near and far
differ by more than 100.
"""

import itertools
import mmap
import os
import platform
import re
import signal
import statistics
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROUND_TRIPS, REPETITIONS = 400, 60
TRIES = 5  # of which the median counts: one of them may have met a neighbour
CPUS_LOOKED_AT = 8  # of a larger machine: evenly spread, each with each other
HANG_SECONDS = 20
# CPUs that share a cache are well below it, those of different chiplets or
# sockets above. It only chooses the word; the record keeps the number.
NEAR_NS = 100


@dataclass(frozen=True)
class Machine:
    """What does not change while it runs."""

    cpu: str  # the name it gives itself, and the numbers that identify it
    key: str  # the same as the name of a folder
    cpus: int  # that this process may use
    kernel: str
    python: str

    def text(self) -> str:
        cpus = f"{self.cpus} CPUs" if self.cpus > 1 else "1 CPU"
        return f"{self.cpu}, {cpus}, Linux {self.kernel}, Python {self.python}"


def this_machine() -> Machine:
    cpu, key = identify(Path("/proc/cpuinfo").read_text(), platform.machine())
    cpus = len(os.sched_getaffinity(0))
    kernel, python = platform.release(), platform.python_version()
    return Machine(cpu, f"{key}-{cpus}cpus", cpus, kernel, python)


def identify(cpuinfo: str, architecture: str) -> tuple[str, str]:
    """The name and the folder's name of the first CPU in `/proc/cpuinfo`."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    if "cpu family" in fields:
        numbers = [fields.get(n, "?") for n in ("cpu family", "model", "stepping")]
        vendor = fields.get("vendor_id", "unknown")
        text = f"{vendor} family {numbers[0]} model {numbers[1]} stepping {numbers[2]}"
        short = {"AuthenticAMD": "amd", "GenuineIntel": "intel"}.get(vendor, vendor)
        key = "-".join([short, *numbers])
    else:  # Arm
        names = ("CPU implementer", "CPU part", "CPU variant", "CPU revision")
        numbers = [fields.get(name, "?") for name in names]
        text = f"implementer {numbers[0]} part {numbers[1]} r{numbers[2]}p{numbers[3]}"
        key = "-".join([architecture, *numbers])
    name = fields.get("model name", architecture)
    return f"{name} ({text})", re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")


# --- how far the CPUs are from each other ------------------------------------

PING, PONG = 0, 64  # words of the page, on lines that are not fetched in pairs


def answer(area: memoryview) -> None:
    for number in range(1, ROUND_TRIPS * REPETITIONS + 1):
        while area[PING] != number:
            pass
        area[PONG] = number


def ask(area: memoryview, echo: int) -> float:
    """Seconds of the best round trips; `echo` is the word that answers."""
    best, number = float("inf"), 0
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        for number in range(number + 1, number + 1 + ROUND_TRIPS):  # noqa: B020
            area[PING] = number
            while area[echo] != number:
                pass
        best = min(best, time.perf_counter() - start)
    return best / ROUND_TRIPS


def ask_oneself(area: memoryview) -> float:
    """What the interpreter needs for both sides of a round trip."""
    best = float("inf")
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        for number in range(1, ROUND_TRIPS + 1):
            area[PING] = number
            while area[PING] != number:
                pass
            area[PONG] = number
            while area[PONG] != number:
                pass
        best = min(best, time.perf_counter() - start)
    return best / ROUND_TRIPS


def in_child(cpu: int, work: Callable[[], None]) -> int:
    """Start `work` on that CPU, in a process that ends whatever happens."""
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(HANG_SECONDS)
        os.sched_setaffinity(0, {cpu})
        work()
    finally:
        os._exit(0)


def crossing(one: int, other: int) -> float | None:
    """Nanoseconds of a cache line from one CPU to the other; None if in vain."""
    with mmap.mmap(-1, mmap.PAGESIZE) as page, mmap.mmap(-1, mmap.PAGESIZE) as result:
        area = memoryview(page).cast("Q")

        def asking() -> None:
            crossed = ask(area, PONG)
            half = (crossed - ask_oneself(area)) / 2
            struct.pack_into("d", result, 0, half * 1e9)

        children = [
            in_child(other, lambda: answer(area)),
            in_child(one, asking),
        ]
        for child in children:
            os.waitpid(child, 0)
        nanoseconds = struct.unpack_from("d", result)[0]
        area.release()
    return max(nanoseconds, 1.0) if nanoseconds else None


def usual_crossing(one: int, other: int) -> float | None:
    tries = (crossing(one, other) for _ in range(TRIES))
    done = [nanoseconds for nanoseconds in tries if nanoseconds]
    return statistics.median(done) if done else None


def pairs() -> Iterator[tuple[int, int]]:
    cpus = sorted(os.sched_getaffinity(0))
    count = min(len(cpus), CPUS_LOOKED_AT)
    spread = [cpus[number * len(cpus) // count] for number in range(count)]
    yield from itertools.combinations(spread, 2)


# --- who else uses them -------------------------------------------------------


@dataclass(frozen=True)
class Ticks:
    """What `/proc/stat` says of the CPUs this process may use."""

    busy: int
    stolen: int
    all: int


def ticks(stat: str, cpus: set[int]) -> Ticks:
    busy = stolen = total = 0
    for line in stat.splitlines():
        name, *numbers = line.split()
        if re.fullmatch(r"cpu\d+", name) and int(name[3:]) in cpus:
            user, nice, system, idle, wait, irq, soft, steal = map(int, numbers[:8])
            busy += user + nice + system + irq + soft
            stolen += steal
            total += user + nice + system + idle + wait + irq + soft + steal
    return Ticks(busy, stolen, total)


def ticks_now() -> Ticks:
    return ticks(Path("/proc/stat").read_text(), os.sched_getaffinity(0))


@dataclass
class Conditions:
    """What was seen before, between and after the rounds."""

    nearest_ns: list[int] = field(default_factory=list)
    farthest_ns: list[int] = field(default_factory=list)
    busy_cpus: list[float] = field(default_factory=list)
    begin: Ticks = field(default_factory=ticks_now)

    def look(self) -> None:
        """Call it while nothing of the benchmark runs; takes about a second."""
        cpus = len(os.sched_getaffinity(0))
        before = ticks_now()
        time.sleep(0.7)
        after = ticks_now()
        lasted = max(after.all - before.all, 1)
        self.busy_cpus.append(round(cpus * (after.busy - before.busy) / lasted, 2))
        ways = [way for pair in pairs() if (way := usual_crossing(*pair))]
        if ways:
            self.nearest_ns.append(round(min(ways)))
            self.farthest_ns.append(round(max(ways)))

    def stolen(self) -> float:
        """The share of the CPUs' time that went to other virtual machines."""
        now = ticks_now()
        lasted = max(now.all - self.begin.all, 1)
        return round((now.stolen - self.begin.stolen) / lasted, 3)

    def text(self) -> str:
        busy = " ".join(f"{busy:.2g}" for busy in self.busy_cpus)
        stolen = f"{100 * self.stolen():.1f} % stolen"
        where = f"CPUs {placement(self.nearest_ns, self.farthest_ns)}"
        return f"{where}; busy CPUs beside the rounds: {busy}; {stolen}"


def placement(nearest: list[int], farthest: list[int]) -> str:
    """In words: `near (54 ns)`, `far (180 ns)`, `near to far (40 to 180 ns)`."""
    if not nearest:
        return "alone"
    low, high = min(nearest), max(farthest)
    words = list(dict.fromkeys("near" if ns < NEAR_NS else "far" for ns in (low, high)))
    numbers = list(dict.fromkeys(str(ns) for ns in (low, high)))
    return f"{' to '.join(words)} ({' to '.join(numbers)} ns)"
