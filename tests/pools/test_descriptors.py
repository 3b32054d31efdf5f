"""Living processes are not taken for dead when nothing can be found out about them.

Because no descriptor is left to look with, or none was left when they were born;
because /proc is hidden or out of reach, or they are in another PID namespace.
"""

import os
import textwrap
import unittest

from watch import ScriptCase

START = """
import os, resource, signal, sys, threading, time
import phalanx.multiprocessing as mp
from phalanx import _workers
from phalanx.multiprocessing.errors import OwnerDiedError

mp.set_start_method("fork")

def use_up():
    "Take every descriptor; close those that are returned to give them back."
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
    taken = []
    try:
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        return taken

def give_back(taken):
    for fd in taken:
        os.close(fd)

def hold(lock, held, stop):
    lock.acquire()
    held.set()
    stop.wait(50)
    os._exit(0)

def start_holder():
    lock, held, stop = mp.Lock(), mp.Event(), mp.Event()
    holder = mp.Process(target=hold, args=(lock, held, stop))
    holder.start()
    held.wait()
    return lock, holder, stop

def take(lock):
    try:
        return lock.acquire(timeout=0.3)
    except OwnerDiedError:
        return "owner died"
"""


class DescriptorCase(ScriptCase):
    def check(self, text: str, *lines: str) -> None:
        done = self.run_script(START + textwrap.dedent(text))
        self.assertEqual(done.lines, list(lines), done.text)


class WithoutDescriptors(DescriptorCase):
    def test_the_lock_of_a_living_process_is_not_taken(self) -> None:
        self.check(
            """
            lock, holder, stop = start_holder()
            taken = use_up()
            print(take(lock), lock.acquire(block=False))
            give_back(taken)
            print(take(lock), holder.is_alive())
            stop.set()
            holder.join()
            print(holder.exitcode)
            """,
            "False False",
            "False True",
            "0",
        )

    def test_the_lock_of_a_dead_process_is(self) -> None:
        self.check(
            """
            lock, holder, stop = start_holder()
            taken = use_up()
            os.kill(holder.pid, signal.SIGKILL)
            # A zombie of this process, then nothing at all.
            os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
            print(take(lock), take(lock))
            give_back(taken)
            """,
            "owner died True",
        )

    def test_the_memory_of_a_living_process_is_not_given_to_others(self) -> None:
        self.check(
            """
            import phalanx.shared  # noqa: its types are needed by nothing else
            BYTES = 8 << 20

            def own(pipe):
                block = memoryview(_workers.SharedBuffer(BYTES))
                block[:4] = b"MINE"
                pipe.send(None)
                pipe.recv()
                pipe.send(bytes(block[:4]))

            _workers.family_fd()
            ours, theirs = mp.Pipe()
            owner = mp.Process(target=own, args=(theirs,))
            owner.start()
            ours.recv()
            before = _workers.family_used()
            taken = use_up()
            # Large blocks make room first: what killed processes have held.
            blocks = [_workers.SharedBuffer(BYTES) for _ in range(3)]
            for block in blocks:
                memoryview(block)[:4] = b"OURS"
            print(_workers.family_sweep(), _workers.family_used() - before == 3 * BYTES)
            give_back(taken)
            ours.send(None)
            print(ours.recv())
            owner.join()
            """,
            "0 True",
            "b'MINE'",
        )

    def test_who_is_born_without_descriptors_is_alive_for_the_others(self) -> None:
        self.check(
            """
            lock, held, stop = mp.Lock(), mp.Event(), mp.Event()
            taken = use_up()
            pid = os.fork()
            if pid == 0:
                keep = _workers.SharedBuffer(1 << 20)
                hold(lock, held, stop)
            held.wait()
            print(take(lock))
            give_back(taken)
            print(take(lock), _workers.family_sweep())
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            print(take(lock), take(lock), _workers.family_sweep())
            print(os.waitpid(pid, 0)[1])
            """,
            "False",
            "False 0",
            "owner died True 1",
            "9",
        )

    def test_a_barrier_of_living_processes_does_not_break(self) -> None:
        self.check(
            """
            def arrive(barrier, go, pipe):
                pipe.send(None)
                go.wait()
                barrier.wait()

            barrier, late = mp.Barrier(3), mp.Event()
            now = mp.Event()
            now.set()
            ours, theirs = mp.Pipe()
            others = [
                mp.Process(target=arrive, args=(barrier, go, theirs))
                for go in (now, late)
            ]
            for process in others:
                process.start()
                ours.recv()
            while barrier.n_waiting == 0:
                time.sleep(0.01)
            taken = use_up()
            # This process waits, and looks at the one that has arrived.
            threading.Timer(0.5, late.set).start()
            print(barrier.wait(20) in (0, 1, 2))
            give_back(taken)
            for process in others:
                process.join()
                print(process.exitcode)
            """,
            "True",
            "0",
            "0",
        )

    def test_an_idle_worker_stays(self) -> None:
        self.check(
            """
            kept = []

            def eat(_):
                kept.append(use_up())
                return os.getpid()

            def pid(_):
                return os.getpid()

            with mp.Pool(1) as pool:
                first = pool.apply(eat, (0,))
                time.sleep(2.2)  # idle workers look at their parent every second
                print(pool.apply(pid, (0,)) == first)
            """,
            "True",
        )

    def test_an_idle_worker_ends_with_its_parent(self) -> None:
        script = self.start(
            START
            + textwrap.dedent(
                """
                kept = []

                def eat(_):
                    kept.append(use_up())

                def run():
                    # Not the main thread: the kernel does not tell the workers.
                    pool = mp.Pool(1, initializer=eat, initargs=(0,))
                    pool.apply(os.getpid)
                    print("ready")
                    time.sleep(50)

                # From 3.12 on, nothing forks while the main thread is at its end.
                thread = threading.Thread(target=run)
                thread.start()
                thread.join()
                """
            )
        )
        script.wait_for("ready")
        script.kill()
        self.assertEqual(script.end().status, -9)
        self.assert_nothing_left()


