"""Ranks stopped, interrupted or signalled while large data moves: it stays right."""

import os
import random
import signal
import threading
import time
import unittest

from moving import COLLECTIVES, PAIRS, SEED, WAYS, MovesCase, times

ALL = """
print(f"pid {{me}} {{os.getpid()}} begins", flush=True)
for turn in range({turns}):
    for operation in PAIRS + COLLECTIVES:
        operation(turn)
print("right", flush=True)
"""

STORM = """
seen = 0
def count(*_):
    global seen
    seen += 1
signal.signal(signal.SIGALRM, count)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
"""

STORM_IS_OVER = """
signal.setitimer(signal.ITIMER_REAL, 0)
assert seen > 10, seen
"""

# Around what is left in the middle: an alarm raises inside, and all goes on after it.
LEAVE = """
class Enough(Exception):
    pass

inside = False
def leave(*_):
    if inside:
        raise Enough

signal.signal(signal.SIGALRM, leave)
"""

GOES_ON = """
signal.setitimer(signal.ITIMER_REAL, 0)
for operation in COLLECTIVES + PAIRS:
    operation(1)
print("went on", flush=True)
"""

# A collective is left in the middle: everybody learns of it, and other communicators
# work.
LEFT = """
other = comm.Dup()
comm.Barrier()
if me == {victim}:
    signal.setitimer(signal.ITIMER_REAL, {seconds}, 0.002)
turn = 0
try:
    while True:
        inside = True
        {operation}(turn)
        inside = False
        turn += 1
except Enough:
    inside = False
    print("left", flush=True)
    try:
        comm.Barrier()
    except MPI.Exception as error:
        print(f"it was told: {{error}}", flush=True)
except MPI.Exception as error:
    print(f"rank {{me}} was told: {{error}}", flush=True)
comm = other
"""

# A stream of messages whose sender or receiver leaves in the middle of one: whatever
# arrives is one message from its beginning to its end.
STREAM = """
STOP, DATA = 1, 2

def receive_one():
    room, status = bytearray(SIZE), MPI.Status()
    comm.Recv(room, last, DATA, status)
    if status.Get_count(MPI.BYTE) == 1:
        return False
    demand(room, data(room[0]), "a message")
    return True

comm.Barrier()
if me == {victim}:
    signal.setitimer(signal.ITIMER_REAL, {seconds}, 0.002)
turn = 0
if me == last:
    try:
        while not comm.Iprobe(0, STOP):
            buffer = data(turn)
            inside = True
            comm.Send(buffer, 0, DATA)
            inside = False
            turn += 1
        comm.Recv(bytearray(1), 0, STOP)
    except Enough:
        inside = False
        # The memory of the message that was given up is used for something else.
        buffer[:] = bytes(SIZE)
        print("left", flush=True)
    comm.Send(b"E", 0, DATA)
else:
    try:
        goes_on = True
        while goes_on:
            inside = True
            goes_on = receive_one()
            inside = False
    except Enough:
        inside = False
        print("left", flush=True)
        comm.Send(b"S", last, STOP)
        while receive_one():
            pass
"""

# The sender gives up while the receiver, which copies alone, stands still for longer
# than the sender waits: what has begun to arrive arrives whole, and what has not is
# followed by the next message.
LATE = """
class Enough(Exception):
    pass

def leave(*_):
    raise Enough

huge = 96 << 20
pid = comm.sendrecv(os.getpid(), 1 - me, source=1 - me)
if me == 0:
    buffer = bytearray(b"x") * huge
    signal.signal(signal.SIGUSR1, leave)
    def interfere():
        time.sleep({seconds})
        os.kill(pid, signal.SIGSTOP)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
    comm.Barrier()
    try:
        threading.Thread(target=interfere).start()
        comm.Send(buffer, 1)
        time.sleep(2)
    except Enough:
        buffer[:] = bytes(huge)
    os.kill(pid, signal.SIGCONT)
    comm.Send(b"E", 1)
else:
    room, status = bytearray(huge), MPI.Status()
    comm.Barrier()
    comm.Recv(room, 0, status=status)
    if status.Get_count(MPI.BYTE) > 1:
        right = room.count(b"x")
        assert right == huge, f"{{right}} bytes of {{huge}} are right"
        comm.Recv(bytearray(1), 0)
print("right", flush=True)
"""


