"""`--record` and `--replay`: what timing decided in a run is decided again."""

import os
import random
import subprocess
import sys
import textwrap
import unittest
from pathlib import Path

from jobs import PHALANX, Ended, JobCase

# Every run has other delays, so that without a recording each is another one.
HEAD = """
import os, random, sys, time
from mpi4py import MPI
comm = MPI.COMM_WORLD
rank, size = comm.rank, comm.size
chance = random.SystemRandom()
def pause(most=0.004):
    time.sleep(chance.random() * most)
"""

FARM = """
results = 6
if rank == 0:
    order, status = [], MPI.Status()
    for _ in range(results * (size - 1)):
        pause()
        value = comm.recv(source=MPI.ANY_SOURCE, tag=MPI.ANY_TAG, status=status)
        order.append((status.source, status.tag, value))
        comm.send(len(order), dest=status.source, tag=9)
    print(order, flush=True)
else:
    for step in range(results):
        pause()
        comm.send(f"{rank}.{step}", dest=0, tag=step % 3)
        comm.recv(source=0, tag=9)
"""

# Each way to receive gets as many messages as there are workers.
WAYS = """
from array import array
WAYS = 9
big = 300_000
def room():
    return array("i", [0]) * big
if rank == 0:
    told = []
    def say(way, status, value):
        told.append((way, status.source, status.tag, value))
    for way in range(WAYS):
        persistent, held = None, room()
        if way == 6:
            persistent = comm.Recv_init(held, source=MPI.ANY_SOURCE, tag=way)
        requests, rooms = [], []
        if way == 1:
            rooms = [room() for _ in range(size - 1)]
            requests = [comm.Irecv(r, source=MPI.ANY_SOURCE, tag=way) for r in rooms]
        if way == 2:
            requests = [comm.irecv(tag=way) for _ in range(size - 1)]
        comm.bcast(way)
        if way == 1:
            statuses = [MPI.Status() for _ in requests]
            MPI.Request.Waitall(requests, statuses)
            for status, r in zip(statuses, rooms):
                say(way, status, r[7])
            continue
        if way == 2:
            statuses = [MPI.Status() for _ in requests]
            for status, value in zip(statuses, MPI.Request.waitall(requests, statuses)):
                say(way, status, value)
            continue
        for _ in range(size - 1):
            pause()
            status = MPI.Status()
            if way == 0:
                comm.Recv(held, source=MPI.ANY_SOURCE, tag=way, status=status)
                say(way, status, held[7])
            elif way == 3:
                comm.Probe(MPI.ANY_SOURCE, way, status)
                say(way, status, comm.recv(source=status.source, tag=way))
            elif way == 4:
                message = comm.mprobe(MPI.ANY_SOURCE, way, status)
                say(way, status, message.recv())
            elif way == 5:
                value = comm.sendrecv("x", dest=0, sendtag=77, source=MPI.ANY_SOURCE,
                                      recvtag=way, status=status)
                comm.recv(source=0, tag=77)
                say(way, status, value)
            elif way == 6:
                persistent.Start()
                persistent.Wait(status)
                say(way, status, held[7])
            elif way == 7:
                value = comm.recv(None, MPI.ANY_SOURCE, way, status)
                say(way, status, value)
            else:
                req = comm.Isendrecv(array("i", [1]), 0, 78, held, MPI.ANY_SOURCE, way)
                req.Wait(status)
                comm.Recv(array("i", [0]), source=0, tag=78)
                say(way, status, held[7])
    print(told, flush=True)
else:
    for _ in range(WAYS):
        way = comm.bcast(None)
        pause()
        if way in (0, 1, 6, 8):
            comm.Send(array("i", [rank]) * (big if way < 2 else 9), dest=0, tag=way)
        else:
            comm.send([rank] * 2, dest=0, tag=way)
"""

