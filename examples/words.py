"""Word statistics over a folder of texts, with a reduction of dictionaries.

    phalanx run -n 4 examples/words.py [FOLDER] [--suffix .py] [--check]

Every rank counts the words of its share of the files; a reduction with an
operation of our own merges the dictionaries. Without FOLDER the texts are
the sources of Python's standard library, which every machine has.
"""

import argparse
import os
import re
import sysconfig
import time
from collections import Counter
from pathlib import Path

from arguments import at_least, folder
from mpi4py import MPI

WORD = re.compile(r"[A-Za-z][A-Za-z']*")


def find_texts(top: str, suffix: str) -> list[tuple[int, str]]:
    """Return (size in bytes, path) of every text, largest first."""
    texts = []
    for parent, _, files in os.walk(top):
        for name in files:
            path = os.path.join(parent, name)
            if name.endswith(suffix) and os.path.isfile(path):
                texts.append((os.path.getsize(path), path))
    return sorted(texts, reverse=True)


def deal(texts: list[tuple[int, str]], hands: int) -> list[list[str]]:
    """Deal the files so that every hand holds about as many bytes."""
    shares: list[list[str]] = [[] for _ in range(hands)]
    loads = [0] * hands
    for size, path in texts:
        lightest = loads.index(min(loads))
        shares[lightest].append(path)
        loads[lightest] += size + 1000  # opening a file costs something too
    return shares


def count_words(paths: list[str]) -> Counter:
    counts: Counter = Counter()
    for path in paths:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
        counts.update(word.lower() for word in WORD.findall(text))
    return counts


def merge(left: Counter, right: Counter) -> Counter:
    """Add the smaller dictionary to the larger one."""
    if len(left) < len(right):
        left, right = right, left
    left.update(right)
    return left


def show(counts: Counter, top: int) -> None:
    ranking = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:top]
    if not ranking:
        return
    longest = max(len(word) for word, _ in ranking)
    for word, count in ranking:
        bar = "#" * round(40 * count / ranking[0][1])
        print(f"  {word:{longest}} {count:>9,} {bar}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    default = sysconfig.get_path("stdlib")
    parser.add_argument("folder", nargs="?", type=folder, default=default)
    parser.add_argument("--suffix", default=".py", help="which files (default .py)")
    parser.add_argument("--top", type=at_least(0), default=10, help="words to show")
    parser.add_argument(
        "--check", action="store_true", help="count again on one rank and compare"
    )
    options = parser.parse_args()

    comm = MPI.COMM_WORLD
    shares, texts = None, []
    start = time.perf_counter()
    if comm.rank == 0:
        texts = find_texts(options.folder, options.suffix)
        if not texts:
            raise SystemExit(f"no files end in {options.suffix} in {options.folder}")
        shares = deal(texts, comm.size)
    mine = comm.scatter(shares, root=0)

    merge_op = MPI.Op.Create(lambda a, b, _=None: merge(a, b), commute=True)
    counts = comm.reduce(count_words(mine), op=merge_op, root=0)
    merge_op.Free()
    elapsed = time.perf_counter() - start

    if comm.rank == 0:
        size = sum(size for size, _ in texts)
        print(f"{len(texts):,} files, {size / 1e6:.1f} MB in {options.folder}")
        print(f"{counts.total():,} words, {len(counts):,} different ones:")
        show(counts, options.top)
        print(f"{comm.size} ranks took {elapsed:.2f} s")
        if options.check:
            start = time.perf_counter()
            serial = count_words([path for _, path in texts])
            elapsed = time.perf_counter() - start
            if serial != counts:
                raise SystemExit("the serial count differs")
            print(f"a serial count took {elapsed:.2f} s and agrees")


if __name__ == "__main__":
    main()
