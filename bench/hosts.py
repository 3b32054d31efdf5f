"""Jobs on two hosts: how long starting takes beside MPICH's hydra, and messages over
the wire beside mpi4py on the same library, in one run.

    PYTHON=python tests/hosts/up.sh 4 python bench/hosts.py [--rounds 15] [WHAT...]

WHAT is `start`, `wire`, or `scale`: start, memory and connections at 1, 2, 4 ... hosts.

Hosts are those of `HOSTS`, reached by the remote shell `RSH`, as `tests/hosts/up.sh`
makes them; anything else that sets these two does as well. Engines take turns, and the
one that begins does; a figure is the median over the rounds. Behind the ratio of the
medians are the quartiles of the ratios of single rounds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from engines import make_environment
from machine import this_machine

HERE = Path(__file__).resolve().parent
OURS = Path(sys.executable).parent
LIMIT = 120.0
HELLO = """
from mpi4py import MPI
comm = MPI.COMM_WORLD
assert comm.allreduce(comm.rank) == comm.size * (comm.size - 1) // 2
"""
# Seconds one way; the first turn of each row is not counted.
WIRE = """
import json, sys, time
import numpy as np
from mpi4py import MPI

comm = MPI.COMM_WORLD
rank, peer = comm.rank, 1 - comm.rank