CHOICES = """
WAYS = 9
if rank == 0:
    told = []
    for way in range(WAYS):
        comm.bcast(way)
        peers = range(1, size)
        if way < 7:
            requests = [comm.irecv(source=peer, tag=way) for peer in peers]
        left, empty = size - 1, 0
        while left:
            if way == 0:
                i, value = MPI.Request.waitany(requests)
                told.append((way, i, value)); left -= 1
            elif way == 1:
                some = MPI.Request.waitsome(requests)
                told.append((way, some)); left -= len(some[0])
            elif way == 2:
                i, flag, value = MPI.Request.testany(requests)
                if flag: told.append((way, empty, i, value)); left -= 1
            elif way == 3:
                some = MPI.Request.testsome(requests)
                if some[0]: told.append((way, empty, some)); left -= len(some[0])
            elif way == 4:
                flag, values = MPI.Request.testall(requests)
                if flag: told.append((way, empty, values)); left = 0
            elif way == 5:
                flag, value = requests[left - 1].test()
                if flag: told.append((way, empty, value)); left -= 1
            elif way == 6:
                if requests[left - 1].Get_status():
                    told.append((way, empty, requests[left - 1].wait())); left -= 1
            elif way == 7:
                status = MPI.Status()
                if comm.iprobe(MPI.ANY_SOURCE, way, status):
                    told.append((way, empty, comm.recv(source=status.source, tag=way)))
                    left -= 1
            else:
                message = comm.improbe(MPI.ANY_SOURCE, way)
                if message:
                    told.append((way, empty, message.recv())); left -= 1
            empty += 1
            if way > 1: pause(0.0005)
    print(told, flush=True)
else:
    for _ in range(WAYS):
        way = comm.bcast(None)
        pause()
        comm.send([rank] * 2, dest=0, tag=way)
"""

THREADS = """
from threading import Thread
comms = [comm, comm.Dup()]
orders = [[], []]
def collect(which):
    for _ in range(5 * (size - 1)):
        pause(0.002)
        orders[which].append(comms[which].recv(source=MPI.ANY_SOURCE))
if rank == 0:
    thread = Thread(target=collect, args=[1])
    thread.start()
    collect(0)
    thread.join()
    print(orders, flush=True)
else:
    for _ in range(5):
        for each in comms:
            pause()
            each.send(rank, dest=0)
comms[1].Free()
"""

# All ranks know from a seed who sends what to whom, and how each receives; in which
# order messages come is chance.
PLAN = """
plan = random.Random(int(sys.argv[1]))
comms = [comm, comm.Dup(), comm.Split(0, -rank)]
trace, sends = [], []
for step in range(12):
    many, lengths = plan.randrange(4 * size), [1, 1, 9, 40_000]
    letters = [(plan.randrange(size), plan.randrange(size), plan.randrange(3),
                plan.choice(lengths)) for _ in range(many)]
    ways = [plan.randrange(7) for _ in range(size)]
    on = plan.choice(comms)
    me = on.rank
    mine = sum(to == me for _, to, _, _ in letters)
    status, requests, way = MPI.Status(), [], ways[me]
    if way in (1, 2):
        requests = [on.irecv(1 << 20, MPI.ANY_SOURCE, MPI.ANY_TAG) for _ in range(mine)]
    pause()
    sends += [on.isend((step, number, "x" * length), dest=to, tag=tag)
              for number, (source, to, tag, length) in enumerate(letters)
              if source == me]
    empty = 0
    while mine:
        if way == 0:
            value = on.recv(None, MPI.ANY_SOURCE, MPI.ANY_TAG, status)
        elif way == 1:
            _, value = MPI.Request.waitany(requests, status)
        elif way == 2:
            _, flag, value = MPI.Request.testany(requests, status)
            if not flag: empty += 1; continue
        elif way == 3:
            if not on.iprobe(MPI.ANY_SOURCE, MPI.ANY_TAG, status): empty += 1; continue
            value = on.recv(None, status.source, status.tag)
        elif way == 4:
            value = on.mprobe(MPI.ANY_SOURCE, MPI.ANY_TAG, status).recv()
        elif way == 5:
            message = on.improbe(MPI.ANY_SOURCE, MPI.ANY_TAG, status)
            if not message: empty += 1; continue
            value = message.recv()
        else:
            on.probe(MPI.ANY_SOURCE, MPI.ANY_TAG, status)
            value = on.recv(None, status.source, MPI.ANY_TAG, status)
        trace.append((way, empty, status.source, status.tag, value[:2], len(value[2])))
        mine -= 1
    # A receive may have taken a letter of a later step. Large ones of this step then
    # wait for a receive of a later one, to which who waited here would not come.
    while sends and step % 4 == 3:
        done, _ = MPI.Request.waitsome(sends)
        trace.append(done)
        sends = [send for at, send in enumerate(sends) if at not in done]
    if step % 4 == 3: comm.Barrier()
for each in comm.gather(trace) or []:
    print(each, flush=True)
for each in comms[1:]: each.Free()
"""

