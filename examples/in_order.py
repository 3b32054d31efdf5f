"""Processes and queues: files checked by many, reported in their order.

    python examples/in_order.py [FOLDER] [--workers 4]

A feeder numbers the files and puts them into a bounded queue, workers compute
check sums as they come, and the main process prints them in the order of the
numbers, as soon as all before them are there: what is early, waits.
"""

import argparse
import hashlib
import os
import sysconfig
import time

import phalanx.multiprocessing as mp
from arguments import at_least, folder


def find_files(top: str) -> list[str]:
    """Every file below a folder, in an order that does not change."""
    found = []
    for parent, folders, names in os.walk(top):
        folders[:] = sorted(set(folders) - {"__pycache__"})
        found += [os.path.join(parent, name) for name in sorted(names)]
    return [p for p in found if os.path.isfile(p) and os.access(p, os.R_OK)]


def check_sum(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def feed(files: list[str], jobs, workers: int) -> None:
    for numbered in enumerate(files):
        jobs.put(numbered)  # waits while the queue is full
    for _ in range(workers):
        jobs.put(None)


def work(jobs, results) -> None:
    for number, path in iter(jobs.get, None):
        results.put((number, path, check_sum(path)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    default = os.path.join(sysconfig.get_path("stdlib"), "email")
    parser.add_argument("folder", nargs="?", type=folder, default=default)
    parser.add_argument("--workers", type=at_least(1), default=4)
    options = parser.parse_args()
    files = find_files(options.folder)
    if not files:
        raise SystemExit(f"no files in {options.folder}")

    jobs, results = mp.Queue(maxsize=100), mp.Queue()
    start = time.perf_counter()
    processes = [
        mp.Process(target=work, args=(jobs, results)) for _ in range(options.workers)
    ]
    processes.append(mp.Process(target=feed, args=(files, jobs, options.workers)))
    for process in processes:
        process.start()

    early: dict[int, tuple[str, str]] = {}
    overall, expected, due, most = hashlib.sha256(), hashlib.sha256(), 0, 0
    while due < len(files):
        number, path, digest = results.get()
        early[number] = path, digest
        most = max(most, len(early))
        while due in early:
            path, digest = early.pop(due)
            if due < 3 or due == len(files) - 1:
                print(f"{due:6} {digest[:16]} {os.path.relpath(path, options.folder)}")
            overall.update(digest.encode())
            due += 1
    for process in processes:
        process.join()
    elapsed = time.perf_counter() - start

    for path in files:
        expected.update(check_sum(path).encode())
    if overall.digest() != expected.digest() or any(p.exitcode for p in processes):
        raise SystemExit("the serial run differs")
    print(f"{due:,} files by {options.workers} workers in {elapsed:.2f} s")
    print(f"in order (at most {most} had to wait); a serial run agrees")


if __name__ == "__main__":
    main()
