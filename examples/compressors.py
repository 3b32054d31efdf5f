"""A parameter study on the workers of an `MPIPoolExecutor`.

    python examples/compressors.py [FOLDER] [--megabytes 2] [--workers 2]
    phalanx run -n 1 examples/compressors.py                          # spawns workers
    phalanx run -n 5 python -m phalanx.futures examples/compressors.py  # four ranks

Which compressor, and at which level, is worth its time for these files? Each task tries
one setting and looks whether what it has packed comes back as it was. Workers read the
input once, when they start. Without FOLDER it is Python's standard library, in source.
"""

import argparse
import bz2
import lzma
import sysconfig
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from arguments import at_least, folder
from phalanx.futures import MPIPoolExecutor

data = b""


class Trial(NamedTuple):
    """What one setting did."""

    name: str
    level: int
    ratio: float
    pack_seconds: float
    unpack_seconds: float


COMPRESSORS: dict[str, tuple[Callable, Callable, range]] = {
    "zlib": (zlib.compress, zlib.decompress, range(1, 10)),
    "bz2": (bz2.compress, bz2.decompress, range(1, 10, 2)),
    "lzma": (lambda d, p: lzma.compress(d, preset=p), lzma.decompress, range(0, 7, 2)),
}


def read(top: str, suffix: str, most: int) -> bytes:
    """The first bytes of all files of a folder, one after the other."""
    parts: list[bytes] = []
    length = 0
    for path in sorted(Path(top).rglob(f"*{suffix}")):
        if length >= most:
            break
        if path.is_file():
            parts.append(path.read_bytes()[: most - length])
            length += len(parts[-1])
    return b"".join(parts)


def begin(top: str, suffix: str, most: int) -> None:
    """Every worker reads the input itself, once."""
    global data
    data = read(top, suffix, most)


def trial(name: str, level: int) -> Trial:
    pack, unpack, _ = COMPRESSORS[name]
    start = time.perf_counter()
    packed = pack(data, level)
    middle = time.perf_counter()
    if unpack(packed) != data:
        raise ValueError(f"{name} at level {level}: not the same bytes came back")
    end = time.perf_counter()
    return Trial(name, level, len(data) / len(packed), middle - start, end - middle)


def worthwhile(trials: list[Trial]) -> list[Trial]:
    """Those that nothing else beats in both, size and time to pack."""
    best: list[Trial] = []
    for one in sorted(trials, key=lambda trial: trial.pack_seconds):
        if not best or one.ratio > best[-1].ratio:
            best.append(one)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "folder", nargs="?", type=folder, help="where to look for files"
    )
    parser.add_argument("--suffix", default=".py", help="of which files (.py)")
    parser.add_argument("--megabytes", type=at_least(1), default=2, help="read so much")
    parser.add_argument("--workers", type=at_least(1), help="how many to start")
    options = parser.parse_args()
    top = str(options.folder or sysconfig.get_path("stdlib"))
    most = options.megabytes << 20
    length = len(read(top, options.suffix, most))
    if not length:
        raise SystemExit(f"{top}: no files end in {options.suffix}")

    settings = [
        (name, level) for name, (*_, levels) in COMPRESSORS.items() for level in levels
    ]
    start = time.perf_counter()
    with MPIPoolExecutor(
        options.workers, initializer=begin, initargs=(top, options.suffix, most)
    ) as executor:
        workers = executor.num_workers
        trials = list(executor.starmap(trial, settings, unordered=True))
    took = time.perf_counter() - start
    print(
        f"{len(trials)} settings on {length:,} bytes, {workers} workers, {took:.1f} s"
    )
    for one in worthwhile(trials):
        print(
            f"  {one.name:4} {one.level}: {one.ratio:5.2f} times smaller,"
            f" packs {length / one.pack_seconds / 1e6:6.1f} MB/s,"
            f" unpacks {length / one.unpack_seconds / 1e6:6.1f} MB/s"
        )
    busy = sum(one.pack_seconds + one.unpack_seconds for one in trials)
    print(f"every setting gave back the same bytes; the work of {busy:.1f} s")


if __name__ == "__main__":
    main()