CRASH = """
if rank == 0:
    first = comm.recv(source=MPI.ANY_SOURCE)
    second = comm.recv(source=MPI.ANY_SOURCE)
    if first > second:
        raise RuntimeError("the wrong one was first")
    print("fine", flush=True)
else:
    pause(0.02)
    comm.send(rank, dest=0)
"""

KILLED = """
import signal
if rank == 0:
    for step in range(4 * (size - 1)):
        print(comm.recv(source=MPI.ANY_SOURCE), flush=True)
        if step == 5 and "die" in sys.argv:
            os.kill(os.getpid(), signal.SIGKILL)
else:
    for step in range(4):
        pause()
        comm.ssend((rank, step), dest=0)
"""

# A rank dies at a moment of its own; rank 0 says at once what it has received.
SUDDEN = """
import signal
from threading import Timer
def die():
    os.kill(os.getpid(), signal.SIGKILL)
limit = int(sys.argv[2])
if not limit and rank == chance.randrange(size):
    Timer(0.05 + chance.random() / 4, die).start()
data, status = bytearray(4), MPI.Status()
if rank == 0:
    file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    step = 0
    while step != limit or not limit:
        found = comm.Iprobe(MPI.ANY_SOURCE, MPI.ANY_TAG)
        comm.Recv(data, MPI.ANY_SOURCE, MPI.ANY_TAG, status)
        os.write(file, b"%d%d " % (found, status.source))
        step += 1
        if not limit and step == 100_000: die()
    die()
while True:
    comm.Ssend(data, dest=0)
"""

SPAWN = """
parent = MPI.Comm.Get_parent()
if parent == MPI.COMM_NULL:
    children = comm.Spawn(sys.executable, [__file__], maxprocs=3)
    if rank == 0:
        print([children.recv(source=MPI.ANY_SOURCE) for _ in range(6)], flush=True)
    children.Disconnect()
else:
    order = []
    if rank == 0:
        order = [comm.recv(source=MPI.ANY_SOURCE) for _ in range(4)]
    else:
        for step in range(2):
            pause()
            comm.send((rank, step), dest=0)
    for step in range(2):
        pause()
        parent.send((rank, step, order), dest=0)
    parent.Disconnect()
"""

# What is asked for differs by the argument.
OTHER = """
half = comm.Dup()
half.name = "half"
how = sys.argv[1]
if rank == 0:
    for step in range(3):
        if how == "looks":
            comm.iprobe(MPI.ANY_SOURCE)
        where = half if how == "elsewhere" and step == 1 else comm
        where.recv(source=MPI.ANY_SOURCE, tag=3 if how == "tag" else MPI.ANY_TAG)
        if how == "fewer" and step == 1:
            comm.recv(source=1)
            break
    if how == "more":
        comm.recv(source=MPI.ANY_SOURCE)
else:
    for step in range(4 if how == "more" else 3):
        tag = 4 if how == "missing" and step == 2 else 3
        where = half if how == "elsewhere" and step == 1 else comm
        where.send(step, dest=0, tag=tag)
half.Free()
"""

