"""A lock around a file, and what happens when its owner is killed.

    python examples/logbook.py [--writers 4] [--entries 50]

Several processes write numbered entries of several lines into one file. A lock
keeps the entries whole. One more process is killed while it holds the lock, in the
middle of its entry: another one learns of it, whoever is next repairs the file, and
all go on.
"""

import argparse
import os
import signal
import tempfile
from pathlib import Path

import phalanx.multiprocessing as mp
from arguments import at_least
from phalanx.multiprocessing.errors import OwnerDiedError

LINES = 3


def write_entry(path: Path, who: str) -> bool:
    """Append an entry with the next number; tell whether the last one was broken."""
    whole, end, broken = path.read_text().rpartition("end\n")
    if broken:
        path.write_text(whole + end)
    number = whole.count("entry ") + 1
    with path.open("a") as file:
        file.write(f"entry {number} by {who}\n")
        for line in range(LINES):
            file.write(f"  line {line} of {number}\n")
            file.flush()
        file.write("end\n")
    return bool(broken)


def write_many(lock, held, path: Path, who: str, entries: int, notes) -> None:
    held.wait()
    for _ in range(entries):
        try:
            lock.acquire()
        except OwnerDiedError as error:  # one process is told, once
            notes.put(f"{who} was told: {error}")
            lock.acquire()
        try:
            if write_entry(path, who):
                notes.put(f"{who} cut off the entry that was not finished")
        finally:
            lock.release()


def die_with_it(lock, held, path: Path) -> None:
    with lock, path.open("a") as file:
        held.set()
        file.write("entry of a process that is killed\n  line 0\n")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)


def check(path: Path, expected: int) -> None:
    """Every entry is whole, and they are numbered from 1."""
    lines = iter(path.read_text().splitlines())
    for number in range(1, expected + 1):
        entry = [next(lines, "") for _ in range(LINES + 2)]
        whole = [f"  line {line} of {number}" for line in range(LINES)]
        if not entry[0].startswith(f"entry {number} by writer ") or entry[1:] != [
            *whole,
            "end",
        ]:
            raise SystemExit(f"entry {number} is not whole: {entry}")
    if rest := list(lines):
        raise SystemExit(f"after the last entry: {rest}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--writers", type=at_least(1), default=4)
    parser.add_argument("--entries", type=at_least(1), default=50, help="by each")
    options = parser.parse_args()

    lock, held, notes = mp.Lock(), mp.Event(), mp.Queue()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "logbook")
        path.touch()
        victim = mp.Process(target=die_with_it, args=(lock, held, path))
        writers = [
            mp.Process(
                target=write_many,
                args=(lock, held, path, f"writer {i}", options.entries, notes),
            )
            for i in range(options.writers)
        ]
        for process in (victim, *writers):
            process.start()
        for process in (victim, *writers):
            process.join()
        if victim.exitcode != -signal.SIGKILL or any(p.exitcode for p in writers):
            raise SystemExit(f"exit codes {[p.exitcode for p in (victim, *writers)]}")
        for note in sorted([notes.get(), notes.get()], key=lambda note: "cut" in note):
            print(note)
        entries = options.writers * options.entries
        check(path, entries)
        print(f"{entries} entries by {options.writers} writers, all whole")


if __name__ == "__main__":
    main()
