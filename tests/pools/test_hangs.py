"""Where the original's queues, locks and processes hang or lose something.

Each test is a script that the standard module does not survive, or survives with
a loss. What pools lose is in `test_pool_losses.py`.
"""

import signal
import textwrap
import unittest

from watch import Script, ScriptCase

METHODS = ("fork", "spawn")
START = """
import os, signal, sys, time
import phalanx.multiprocessing as mp
from phalanx.multiprocessing.errors import OwnerDiedError
ctx = mp.get_context(sys.argv[1])
"""


class HangCase(ScriptCase):
    def begin(self, text: str, method: str) -> Script:
        return self.start(START + textwrap.dedent(text), method)

    def run_each(self, text: str, *lines: str, methods: tuple = METHODS) -> None:
        """Run the script under each start method and compare its output."""
        for method in methods:
            with self.subTest(method):
                ended = self.begin(text, method).end()
                self.assertEqual(ended.status, 0, ended.text)
                self.assertEqual(ended.lines, list(lines), ended.text)


class Queues(HangCase):
    def test_a_process_killed_in_get_harms_nobody(self) -> None:
        self.run_each(
            """
            def wait(queue, ready):
                ready.set()
                queue.get()
            def answer(queue, back):
                back.put(queue.get() + 1)
            if __name__ == "__main__":
                queue, back = ctx.Queue(), ctx.Queue()
                for _ in range(3):
                    ready = ctx.Event()
                    victim = ctx.Process(target=wait, args=(queue, ready))
                    victim.start()
                    ready.wait()
                    time.sleep(0.1)
                    victim.kill()
                    victim.join()
                other = ctx.Process(target=answer, args=(queue, back))
                other.start()
                queue.put(41)
                print(back.get())
                other.join()
                queue.put(7)
                print(queue.get(), queue.empty())
            """,
            "42",
            "7 True",
        )

    def test_what_was_put_before_os_exit_arrives(self) -> None:
        self.run_each(
            """
            def put_and_go(queue, count):
                for number in range(count):
                    queue.put((number, b"x" * number))
                os._exit(0)
            if __name__ == "__main__":
                for make in (ctx.Queue, ctx.SimpleQueue, ctx.JoinableQueue):
                    queue = make()
                    child = ctx.Process(target=put_and_go, args=(queue, 2000))
                    child.start()
                    child.join()
                    got = [queue.get() for _ in range(2000)]
                    print(got == [(i, b"x" * i) for i in range(2000)])
            """,
            *["True"] * 3,
        )

    def test_what_was_put_before_kill_9_arrives(self) -> None:
        self.run_each(
            """
            def put_and_die(queue):
                for number in range(1000):
                    queue.put(number)
                os.kill(os.getpid(), signal.SIGKILL)
            if __name__ == "__main__":
                queue = ctx.Queue()
                child = ctx.Process(target=put_and_die, args=(queue,))
                child.start()
                child.join()
                print([queue.get() for _ in range(1000)] == list(range(1000)))
                print(child.exitcode, queue.empty())
            """,
            "True",
            "-9 True",
        )

    def test_an_object_that_does_not_pickle_fails_in_put(self) -> None:
        self.run_each(
            """
            import threading
            if __name__ == "__main__":
                for make in (ctx.Queue, ctx.SimpleQueue, ctx.JoinableQueue):
                    queue = make()
                    queue.put(1)
                    try:
                        queue.put({"lock": threading.Lock()})
                    except Exception as error:
                        print("caller:", "pickle" in str(error))
                    queue.put(2)
                    print(queue.get(), queue.get(), queue.empty())
            """,
            *["caller: True", "1 2 True"] * 3,
            methods=("fork",),
        )

    def test_join_before_the_queue_is_read(self) -> None:
        self.run_each(
            """
            def produce(queue):
                for number in range(300):
                    queue.put(bytes([number % 256]) * 100_000)
            if __name__ == "__main__":
                queue = ctx.Queue()
                child = ctx.Process(target=produce, args=(queue,))
                child.start()
                child.join()
                print(child.exitcode)
                items = [queue.get() for _ in range(300)]
                print(all(item == bytes([i % 256]) * 100_000
                          for i, item in enumerate(items)))
            """,
            "0",
            "True",
        )

    def test_a_process_ends_though_nobody_reads_what_it_put(self) -> None:
        self.run_each(
            """
            if __name__ == "__main__":
                queue = ctx.Queue()
                for _ in range(200):
                    queue.put(b"y" * 100_000)
                print("end")
            """,
            "end",
            methods=("fork",),
        )

    def test_a_kill_in_the_middle_of_puts_leaves_whole_items(self) -> None:
        self.run_each(
            """
            def produce(queue, who, sizes):
                number = 0
                while True:
                    size = sizes[number % len(sizes)]
                    queue.put((who, number, bytes([number % 256]) * size))
                    number += 1
            if __name__ == "__main__":
                sizes, good = [0, 10, 3000, 40_000, 200_000], True
                for turn in range(12):
                    queue = ctx.Queue(maxsize=[0, 5][turn % 2])
                    children = [
                        ctx.Process(target=produce, args=(queue, who, sizes))
                        for who in range(2)
                    ]
                    for child in children:
                        child.start()
                    due = [0, 0]
                    def take():
                        who, number, data = queue.get(timeout=30)
                        size = sizes[number % len(sizes)]
                        whole = data == bytes([number % 256]) * size
                        in_order = number == due[who]
                        due[who] += 1
                        return whole and in_order
                    for _ in range(20 + 7 * turn):
                        good &= take()
                    children[0].kill()
                    children[0].join()
                    seen = due[1]  # the other one goes on
                    while due[1] < seen + 30:
                        good &= take()
                    children[1].kill()
                    children[1].join()
                    while not queue.empty():
                        good &= take()
                print(good)
            """,
            "True",
            methods=("fork",),
        )

    def test_a_kill_in_the_middle_of_gets_loses_at_most_that_item(self) -> None:
        self.run_each(
            """
            def consume(queue, seen):
                while True:
                    seen.put(queue.get())
            if __name__ == "__main__":
                queue, seen, count = ctx.Queue(), ctx.Queue(), 4000
                start = lambda: ctx.Process(target=consume, args=(queue, seen))
                victims = []
                for number in range(count):
                    if number % 500 == 0:
                        if victims:
                            victims[-1].kill()
                        victims.append(start())
                        victims[-1].start()
                    queue.put(number)
                while not queue.empty():
                    time.sleep(0.01)
                time.sleep(0.2)
                victims[-1].kill()
                for victim in victims:
                    victim.join()
                got = []
                while not seen.empty():
                    got.append(seen.get())
                print(len(got) == len(set(got)), len(got) >= count - len(victims))
            """,
            "True True",
            methods=("fork",),
        )

    def test_a_bounded_queue_outlives_its_killed_producers(self) -> None:
        self.run_each(
            """
            def fill(queue, ready):
                for number in range(1000):
                    if number == 3:
                        ready.set()
                    queue.put(number)
            if __name__ == "__main__":
                queue, ready = ctx.Queue(maxsize=3), ctx.Event()
                child = ctx.Process(target=fill, args=(queue, ready))
                child.start()
                ready.wait()
                time.sleep(0.1)  # it waits in put
                child.kill()
                child.join()
                print(queue.full(), [queue.get() for _ in range(3)], queue.empty())
                for number in range(3):
                    queue.put_nowait(number)
                print(queue.full())
            """,
            "True [0, 1, 2] True",
            "True",
        )

    def test_ctrl_c_ends_a_blocked_get(self) -> None:
        for name in ("Queue", "SimpleQueue"):
            text = f"""
                queue = ctx.{name}()
                print("waiting")
                queue.get()
            """
            script = self.begin(text, "fork")
            script.wait_for("waiting")
            script.interrupt()
            ended = script.end()
            self.assertIn("KeyboardInterrupt", ended.err)
            self.assertNotEqual(ended.status, 0)