CANCEL = """
early, late = sys.argv[1:]
if rank == 0:
    request = comm.Irecv(bytearray(8), source=MPI.ANY_SOURCE, tag=1)
    comm.Barrier()
    time.sleep(float(late))
    comm.Iprobe(source=1, tag=99)  # lets a message in that has come
    request.Cancel()
    status = MPI.Status()
    request.Wait(status)
    print("cancelled" if status.Is_cancelled() else "received", flush=True)
    if status.Is_cancelled():
        comm.Recv(bytearray(8), source=MPI.ANY_SOURCE, tag=1)
else:
    comm.Barrier()
    time.sleep(float(early))
    comm.Send(b"12345678", dest=0, tag=1)
"""


def checksum(block: bytes) -> int:
    total = 0x811C9DC5
    for byte in block:
        total = ((total ^ byte) * 0x01000193) & 0xFFFFFFFF
    return total


class ReplayCase(JobCase):
    """Jobs with a file beside their script."""

    def setUp(self) -> None:
        super().setUp()
        self.file = Path(self.folder, "run.rec")

    def run_script(self, ranks: int, script: str, *flags: str, args=()) -> Ended:
        path = Path(self.folder, "script.py")
        path.write_text(HEAD + script)
        # Lines of the program are those of the script alone.
        program = [sys.executable, str(path), *args]
        return self.launch("-n", str(ranks), *flags, *program).end()

    def record(self, ranks: int, script: str, *flags: str, args=()) -> Ended:
        return self.run_script(
            ranks, script, "--record", str(self.file), *flags, args=args
        )

    def replay(self, ranks: int, script: str, *flags: str, args=()) -> Ended:
        return self.run_script(
            ranks, script, "--replay", str(self.file), *flags, args=args
        )

    def assert_repeats(self, ranks: int, script: str, times: int = 4) -> str:
        """A run is recorded once; all replays say what it said. Gives that."""
        recorded = self.record(ranks, script)
        self.assertEqual(recorded.status, 0, recorded.text)
        self.assertNotEqual(recorded.out, "", recorded.text)
        before = self.file.read_bytes()
        for attempt in range(times):
            # Every second one beside a process that computes.
            busy = [sys.executable, "-c", "while True: pass"]
            load = subprocess.Popen(busy) if attempt % 2 else None
            try:
                again = self.replay(ranks, script)
            finally:
                if load:
                    load.kill()
                    load.wait()
            self.assertEqual(again.status, 0, again.text)
            self.assertEqual(again.out, recorded.out, again.text)
            self.assertEqual(again.err, "", again.text)
        self.assertEqual(self.file.read_bytes(), before, "a replay writes nothing")
        return recorded.out


