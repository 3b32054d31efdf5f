"""`phalanx run --trace FILE`: what is in the timeline, also of jobs that end badly."""

import os
import shutil
import subprocess
import sys
import unittest
from collections import Counter
from pathlib import Path

from jobs import PHALANX, Ended, JobCase
from timeline import Timeline

RING = """\
from mpi4py import MPI
import numpy

comm = MPI.COMM_WORLD
after, before = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
data = numpy.full(1024, comm.rank, dtype="i8")
room = numpy.empty_like(data)

def turn():
    request = comm.Irecv(room, source=before, tag=7)
    comm.Send(data, dest=after, tag=7)
    request.Wait()
    assert (room == before).all()

for _ in range(5):
    turn()
comm.Barrier()
assert comm.allreduce(1) == comm.size
"""
TAKES = """\
from mpi4py import MPI
import numpy

comm = MPI.COMM_WORLD
if comm.rank > 0:
    for _ in range(4):
        comm.send(bytes(8192), 0, tag=comm.rank)
    comm.Barrier()
    if comm.rank == 1:
        comm.send(bytes(20_000), 0, tag=3)
        comm.Send(numpy.zeros(4), 0, tag=4)
else:
    for _ in range(8):
        assert comm.recv() == bytes(8192)
    comm.Barrier()
    assert comm.recv(source=1) == bytes(20_000)
    comm.Recv(numpy.empty(100), 1)
"""
KINDS = """\
from mpi4py import MPI
import numpy

comm = MPI.COMM_WORLD
other = 1 - comm.rank
pair = comm.Dup()
pair.Set_name("the pair")
small, large = numpy.zeros(4), numpy.zeros(1 << 18)
if comm.rank == 0:
    pair.Send(small, 1, tag=1)
    pair.Send(large, 1, tag=2)
    pair.Ssend(small, 1, tag=3)
    MPI.Request.Waitall([pair.Isend(small, 1, tag=4), pair.Isend(large, 1, tag=5)])
    pair.send({"key": list(range(10))}, 1, tag=6)
    pair.send(numpy.zeros(1 << 16), 1, tag=7)
else:
    pair.Recv(small, MPI.ANY_SOURCE, tag=MPI.ANY_TAG)
    pair.Recv(large, 0, tag=2)
    pair.Recv(small, MPI.ANY_SOURCE, tag=3)
    requests = [pair.Irecv(large, 0, tag=5), pair.Irecv(small, 0, tag=4)]
    MPI.Request.Waitall(requests)
    pair.recv(source=0, tag=6)
    pair.recv(source=0, tag=7)
pair.Sendrecv(small, other, 8, numpy.empty(4), other, 8)
comm.Send(small, comm.rank, 9) if False else None
own = MPI.COMM_SELF.Irecv(numpy.empty(4), 0, 9)
MPI.COMM_SELF.Send(small, 0, 9)
own.Wait()
window = MPI.Win.Allocate(64, comm=comm)
window.Set_name("the window")
window.Lock(other)
window.Put(small, other)
window.Unlock(other)
window.Free()
file = MPI.File.Open(comm, "written", MPI.MODE_CREATE | MPI.MODE_WRONLY)
file.Write_at_all(comm.rank * 32, small)
file.Close()
comm.Bcast(large, root=1)
"""
WAITS = """\
from mpi4py import MPI
import time

comm = MPI.COMM_WORLD
if comm.rank == 0:
    time.sleep(0.4)
    comm.send("late", 1)
else:
    comm.recv(source=0)
comm.Barrier()
"""
KILLED = """\
from mpi4py import MPI
import os, signal, time

comm = MPI.COMM_WORLD
for _ in range(20):
    comm.Barrier()
if comm.rank == 1:
    os.kill(os.getpid(), signal.SIGKILL)
comm.Recv(bytearray(8), source=1)
"""
DEADLOCK = """\
from mpi4py import MPI

comm = MPI.COMM_WORLD
comm.Recv(bytearray(8), source=1 - comm.rank, tag=3)
"""
FLOOD = """\
from mpi4py import MPI
import os, signal, time

comm = MPI.COMM_WORLD
if comm.rank == 0:
    comm.Send(bytearray(8192), 1, tag=2)
    while True:
        comm.Send(bytearray(8192), 1, tag=3)
else:
    comm.Recv(bytearray(8192), 0, tag=2)
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)
"""
CALLED_BACK = """\
from mpi4py import MPI

def told(comm, code):
    MPI.COMM_SELF.Barrier()

comm = MPI.COMM_WORLD
comm.Set_errhandler(MPI.Comm.Create_errhandler(told))
try:
    comm.Send(bytearray(8), 0, tag=-7)
except MPI.Exception:
    pass
"""
THREADS = """\
from mpi4py import MPI
import threading

comm = MPI.COMM_WORLD

def talk(tag):
    for _ in range(50):
        if comm.rank == 0:
            comm.Send(bytearray(100 + tag), 1, tag)
        else:
            comm.Recv(bytearray(100 + tag), 0, tag)

threads = [threading.Thread(target=talk, args=(tag,)) for tag in (1, 2, 3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
SPAWN = """\
from mpi4py import MPI
import sys