@unittest.skipUnless(os.geteuid() == 0, "only root can do these")
class WildNumbers(DescriptorCase):
    def test_what_is_not_the_family_s_memory_stays_open(self) -> None:
        ended = self.run_script(
            """
            import os, socket, tempfile
            from phalanx import _workers
            mine = _workers.family_fd()
            memory = os.memfd_create("other")
            os.truncate(memory, 1 << 26)
            with tempfile.TemporaryFile() as file, socket.socket() as end:
                numbers = [0, 1, 2, *os.pipe(), file.fileno(), end.fileno(), memory]
                before = sorted(os.listdir("/proc/self/fd"))
                for number in [*numbers, -1, 10_000, 2**31 - 1, -(2**31)]:
                    try:
                        _workers.join_family(number)
                    except OSError:
                        continue
                    print("joined", number)
                print(sorted(os.listdir("/proc/self/fd")) == before)
            """
        )
        self.assertEqual(ended.lines, ["True"], ended.text)

    def test_the_family_s_own_number_is_kept_and_others_are_taken_over(self) -> None:
        ended = self.run_script(
            """
            import os
            import phalanx.multiprocessing as mp
            from phalanx import _workers
            mine = _workers.family_fd()
            other = os.dup(mine)
            for number in (mine, other):
                _workers.join_family(number)
            def is_open(number):
                return os.path.exists(f"/proc/self/fd/{number}")
            def answer(queue):
                queue.put("answer")
            print(is_open(mine), is_open(other), _workers.family_fd() == mine)
            queue = mp.get_context("fork").Queue()
            child = mp.get_context("fork").Process(target=answer, args=(queue,))
            child.start()
            print(queue.get())
            child.join()
            """
        )
        self.assertEqual(ended.lines, ["True False True", "answer"], ended.text)


class OutOfReach(DescriptorCase):
    def test_without_proc(self) -> None:
        self.check(
            """
            lock = mp.Lock()
            lock.acquire()

            def child():
                os.makedirs("jail", exist_ok=True)
                os.chroot("jail")
                os.chdir("/")
                print(take(lock), flush=True)
                # Born there, so that it cannot read its own start time either.
                inner, held, stop = mp.Lock(), mp.Event(), mp.Event()
                pid = os.fork()
                if pid == 0:
                    hold(inner, held, stop)
                held.wait()
                print(take(inner), _workers.family_sweep(), flush=True)
                os.kill(pid, signal.SIGKILL)
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
                print(take(inner), flush=True)
                os.waitpid(pid, 0)

            process = mp.Process(target=child)
            process.start()
            process.join()
            """,
            "False",
            "False 0",
            "owner died",
        )

    def test_as_another_user(self) -> None:
        # Where /proc is mounted with hidepid, others are not to be seen there.
        self.check(
            """
            lock = mp.Lock()
            lock.acquire()

            def child():
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
                print(take(lock), _workers.family_sweep(), flush=True)

            process = mp.Process(target=child)
            process.start()
            process.join()
            """,
            "False 0",
        )

    def test_in_another_pid_namespace(self) -> None:
        self.check(
            """
            import ctypes

            lock = mp.Lock()
            lock.acquire()
            memory = _workers.SharedBuffer(1 << 20)
            other, held, stop = mp.Lock(), mp.Event(), mp.Event()

            def child():
                # Neither may take the other, whose number means nothing here, for dead.
                print(take(lock), _workers.family_sweep(), flush=True)
                hold(other, held, stop)

            assert ctypes.CDLL(None).unshare(0x20000000) == 0  # CLONE_NEWPID
            process = mp.Process(target=child)
            process.start()
            held.wait()
            print(take(other), _workers.family_sweep())
            stop.set()
            process.join()
            """,
            "False 0",
            "False 0",
        )

    def test_where_proc_is_that_of_another_pid_namespace(self) -> None:
        enter = """
import ctypes, os
assert ctypes.CDLL(None).unshare(0x20000000) == 0  # CLONE_NEWPID
pid = os.fork()
if pid:
    os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
        text = """
            # All are at home here, but /proc has others under their numbers.
            assert os.getpid() == 1 != int(os.readlink("/proc/self"))
            lock, holder, stop = start_holder()
            print(take(lock), _workers.family_sweep())
            holder.kill()
            os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
            print(take(lock), take(lock))
            holder.join()
            """
        done = self.run_script(enter + START + textwrap.dedent(text))
        self.assertEqual(done.lines, ["False 0", "owner died True"], done.text)


if __name__ == "__main__":
    unittest.main()