class Repeated(ReplayCase):
    """The same order and the same result."""

    def test_a_farm_takes_results_in_the_order_of_the_recording(self) -> None:
        for ranks in (2, 3, 8):
            with self.subTest(ranks=ranks):
                self.assert_repeats(ranks, FARM, 8 if ranks == 3 else 4)

    def test_without_a_recording_runs_differ(self) -> None:
        outs = {self.run_script(4, FARM).out for _ in range(6)}
        self.assertGreater(len(outs), 1, "the tests here would show nothing")

    def test_every_way_to_receive_from_any_rank(self) -> None:
        for ranks in (2, 4):
            with self.subTest(ranks=ranks):
                out = self.assert_repeats(ranks, WAYS)
                self.assertEqual(out.count("), ("), 9 * (ranks - 1) - 1)

    def test_tests_probes_and_choices(self) -> None:
        for ranks in (2, 4):
            with self.subTest(ranks=ranks):
                self.assert_repeats(ranks, CHOICES)

    def test_threads_with_communicators_of_their_own(self) -> None:
        self.assert_repeats(3, THREADS)

    def test_spawned_worlds(self) -> None:
        self.assert_repeats(2, SPAWN)

    def test_what_was_withdrawn_is_withdrawn_again(self) -> None:
        for early, late, said in (("0.5", "0", "cancelled"), ("0", "0.5", "received")):
            with self.subTest(said):
                recorded = self.record(2, CANCEL, args=(early, late))
                self.assertEqual(recorded.out, f"{said}\n", recorded.text)
                again = self.replay(2, CANCEL, args=(late, early))
                self.assertEqual(again.out, f"{said}\n", again.text)
                self.assertEqual(again.status, 0, again.text)
                # The arguments are others, and that is all that is said.
                self.assert_says(again, "warning: --replay: recorded was")

    def test_programs_at_random(self) -> None:
        seed = int(os.environ.get("PHALANX_TEST_SEED", "0")) or random.randrange(10**6)
        for ranks, more in ((2, 0), (3, 1), (8, 2), (3, 3), (4, 4)):
            args = [str(seed + more)]
            with self.subTest(ranks=ranks, again=f"PHALANX_TEST_SEED={seed}"):
                recorded = self.record(ranks, PLAN, args=args)
                self.assertEqual(recorded.status, 0, recorded.text)
                for _ in range(3):
                    again = self.replay(ranks, PLAN, args=args)
                    self.assertEqual(again.status, 0, again.text)
                    self.assertEqual(again.out, recorded.out)

    def test_a_c_program(self) -> None:
        source, program = Path(self.folder, "a.c"), Path(self.folder, "a.out")
        source.write_text(
            textwrap.dedent("""\
            #include <mpi.h>
            #include <stdio.h>
            #include <stdlib.h>
            #include <unistd.h>
            int main(int argc, char **argv)
            {
                int rank, size, value, flag, looks = 0;
                MPI_Status status;
                MPI_Init(&argc, &argv);
                MPI_Comm_rank(MPI_COMM_WORLD, &rank);
                MPI_Comm_size(MPI_COMM_WORLD, &size);
                srand(getpid());
                for (int step = 0; step < 20 * (rank ? 1 : size - 1); ++step) {
                    usleep(rand() % 500);
                    if (rank) {
                        MPI_Send(&rank, 1, MPI_INT, 0, 0, MPI_COMM_WORLD);
                        continue;
                    }
                    MPI_Iprobe(1, 0, MPI_COMM_WORLD, &flag, MPI_STATUS_IGNORE);
                    looks += flag;
                    MPI_Recv(&value, 1, MPI_INT, MPI_ANY_SOURCE, MPI_ANY_TAG,
                             MPI_COMM_WORLD, &status);
                    printf("%d", value);
                }
                if (!rank) printf(" %d\\n", looks);
                MPI_Finalize();
                return 0;
            }
            """)
        )
        built = subprocess.run(
            [PHALANX, "cc", "-o", str(program), str(source)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertEqual(built.returncode, 0, built.stderr)
        run = ("-n", "3", str(program))
        recorded = self.launch("--record", str(self.file), *run).end()
        self.assertEqual(recorded.status, 0, recorded.text)
        for _ in range(5):
            again = self.launch("--replay", str(self.file), *run).end()
            self.assertEqual(again.out, recorded.out, again.text)


class Ends(ReplayCase):
    """Jobs that end badly: that is what recordings are for."""

    def test_a_crash_that_comes_now_and_then_comes_every_time(self) -> None:
        seen = {}
        for _ in range(60):
            ended = self.record(3, CRASH)
            seen.setdefault(ended.status, self.file.read_bytes())
            if len(seen) == 2:
                break
        self.assertEqual(sorted(seen), [0, 1], "both orders come up")
        for status, recording in seen.items():
            self.file.write_bytes(recording)
            for _ in range(6):
                again = self.replay(3, CRASH)
                self.assertEqual(again.status, status, again.text)
                if status == 0:
                    self.assertEqual(again.out, "fine\n")
                else:
                    self.assert_says(again, "RuntimeError: the wrong one was first")

    def test_the_order_of_a_killed_rank_is_kept(self) -> None:
        recorded = self.record(3, KILLED, args=["die"])
        self.assertEqual(recorded.status, 128 + 9, recorded.text)
        self.assertEqual(recorded.out.count("\n"), 6, recorded.text)
        for _ in range(4):
            again = self.replay(3, KILLED, args=["die"])
            self.assertEqual(again.out, recorded.out, again.text)
            self.assertEqual(again.status, 128 + 9, again.text)
        # Behind it, the program goes on without.
        further = self.replay(3, KILLED)
        self.assertEqual(further.status, 0, further.text)
        self.assertTrue(further.out.startswith(recorded.out), further.text)
        self.assertEqual(further.out.count("\n"), 8, further.text)
        self.assert_says(further, "rank 0: --replay: the recording ends here")

    def test_ranks_that_are_killed_at_any_moment_leave_a_whole_file(self) -> None:
        order, steps = Path(self.folder, "order"), 0
        for _ in range(5):
            order.unlink(missing_ok=True)
            recorded = self.record(4, SUDDEN, args=[str(order), "0"])
            self.assertNotEqual(recorded.status, 0, recorded.text)
            then = order.read_bytes().split() if order.exists() else []
            if not then:
                continue
            again = self.replay(4, SUDDEN, args=[str(order), str(len(then))])
            self.assertNotIn("damaged", again.err, again.text)
            self.assertNotIn("something else", again.err, again.text)
            self.assertEqual(order.read_bytes().split(), then, again.text)
            steps += len(then)
        self.assertGreater(steps, 0, "no rank lived long enough")

    def test_a_program_that_does_something_else_is_told_what(self) -> None:
        recorded = self.record(2, OTHER, args=["as it was"])
        self.assertEqual(recorded.status, 0, recorded.text)
        for how, texts in {
            "tag": [
                "recorded was Recv from any rank, on a communicator of 2 processes",
                "now comes Recv from any rank, tag 3",
            ],
            "looks": ["recorded was Recv from any rank", "now comes Iprobe"],
            "more": ["recorded was nothing more; now comes Recv from any rank"],
            "fewer": ["recorded was Recv from any rank", "now comes MPI_Finalize"],
            "elsewhere": ["which is another one than then"],
        }.items():
            with self.subTest(how):
                ended = self.replay(2, OTHER, args=[how])
                self.assertNotEqual(ended.status, 0, ended.text)
                self.assert_says(ended, "rank 0 does something else than when")
                for text in texts:
                    self.assertIn(text, " ".join(ended.err.split()), ended.text)
                self.assertRegex(ended.err, r"script\.py:\d+")
        again = self.replay(2, OTHER, args=["as it was"])
        self.assertEqual((again.status, again.err), (0, ""), again.text)

    def test_a_message_that_does_not_come_any_more_is_told(self) -> None:
        self.assertEqual(self.record(2, OTHER, args=["as it was"]).status, 0)
        flags = ("--on-deadlock", "abort")
        ended = self.replay(2, OTHER, *flags, args=["missing"])
        self.assertNotEqual(ended.status, 0, ended.text)
        text = "--replay: recorded was a message of rank 1 with tag 3, which does not"
        self.assert_says(ended, text)
        # The same where rank 1 does not end.
        staying = OTHER + "comm.Barrier()\n"
        self.assertEqual(self.record(2, staying, args=["as it was"]).status, 0)
        ended = self.replay(2, staying, *flags, args=["missing"])
        self.assertNotEqual(ended.status, 0, ended.text)
        self.assert_says(ended, "deadlock: ", "tag 3", "the job is a replay")


class Files(ReplayCase):
    """What is said of files, before a job starts."""

    def refused(self, *flags: str) -> str:
        ended = self.run_script(2, "print('started')", *flags)
        self.assertEqual(ended.out, "", ended.text)
        self.assertNotEqual(ended.status, 0, ended.text)
        self.assertEqual(ended.err.count("\n"), 1, ended.text)
        return ended.err

    def test_files_that_cannot_be_written_are_told_before(self) -> None:
        there = Path(self.folder, "results.txt")
        there.write_text("a year of work")
        pipe = Path(self.folder, "pipe")
        os.mkfifo(pipe)
        for file, text in {
            "/nowhere/a": "No such file",
            self.folder: "directory",
            str(there): "is no recording; name another file",
            str(pipe): "no file",
        }.items():
            with self.subTest(file):
                self.assertIn(text, self.refused("--record", file))
        self.assertEqual(there.read_text(), "a year of work")

    def test_files_that_are_no_recording_of_this_job(self) -> None:
        file = str(self.file)
        self.assertIn("there is no such file", self.refused("--replay", file))
        self.file.write_text("#!/bin/sh\nexit 0\n")
        self.assertIn("it is no recording", self.refused("--replay", file))
        self.assertIn("is no file", self.refused("--replay", self.folder))
        self.file.unlink()
        self.assertEqual(self.record(3, CRASH.replace("raise", "pass  #")).status, 0)
        whole = self.file.read_bytes()
        self.assertIn(
            "recorded with 3 ranks, and this job has 2", self.refused("--replay", file)
        )
        self.file.write_bytes(whole[:1000])
        self.assertIn("1000 bytes", self.refused("--replay", file))
        self.file.write_bytes(whole[:60] + b"\0" + whole[61:])
        self.assertIn("damaged", self.refused("--replay", file))
        # Of another version: the first text behind the 16 bytes of numbers.
        header = bytearray(whole[:4092])
        length = int.from_bytes(header[16:18], "little")
        header[18 : 18 + length] = b"9" * length
        header += checksum(header).to_bytes(4, "little")
        self.file.write_bytes(bytes(header) + whole[4096:])
        self.assertIn("recorded by Phalanx 99", self.refused("--replay", file))
        self.assertIn(
            "not both", self.refused("--replay", file, "--record", f"{file}2")
        )
        self.assertIn("--keep-going", self.refused("--record", file, "--keep-going"))

    def test_damage_is_told_by_the_ranks(self) -> None:
        script = CRASH.replace("raise", "pass  #")
        self.assertEqual(self.record(3, script).status, 0)
        whole = self.file.read_bytes()
        places = range(4096 + 4, len(whole), 4096)
        self.assertEqual(len(places), 3)
        for at in places:
            with self.subTest(at):
                self.file.write_bytes(whole[:at] + b"\xff" + whole[at + 1 :])
                ended = self.replay(3, script)
                self.assertNotEqual(ended.status, 0, ended.text)
                self.assert_says(ended, f"it is damaged at byte {at - 4}")
        # What is behind the last whole block was never written.
        self.file.write_bytes(whole + b"torn")
        self.assertEqual(self.replay(3, script).status, 0)

    def test_a_recording_is_written_over_by_the_next(self) -> None:
        for ranks in (3, 2):
            self.assertEqual(self.record(ranks, "comm.Barrier()").status, 0)
        self.assertEqual(self.replay(2, "comm.Barrier()").status, 0)

    def test_a_job_in_a_rank_is_not_of_the_recording(self) -> None:
        script = """
import subprocess
inner = [sys.argv[1], "run", "-n", "1", sys.executable, "-c",
         "import os; print([os.environ['PHALANX_RE' + n] for n in ('CORD', 'PLAY')])"]
if rank == 0:
    print(os.environ["PHALANX_RECORD"], flush=True)
    subprocess.run(inner, check=True)
"""
        ended = self.record(1, script, args=[PHALANX])
        self.assertEqual(ended.out, f"{self.file}\n['', '']\n", ended.text)

    def test_a_full_disk_ends_the_recording_and_not_the_job(self) -> None:
        script = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
if rank == 0:
    for _ in range(1000):
        comm.recv(source=MPI.ANY_SOURCE)
    print("to the end", flush=True)
else:
    for _ in range(1000):
        comm.send(None, dest=0)
"""
        ended = self.record(2, script)
        self.assertEqual((ended.status, ended.out), (0, "to the end\n"), ended.text)
        self.assert_says(ended, "rank 0: --record: nothing more of it is recorded in")
        self.assertEqual(ended.err.count("rank 0: --record"), 1, ended.text)
        again = self.replay(2, script)
        self.assertEqual((again.status, again.out), (0, "to the end\n"), again.text)
        self.assert_says(again, "the recording ends here")


if __name__ == "__main__":
    unittest.main()