if len(sys.argv) > 1:
    parent = MPI.Comm.Get_parent()
    parent.Send(bytearray(16), 0, tag=4)
    parent.Disconnect()
else:
    world = MPI.COMM_WORLD.Spawn(sys.executable, [__file__, "child"], maxprocs=2)
    if MPI.COMM_WORLD.rank == 0:
        for child in range(2):
            world.Recv(bytearray(16), child, tag=4)
    world.Disconnect()
"""
FORKS = """\
from mpi4py import MPI
import os, subprocess, sys
import phalanx.multiprocessing as mp

def square(number):
    return number * number

comm = MPI.COMM_WORLD
comm.Barrier()
code = "from mpi4py import MPI; MPI.COMM_WORLD.Barrier(); MPI.COMM_WORLD.Barrier()"
subprocess.run([sys.executable, "-c", code], check=True)
pid = os.fork()
if pid == 0:
    try:
        comm.Send(bytearray(8), comm.rank)
    except MPI.Exception:
        os._exit(0)
    os._exit(1)
assert os.waitpid(pid, 0)[1] == 0
with mp.get_context("fork").Pool(2) as pool:
    assert pool.map(square, range(8)) == [n * n for n in range(8)]
comm.Barrier()
"""
SCRIBBLES = """\
from mpi4py import MPI
import mmap, os

comm = MPI.COMM_WORLD
for _ in range(50):
    comm.Barrier()
if comm.rank == 1:
    for number in map(int, os.listdir("/proc/self/fd")):
        try:
            name = os.readlink(f"/proc/self/fd/{number}")
            size = os.fstat(number).st_size
            if "memfd" in name and size <= 1 << 26:
                with mmap.mmap(number, size) as memory:
                    for at in range(32, 20000, 7):
                        memory[at] = at % 251
        except OSError:
            pass
"""
TAKEN_BACK = """\
from mpi4py import MPI
import numpy

comm = MPI.COMM_WORLD
data = numpy.zeros(1 << 18)
if comm.rank == 0:
    lost = comm.Issend(data, 1, tag=5)
    kept = comm.Issend(data, 1, tag=5)
    lost.Cancel()
    status = MPI.Status()
    lost.Wait(status)
    assert status.Is_cancelled()
    comm.Barrier()
    kept.Wait()
else:
    comm.Barrier()
    comm.Recv(data, 0, tag=5)
"""
PROBED = """\
from mpi4py import MPI
import numpy

comm = MPI.COMM_WORLD
for size in (4, 1 << 18):
    data = numpy.zeros(size)
    if comm.rank == 0:
        comm.Send(data, 1, tag=1)
        comm.Send(data, 1, tag=2)
        comm.Send(data, 1, tag=3)
    else:
        comm.Mprobe(0, tag=1).Recv(data)
        comm.Mprobe(0, tag=2).Irecv(data).Wait()
        comm.Mprobe(MPI.ANY_SOURCE, tag=3).Recv(data)