class TestStopped(MovesCase):
    def test_and_continued_changes_no_data(self):
        def check(ways, ranks, seconds):
            draw = random.Random(f"{SEED} {ways} {ranks}")
            job = self.moving(ranks, ALL.format(turns=2), ways)
            job.wait_for("begins", times=ranks)
            lines = [line.split() for line in job.read(job.out).splitlines()]
            pids = [int(words[2]) for words in lines if words[0] == "pid"]
            while job.process.poll() is None:
                pid = draw.choice(pids)
                for signum, pause in ((signal.SIGSTOP, seconds), (signal.SIGCONT, 0)):
                    try:
                        os.kill(pid, signum)
                    except ProcessLookupError:
                        pass
                    time.sleep(pause)
                seconds = draw.uniform(0, 0.03)
                time.sleep(draw.uniform(0, 0.03))
            ended = job.end()
            self.assertEqual(ended.status, 0, ended.text)
            self.assertEqual(ended.out.count("right"), ranks, ended.text)

        # One stop is longer than any wait's patience with a process that has ended.
        first = (1.5, 0.01)
        cases = [(ways, 2 + at % 2, first[at > 0]) for at, ways in enumerate(WAYS)]
        self.at_once(3, check, cases)

    def test_receiver_of_a_message_whose_sender_leaves_gets_it_whole(self):
        def check(seconds):
            script = LATE.format(seconds=seconds)
            ended = self.moving(2, script, ("alone=32K", True)).end()
            self.assertEqual(ended.status, 0, ended.text)
            self.assertEqual(ended.out.count("right"), 2, ended.text)

        draw = random.Random(SEED)
        self.at_once(2, check, [(draw.uniform(0.002, 0.02),) for _ in range(times(3))])


class TestInterrupted(MovesCase):
    def cases(self, operations: tuple[str, ...], number: int) -> list:
        draw = random.Random(SEED)
        cases = []
        for _ in range(number):
            for ways in draw.sample(WAYS, len(WAYS)):
                ranks = draw.choice((2, 3)) if operations else 2
                operation = draw.choice(operations or ("",))
                victim = draw.choice((0, ranks - 1))
                seconds = draw.uniform(0.001, 0.03)
                cases.append((operation, ways, ranks, victim, seconds))
        return cases

    def test_collective_is_told_to_the_others(self):
        def check(operation, ways, ranks, victim, seconds):
            script = LEAVE + LEFT.format(**locals()) + GOES_ON
            ended = self.moving(ranks, script, ways).end()
            self.assertEqual(ended.status, 0, ended.text)
            self.assertEqual(ended.out.count("went on"), ranks, ended.text)
            self.assertEqual(ended.out.count("was told"), ranks, ended.text)
            told = [line for line in ended.out.splitlines() if "rank" in line]
            for line in told:
                # It may have been between two operations: then the next one is another.
                self.assertRegex(line, "interrupted|disagree|left", ended.text)

        # One that goes by messages does not find out that another was called.
        apart = tuple(name for name in COLLECTIVES if name != "alltoallv")
        self.at_once(3, check, self.cases(apart, times(2)))

    def test_message_comes_whole_or_not_at_all(self):
        def check(operation, ways, ranks, victim, seconds):
            script = LEAVE + STREAM.format(**locals()) + GOES_ON
            ended = self.moving(ranks, script, ways).end()
            self.assertEqual(ended.status, 0, ended.text)
            self.assertEqual(ended.out.count("left"), 1, ended.text)
            self.assertEqual(ended.out.count("went on"), ranks, ended.text)

        self.at_once(3, check, self.cases((), times(2)))

    def test_control_c_ends_the_job_and_says_where(self):
        def check(operation, ways, ranks, victim, seconds):
            script = f"""
print("ready", flush=True)
turn = 0
while True:
    {operation}(turn)
    turn += 1
"""
            job = self.moving(ranks, script, ways)
            job.wait_for("ready", times=ranks)
            threading.Event().wait(seconds)
            os.kill(job.process.pid, signal.SIGINT)
            ended = job.end()
            self.assertEqual(ended.status, 130, ended.text)
            self.assert_says(ended, "KeyboardInterrupt")

        self.at_once(3, check, self.cases(PAIRS[:3] + COLLECTIVES, times(1)))


class TestStorm(MovesCase):
    def test_of_signals_changes_no_data(self):
        def check(ways, ranks):
            script = STORM + ALL.format(turns=3) + STORM_IS_OVER
            ended = self.moving(ranks, script, ways).end()
            self.assertEqual(ended.status, 0, ended.text)
            self.assertEqual(ended.out.count("right"), ranks, ended.text)

        self.at_once(2, check, [(ways, 2 + at % 2) for at, ways in enumerate(WAYS)])


if __name__ == "__main__":
    unittest.main()