class Locks(HangCase):
    def test_the_lock_of_a_killed_owner_is_usable_again(self) -> None:
        self.run_each(
            """
            def hold(lock, held):
                lock.acquire()
                held.set()
                time.sleep(60)
            if __name__ == "__main__":
                for make in (ctx.Lock, ctx.RLock):
                    lock, held = make(), ctx.Event()
                    owner = ctx.Process(target=hold, args=(lock, held))
                    owner.start()
                    held.wait()
                    owner.kill()
                    try:
                        lock.acquire()
                    except OwnerDiedError as error:
                        print("told", str(owner.pid) in str(error))
                    owner.join()
                    with lock:
                        print("mine")
                    print(lock.acquire(timeout=1), lock.release())
            """,
            *["told True", "mine", "True None"] * 2,
        )

    def test_of_many_waiters_one_is_told_and_all_go_on(self) -> None:
        self.run_each(
            """
            def hold(lock, held):
                lock.acquire()
                held.set()
                time.sleep(60)
            def wait(lock, ready, results):
                ready.release()
                try:
                    lock.acquire()
                except OwnerDiedError:
                    results.put("told")
                    lock.acquire()
                lock.release()
                results.put("done")
            if __name__ == "__main__":
                lock, held, results = ctx.Lock(), ctx.Event(), ctx.Queue()
                ready = ctx.Semaphore(0)
                owner = ctx.Process(target=hold, args=(lock, held))
                owner.start()
                held.wait()
                others = [
                    ctx.Process(target=wait, args=(lock, ready, results))
                    for _ in range(4)
                ]
                for other in others:
                    other.start()
                for _ in others:
                    ready.acquire()
                time.sleep(0.1)
                owner.kill()
                for other in others:
                    other.join()
                print(sorted(results.get() for _ in range(5)))
            """,
            "['done', 'done', 'done', 'done', 'told']",
        )

    def test_notify_passes_over_a_killed_waiter(self) -> None:
        self.run_each(
            """
            def wait(condition, ready, results):
                with condition:
                    ready.release()
                    condition.wait()
                    results.put("woken")
            if __name__ == "__main__":
                condition, results = ctx.Condition(), ctx.Queue()
                ready = ctx.Semaphore(0)
                waiters = [
                    ctx.Process(target=wait, args=(condition, ready, results))
                    for _ in range(2)
                ]
                for waiter in waiters:
                    waiter.start()
                    ready.acquire()
                    with condition:
                        pass
                waiters[0].kill()
                waiters[0].join()
                with condition:
                    condition.notify()
                print(results.get(timeout=30))
                waiters[1].join()
            """,
            "woken",
        )

    def test_an_event_outlives_a_killed_waiter(self) -> None:
        self.run_each(
            """
            def wait(event, ready):
                ready.set()
                event.wait()
            if __name__ == "__main__":
                event, ready = ctx.Event(), ctx.Event()
                victim = ctx.Process(target=wait, args=(event, ready))
                victim.start()
                ready.wait()
                time.sleep(0.1)
                victim.kill()
                victim.join()
                event.set()  # the original waits here for the killed process
                event.clear()
                print(event.is_set(), event.wait(0.01))
            """,
            "False False",
        )