def buffers(count):
    a, b = np.full(count // 8, rank, "d"), np.zeros(count // 8)
    a[0] = 7
    def turn():
        if rank == 0:
            comm.Send(a, peer)
            comm.Recv(b, peer)
        else:
            comm.Recv(b, peer)
            comm.Send(a, peer)
    turn()
    assert b[0] == 7 and (b[1:] == peer).all()
    return turn


def objects(count):
    a = np.full(count // 8, rank, "d")
    def turn():
        if rank == 0:
            comm.send(a, peer)
            return comm.recv(source=peer)
        b = comm.recv(source=peer)
        comm.send(a, peer)
        return b
    assert (turn() == peer).all()
    return turn


found = {}
for name, make, count in [
    ("Send, 8 B", buffers, 8),
    ("Send, 1 KiB", buffers, 1 << 10),
    ("Send, 64 KiB", buffers, 1 << 16),
    ("Send, 1 MiB", buffers, 1 << 20),
    ("Send, 64 MiB", buffers, 1 << 26),
    ("send of an array, 1 KiB", objects, 1 << 10),
    ("send of an array, 1 MiB", objects, 1 << 20),
    ("send of an array, 64 MiB", objects, 1 << 26),
]:
    turn = make(count)
    turns = max(3, min(2000, (1 << 27) // (count + (1 << 16))))
    turns = 3 if count == 1 << 26 else turns
    comm.Barrier()
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        for _ in range(turns):
            turn()
        times.append((time.perf_counter() - begin) / turns / 2)
    found[name] = sorted(times)[1]
if rank == 0:
    print(json.dumps(found))
"""


# All ranks have spoken to all others; they stay until they are told to go.
STAYS = """
import os, sys, time
from mpi4py import MPI
comm = MPI.COMM_WORLD
comm.alltoall([comm.rank] * comm.size)
comm.Barrier()
open(f"{sys.argv[1]}/there-{comm.rank}", "w").close()
while not os.path.exists(f"{sys.argv[1]}/go"):
    time.sleep(0.01)
"""


def private(pid: int) -> float:
    """The memory of a process in MiB, shared pages divided by who shares them."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    [line] = [line for line in text.splitlines() if line.startswith("Pss:")]
    return int(line.split()[1]) / 1024


def connections(pid: int) -> int:
    """The ends of connections of the host of this process."""
    count = 0
    for name in ("tcp", "tcp6"):
        lines = Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
        count += sum(line.split()[3] == "01" for line in lines)
    return count


def started_by(words: list[str]) -> dict[str, list[int]]:
    """The processes of a job: of the launcher, of agents, of ranks."""
    found: dict[str, list[int]] = {"launcher": [], "agents": [], "ranks": []}
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().decode().split("\0")[:-1]
        except (OSError, UnicodeDecodeError):
            continue
        if line == words:
            found["launcher"].append(int(entry.name))
        elif line[1:] == ["agent"]:
            found["agents"].append(int(entry.name))
        elif line[1:] == words[-2:]:
            found["ranks"].append(int(entry.name))
    return found


def scale(hosts: list[str], folder: Path, library: str, rounds: int) -> None:
    program = folder / "stays.py"
    program.write_text(STAYS)
    hello = str(folder / "hello.py")
    print(f"{'hosts':>5} {'ranks':>5} {'start ms':>9}  MiB: launcher agent rank  ends")
    for count in (count for count in (1, 2, 4, 8) if count <= len(hosts)):
        job = [str(OURS / "phalanx"), "run", "--host"]
        job += [",".join(f"{host}:2" for host in hosts[:count])]
        env = {"PHALANX_MPI": library}
        times = [run([*job, hello], env)[0] for _ in range(rounds)]
        with tempfile.TemporaryDirectory(dir=folder) as place:
            words = [*job, str(program), place]
            env = {**os.environ, "PHALANX_SSH": os.environ["RSH"], **env}
            with subprocess.Popen(words, env=env) as process:
                there = [Path(place, f"there-{n}") for n in range(2 * count)]
                while not all(x.exists() for x in there) and process.poll() is None:
                    time.sleep(0.05)
                found = started_by(words)
                ends = sum(connections(pid) for pid in found["ranks"]) // 2
                # Each has a guard beside it, whose pages are mostly the same.
                memory = [
                    sum(private(pid) for pid in found["launcher"]),
                    sum(private(pid) for pid in found["agents"]) / count,
                    sum(private(pid) for pid in found["ranks"]) / (2 * count),
                ]
                Path(place, "go").touch()
        seconds = statistics.median(times)
        shown = " ".join(f"{one:7.1f}" for one in memory)
        print(f"{count:5} {2 * count:5} {seconds * 1e3:9.0f}       {shown}  {ends:4}")


def run(words: list[str], env: dict[str, str]) -> tuple[float, str]:
    begin = time.perf_counter()
    done = subprocess.run(
        words,
        env={**os.environ, "PHALANX_SSH": os.environ["RSH"], **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=LIMIT,
    )
    took = time.perf_counter() - begin
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)}: status {done.returncode}")
    return took, done.stdout


def told(name: str, ours: list[float], theirs: list[float]) -> None:
    a, b = statistics.median(ours), statistics.median(theirs)
    ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    figures = f"{a * 1e6:10.1f} {b * 1e6:10.1f} {b / a:7.2f}"
    print(f"{name:<26} {figures}  {low:.2f}-{high:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="*", default=["start", "wire"])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    hosts = os.environ["HOSTS"].split(",")[:2]
    peers = make_environment("mpich")
    folder = HERE.parent / "build" / "hosts-bench"
    folder.mkdir(parents=True, exist_ok=True)
    hello, wire = folder / "hello.py", folder / "wire.py"
    hello.write_text(HELLO)
    wire.write_text(WIRE)
    library = str(peers.parent / "lib" / "libmpi_abi.so.1")
    phalanx = [str(OURS / "phalanx"), "run"]
    machine = this_machine()
    print(f"{machine.cpu}, {machine.cpus} CPUs")
    print(
        f"{'microseconds (medians)':<26} {'Phalanx':>10} {'the other':>10} {'ratio':>7}"
        "  quartiles"
    )
    if "start" in options.what:
        two = ",".join(f"{host}:2" for host in hosts)
        hydra = [str(peers / "mpiexec"), "-launcher", "rsh"]
        hydra += ["-launcher-exec", os.environ["RSH"], "-hosts", two, "-n", "4"]
        bare = [str(peers / "python"), "-c", "from mpi4py import MPI"]
        times = defaultdict(list)
        for _ in range(options.rounds):
            ours = [*phalanx, "--host", two, str(hello)]
            times["phalanx"].append(run(ours, {"PHALANX_MPI": library})[0])
            theirs = [*hydra, str(peers / "python"), str(hello)]
            times["hydra"].append(run(theirs, {})[0])
            times["alone"].append(run(bare, {})[0])
        told("start, 4 ranks on 2 hosts", times["phalanx"], times["hydra"])
        alone = statistics.median(times["alone"])
        print(f"  (one process of mpi4py alone: {alone * 1e6:.0f})")
    if "scale" in options.what:
        scale(os.environ["HOSTS"].split(","), folder, library, options.rounds)
    if "wire" in options.what:
        found = {"ours": defaultdict(list), "mpi4py": defaultdict(list)}
        job = [*phalanx, "--host", ",".join(hosts)]
        turns = [
            ("ours", [*job, str(wire)]),
            ("mpi4py", [*job, "--doors", "none", str(peers / "python"), str(wire)]),
        ]
        for _ in range(options.rounds):
            turns.reverse()
            for name, words in turns:
                # mpi4py's wheel takes the same release's libmpi.so.12.
                told_by = run(words, {"PHALANX_MPI": library})[1]
                for row, seconds in json.loads(told_by).items():
                    found[name][row].append(seconds)
        for row in found["ours"]:
            told(row, found["ours"][row], found["mpi4py"][row])


if __name__ == "__main__":
    main()