"""
TOOL = """\
#include <mpi.h>
#include <stdio.h>

static int sent, inside;

int MPI_Send(const void *buf, int count, MPI_Datatype type, int dest, int tag,
             MPI_Comm comm)
{
    sent++;
    if (inside++)
        printf("called within itself\\n");
    int code = PMPI_Send(buf, count, type, dest, tag, comm);
    inside--;
    return code;
}

int main(int argc, char **argv)
{
    int rank, value = 1;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    for (int i = 0; i < 3; i++)
        if (rank == 0)
            MPI_Send(&value, 1, MPI_INT, 1, 5, MPI_COMM_WORLD);
        else
            MPI_Recv(&value, 1, MPI_INT, 0, 5, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    if (rank == 0)
        printf("%d\\n", sent);
    MPI_Finalize();
    return 0;
}
"""
C_PROGRAM = """\
#include <mpi.h>

static void exchange(int rank)
{
    int value = rank;
    if (rank == 0)
        MPI_Send(&value, 1, MPI_INT, 1, 5, MPI_COMM_WORLD);
    else
        MPI_Recv(&value, 1, MPI_INT, 0, 5, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

int main(int argc, char **argv)
{
    int rank;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    for (int i = 0; i < 3; i++)
        exchange(rank);
    MPI_Finalize();
    return 0;
}
"""


class TestTrace(JobCase):
    def trace(
        self, ranks: int, script: str, *flags: str, status: int = 0, **environment: str
    ) -> tuple[Timeline, Ended]:
        Path(self.folder, "script.py").write_text(script)
        file = Path(self.folder, "a trace")
        launch = ["-n", str(ranks), "--trace", str(file), *flags]
        job = self.launch(*launch, sys.executable, "script.py", **environment)
        ended = job.end()
        self.assertEqual(ended.status, status, ended.text)
        return Timeline(file), ended

    def test_calls_messages_and_lines_of_any_number_of_ranks(self):
        line = RING.splitlines().index("    comm.Send(data, dest=after, tag=7)") + 1
        for ranks in (1, 2, 3, 8):
            with self.subTest(ranks=ranks):
                timeline, ended = self.trace(ranks, RING)
                self.assertEqual((ended.out, ended.err), ("", ""))
                names = [f"rank {rank}" for rank in range(ranks)]
                self.assertEqual(timeline.ranks(), names)
                for rank in range(ranks):
                    sends = timeline.calls("MPI_Send", rank)
                    self.assertEqual(len(sends), 5)
                    expected = {
                        "communicator": "MPI_COMM_WORLD",
                        "peer": f"rank {(rank + 1) % ranks}",
                        "tag": 7,
                        "bytes": 8192,
                        "line": f"{os.path.realpath(self.folder)}/script.py:{line}",
                        "function": "turn",
                    }
                    for send in sends:
                        send.arguments.pop("waited_ns", None)
                        self.assertEqual(send.arguments, expected)
                        self.assertEqual(send.category, "point-to-point")
                    self.assertEqual(len(timeline.calls("MPI_Barrier", rank)), 1)
                    self.assertEqual(len(timeline.calls("MPI_Finalize", rank)), 1)
                arrows = Counter(
                    (start.rank, end.rank, start.name, end.name)
                    for start, end in timeline.arrows()
                )
                for rank, name in enumerate(names):
                    to = names[(rank + 1) % ranks]
                    self.assertEqual(
                        arrows[name, to, "MPI_Send", "MPI_Wait"], 5, arrows
                    )

    def test_every_kind_of_call_says_what_it_is_about(self):
        timeline, ended = self.trace(2, KINDS)
        self.assertEqual(ended.err, "")
        sent = Counter(
            start.arguments["tag"]
            for start, end in timeline.arrows()
            if start.rank == "rank 0" and end.rank == "rank 1"
        )
        self.assertEqual(
            {tag: sent[tag] for tag in range(1, 9)}, dict.fromkeys(range(1, 9), 1)
        )
        own = [end.name for start, end in timeline.arrows() if start.rank == end.rank]
        self.assertEqual(own, ["MPI_Wait", "MPI_Wait"])
        for name, argument, value in (
            ("MPI_Ssend", "communicator", "the pair"),
            ("MPI_Isend", "bytes", 32),
            ("MPI_Put", "window", "the window"),
            ("MPI_Put", "bytes", 32),
            ("MPI_File_write_at_all", "file", "written"),
            ("MPI_File_write_at_all", "bytes", 32),
            ("MPI_Bcast", "root", "rank 1"),
            ("MPI_Bcast", "bytes", 1 << 21),
        ):
            with self.subTest(name=name, argument=argument):
                calls = timeline.calls(name, 0)
                self.assertTrue(calls)
                self.assertEqual(calls[0].arguments[argument], value)
        puts = timeline.calls("MPI_Put", 0)
        self.assertEqual(puts[0].arguments["peer"], "rank 1")
        kinds = {one.category for one in timeline.calls()}
        expected = {"point-to-point", "completion", "collective", "one-sided"}
        self.assertEqual(kinds, expected | {"file", "management"})

    def test_a_receive_tells_what_it_took_whatever_it_asked_for(self):
        timeline, ended = self.trace(3, TAKES)
        self.assertEqual(ended.err, "")
        arrows = Counter(
            (start.rank, start.arguments["tag"], end.name)
            for start, end in timeline.arrows()
        )
        # What is longer than the room on the stack is only found by the first call.
        self.assertEqual(
            arrows,
            {
                ("rank 1", 1, "MPI_Recv"): 4,
                ("rank 2", 2, "MPI_Recv"): 4,
                ("rank 1", 3, "MPI_Mrecv"): 1,
                ("rank 1", 4, "MPI_Recv"): 1,
            },
        )
        what = ("peer", "tag", "bytes")
        taken = Counter(
            tuple(call.arguments.get(argument) for argument in what)
            for call in timeline.calls("MPI_Recv", 0)
        )
        object_bytes = taken.most_common(1)[0][0][2]
        self.assertIn(object_bytes, range(8192, 8192 + 16))
        self.assertEqual(taken["rank 1", 1, object_bytes], 4)
        self.assertEqual(taken["rank 2", 2, object_bytes], 4)
        self.assertEqual(taken["rank 1", 4, 32], 1)

    def test_a_send_that_was_taken_back_leaves_the_others_their_arrows(self):
        timeline, _ = self.trace(2, TAKEN_BACK)
        sends = timeline.calls("MPI_Issend", 0)
        starts = [start for start, _ in timeline.arrows()]
        self.assertEqual([start.begin for start in starts], [sends[1].begin])

    def test_messages_that_were_probed_end_where_they_are_received(self):
        timeline, _ = self.trace(2, PROBED)
        ends = Counter(
            (start.arguments["tag"], end.name) for start, end in timeline.arrows()
        )
        expected = {(1, "MPI_Mrecv"): 2, (2, "MPI_Wait"): 2, (3, "MPI_Mrecv"): 2}
        self.assertEqual(ends, expected)

    def test_who_waits_is_seen_to_wait(self):
        timeline, _ = self.trace(2, WAITS)
        waits = [one for one in timeline.slices if one.name == "waiting"]
        late = max(waits, key=lambda one: one.end - one.begin)
        self.assertEqual((late.rank, late.parent.name), ("rank 1", "MPI_Recv"))
        self.assertEqual(late.end, late.parent.end)
        self.assertGreater(late.end - late.begin, 200_000_000)
        self.assertEqual(late.parent.arguments["waited_ns"], late.end - late.begin)

    def test_what_a_killed_rank_did_is_there(self):
        timeline, _ = self.trace(3, KILLED, status=137)
        self.assertEqual(timeline.ranks()[1], "rank 1 (killed by SIGKILL)")
        for rank in range(3):
            self.assertEqual(len(timeline.calls("MPI_Barrier", rank)), 20)

    def test_calls_that_never_came_back_are_open_to_the_end(self):
        flags = ("--on-deadlock", "abort")
        timeline, ended = self.trace(2, DEADLOCK, *flags, status=1)
        self.assert_says(ended, "deadlock")
        for rank in range(2):
            (call,) = timeline.calls("MPI_Recv", rank)
            self.assertIs(call.arguments["never_returned"], True)
            self.assertEqual(call.arguments["peer"], f"rank {1 - rank}")
            self.assertGreater(call.end, call.begin)

    def test_a_small_send_that_has_to_wait_is_there_while_it_does(self):
        timeline, _ = self.trace(2, FLOOD, status=137)
        *sent, last = timeline.calls("MPI_Send", 0)
        self.assertIs(last.arguments.pop("never_returned"), True)
        first = sent.pop(0)
        for call in (first, *sent, last):
            call.arguments.pop("waited_ns", None)
        lines = FLOOD.splitlines()
        number = lines.index("        comm.Send(bytearray(8192), 1, tag=3)") + 1
        expected = {**first.arguments, "tag": 3}
        expected["line"] = f"{os.path.realpath(self.folder)}/script.py:{number}"
        self.assertEqual(expected["bytes"], 8192)
        for call in (*sent, last):
            self.assertEqual(call.arguments, expected)
        self.assertEqual([start.begin for start, _ in timeline.arrows()], [first.begin])

    def test_what_an_error_handler_calls_is_within_the_call_that_failed(self):
        timeline, _ = self.trace(1, CALLED_BACK)
        (send,) = timeline.calls("MPI_Send", 0)
        (barrier,) = timeline.calls("MPI_Barrier", 0)
        self.assertIs(barrier.parent, send)
        self.assertEqual(send.arguments["bytes"], 8)
        self.assertNotIn("never_returned", send.arguments)
        number = CALLED_BACK.splitlines().index(
            "    comm.Send(bytearray(8), 0, tag=-7)"
        )
        self.assertTrue(send.arguments["line"].endswith(f"script.py:{number + 1}"))

    def test_a_job_that_is_aborted_leaves_its_trace(self):
        script = "from mpi4py import MPI\nMPI.COMM_WORLD.Abort(3)\n"
        timeline, _ = self.trace(2, script, status=3)
        aborts = timeline.calls("MPI_Abort")
        self.assertTrue(aborts)
        self.assertTrue(all(one.arguments["never_returned"] for one in aborts))

    def test_threads_have_tracks_of_their_own(self):
        timeline, _ = self.trace(2, THREADS)
        for rank, name in enumerate(("MPI_Send", "MPI_Recv")):
            calls = Counter(one.thread for one in timeline.calls(name, rank))
            self.assertEqual(sorted(calls.values()), [50, 50, 50])
        arrows = timeline.arrows()
        self.assertEqual(len(arrows), 150)
        for start, end in arrows:
            self.assertEqual(start.arguments["tag"], end.arguments["tag"])

    def test_spawned_worlds_are_in_it(self):
        timeline, _ = self.trace(2, SPAWN)
        spawned = [f"rank {rank} of spawned world 1" for rank in range(2)]
        self.assertEqual(timeline.ranks(), ["rank 0", "rank 1", *spawned])
        arrows = {(start.rank, end.rank) for start, end in timeline.arrows()}
        self.assertEqual(arrows, {(name, "rank 0") for name in spawned})

    def test_children_of_ranks_write_nothing(self):
        timeline, ended = self.trace(2, FORKS)
        self.assertEqual(timeline.ranks(), ["rank 0", "rank 1"])
        for rank in range(2):
            self.assertEqual(len(timeline.calls("MPI_Barrier", rank)), 2, ended.text)

    def test_a_rank_that_writes_over_its_log_harms_nobody_else(self):
        timeline, _ = self.trace(2, SCRIBBLES)
        self.assertEqual(len(timeline.calls("MPI_Barrier", 0)), 50)

    def test_what_had_no_room_is_said(self):
        script = RING.replace("range(5)", "range(5000)")
        timeline, ended = self.trace(2, script, "--trace-size", "64K")
        self.assert_says(ended, "the trace lacks", "--trace-size")
        self.assertGreater(len(timeline.calls("MPI_Send", 0)), 100)
        _, ended = self.trace(2, script, PHALANX_TRACE_SIZE="16M")
        self.assertEqual(ended.err, "")

    def test_a_file_that_cannot_be_written_is_said_before_the_job_starts(self):
        for flag in ("--trace", "--report"):
            job = self.launch(
                flag, "/nowhere/trace", sys.executable, "-c", "print('ran')"
            )
            ended = job.end()
            self.assertEqual((ended.status, ended.out), (2, ""))
            self.assert_says(ended, f"{flag} /nowhere/trace: cannot be written")
        job = self.launch("--trace-size", "1", sys.executable, "-c", "print('ran')")
        self.assertEqual((job.end().status), 2)

    def test_a_file_is_replaced_and_may_be_a_device(self):
        file = Path(self.folder, "a trace")
        file.write_bytes(b"something else " * 1000)
        self.trace(1, RING)
        left = {path.name for path in Path(self.folder).iterdir()}
        self.assertEqual(left, {"a trace", "script.py", "out", "err", "tmp"})
        job = self.launch("--trace", "/dev/null", sys.executable, "script.py")
        self.assertEqual(job.end().status, 0)
        self.assertFalse(Path("/dev/null").is_file())

    def test_a_job_inside_a_rank_does_not_write_into_its_log(self):
        inner = f"{PHALANX} run -n 2 {sys.executable} -c " + (
            "'from mpi4py import MPI; MPI.COMM_WORLD.Barrier()'"
        )
        file = Path(self.folder, "a trace")
        job = self.launch("-n", "1", "--trace", str(file), "sh", "-c", inner)
        ended = job.end()
        self.assertEqual(ended.status, 0, ended.text)
        self.assertEqual(Timeline(file).calls(), [])

    def test_it_goes_with_check(self):
        timeline, ended = self.trace(2, RING, "--check")
        self.assertEqual(ended.err, "")
        self.assertEqual(len(timeline.arrows()), 10)

    def trace_of_c(self, text: str) -> tuple[Timeline, Ended]:
        source, program = Path(self.folder, "program.c"), Path(self.folder, "program")
        source.write_text(text)
        build = [PHALANX, "cc", "-g", str(source), "-o", str(program)]
        subprocess.run(build, check=True, timeout=60)
        file = Path(self.folder, "a trace")
        ended = self.launch("-n", "2", "--trace", str(file), str(program)).end()
        self.assertEqual((ended.status, ended.err), (0, ""), ended.text)
        return Timeline(file), ended

    @unittest.skipUnless(shutil.which("cc"), "no C compiler")
    def test_a_tool_sees_each_call_once(self):
        timeline, ended = self.trace_of_c(TOOL)
        self.assertEqual(ended.out, "3\n")
        self.assertEqual(len(timeline.calls("MPI_Send", 0)), 3)
        self.assertEqual(len(timeline.arrows()), 3)

    @unittest.skipUnless(shutil.which("cc"), "no C compiler")
    def test_calls_of_c_have_lines(self):
        timeline, _ = self.trace_of_c(C_PROGRAM)
        line = C_PROGRAM.splitlines().index(
            "        MPI_Send(&value, 1, MPI_INT, 1, 5, MPI_COMM_WORLD);"
        )
        sends = timeline.calls("MPI_Send", 0)
        self.assertEqual(len(sends), 3)
        for send in sends:
            self.assertTrue(
                send.arguments["line"].endswith(f"program.c:{line + 1}"), send
            )
            self.assertEqual(send.arguments["function"], "exchange")
        self.assertEqual(len(timeline.arrows()), 3)

    def test_a_report_is_made_of_the_same(self):
        page = Path(self.folder, "report.html")
        self.trace(2, RING, "--report", str(page))
        self.assertIn("MPI_Send", page.read_text())