class Forks(HangCase):
    def test_fork_while_threads_use_the_same_queue_and_lock(self) -> None:
        self.run_each(
            """
            import threading
            def use(queue, lock, back, number):
                with lock:
                    queue.put(number)
                with lock:
                    back.put(number)
            if __name__ == "__main__":
                queue, lock, back = ctx.Queue(), ctx.Lock(), ctx.Queue()
                stop = threading.Event()
                def busy():
                    while not stop.is_set():
                        with lock:
                            queue.put(-1)
                            queue.get()
                def busy_alone():
                    other = ctx.Queue()
                    while not stop.is_set():
                        other.put(b"z" * 5000)
                        other.get()
                threads = [threading.Thread(target=t) for t in (busy, busy_alone)]
                for thread in threads:
                    thread.start()
                children = []
                for number in range(40):
                    child = ctx.Process(target=use, args=(queue, lock, back, number))
                    child.start()
                    children.append(child)
                for child in children:
                    child.join()
                stop.set()
                for thread in threads:
                    thread.join()
                print(sorted(back.get() for _ in range(40)) == list(range(40)))
                left = []
                while not queue.empty():
                    left.append(queue.get())
                print(len(left))
            """,
            "True",
            "40",
            methods=("fork",),
        )


class Ends(HangCase):
    """Whatever ends, and however: no process, memory or file stays."""

    def test_a_killed_parent_takes_its_pool_with_it(self) -> None:
        for method in METHODS:
            with self.subTest(method):
                script = self.begin(
                    """
                    import numpy as np
                    def grow(array):
                        return np.concatenate([array, array])
                    if __name__ == "__main__":
                        array = np.ones(4_000_000)
                        with ctx.Pool(3) as pool:
                            for result in pool.imap(grow, [array] * 1_000_000):
                                assert result.sum() == 8_000_000
                                print("result")
                    """,
                    method,
                )
                script.wait_for("result", times=5)
                self.assertGreaterEqual(len(script.processes()), 4)
                script.kill()
                self.assertEqual(script.end().status, -signal.SIGKILL)
                self.assert_nothing_left()

    def test_a_killed_parent_whose_workers_are_busy(self) -> None:
        script = self.begin(
            """
            def work(number):
                print("working", flush=True)
                deadline = time.monotonic() + 2
                while time.monotonic() < deadline:
                    pass
            if __name__ == "__main__":
                ctx.Pool(2).map(work, range(100), chunksize=1)
            """,
            "fork",
        )
        script.wait_for("working", times=2)
        script.kill()
        script.end()
        self.assert_nothing_left()

    def test_queues_and_locks_give_back_their_descriptors(self) -> None:
        self.run_each(
            """
            import gc
            def touch(*things):
                things[0].put(1)
            def turn():
                queue, lock = ctx.Queue(), ctx.Lock()
                things = (queue, ctx.SimpleQueue(), lock, ctx.Event())
                child = ctx.Process(target=touch, args=things)
                child.start()
                child.join()
                child.close()
                return queue.get()
            def descriptors():
                return len(os.listdir("/proc/self/fd"))
            if __name__ == "__main__":
                turn()
                gc.collect()
                before = descriptors()
                for _ in range(15):
                    turn()
                gc.collect()
                print(descriptors() <= before)
            """,
            "True",
        )

    def test_memory_that_killed_processes_held_comes_back(self) -> None:
        self.run_each(
            """
            import gc
            import numpy as np
            from phalanx import _workers
            def keep(queue, ready):
                kept = [queue.get() for _ in range(4)]
                ready.release()
                time.sleep(60)
            def produce(queue):
                while True:
                    queue.put(np.ones(500_000))
            def turn():
                queue, ready = ctx.Queue(maxsize=6), ctx.Semaphore(0)
                makers = [ctx.Process(target=produce, args=(queue,)) for _ in "ab"]
                takers = [ctx.Process(target=keep, args=(queue, ready)) for _ in "ab"]
                for process in makers + takers:
                    process.start()
                for _ in takers:
                    ready.acquire()
                while not queue.full():
                    time.sleep(0.001)
                for process in makers + takers:
                    process.kill()
                    process.join()
                return int(queue.get().sum())
            if __name__ == "__main__":
                print({turn() for _ in range(3)})
                gc.collect()
                _workers.family_sweep()
                # A process killed between two steps may cost a block: 4 MB each.
                print(_workers.family_used() < 20_000_000)
            """,
            "{500000}",
            "True",
            methods=("fork",),
        )

    def test_a_program_that_ends_by_an_exception_or_os_exit(self) -> None:
        text = """
            def work(number):
                return number
            if __name__ == "__main__":
                queue, lock = ctx.Queue(), ctx.Lock()
                queue.put(b"x" * 1_000_000)
                lock.acquire()
                pool = ctx.Pool(2)
                print(pool.map(work, range(3)))
                {end}
        """
        for end, status in (
            ("raise ValueError('end')", 1),
            ("sys.exit(4)", 4),
            ("os._exit(5)", 5),
            ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ):
            for method in METHODS:
                with self.subTest(end=end, method=method):
                    script = self.begin(text.format(end=end), method)
                    ended = script.end()
                    self.assertEqual(ended.lines, ["[0, 1, 2]"], ended.text)
                    self.assertEqual(ended.status, status, ended.text)
                    self.assert_nothing_left()


if __name__ == "__main__":
    unittest.main()
