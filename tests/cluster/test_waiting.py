"""Threads, signals, forks and event loops that wait for results at the same time.

A thread that waits collects results itself, its own and those of others; what has
callbacks is told in the client's thread.
"""

import asyncio
import concurrent.futures
import os
import random
import signal
import sys
import threading
import time
import unittest

import phalanx.ipyparallel as ipp
from test_sessions import Home

ROUNDS = int(os.environ.get("PHALANX_TEST_INTERRUPTS", "200"))
SEED = int(os.environ.get("PHALANX_TEST_SEED", "0")) or random.randrange(1, 10**6)


def note(path, number, seconds=0.0):
    """Leaves a byte in a file, so that it shows how often it has run."""
    with open(os.path.join(path, str(number)), "ab") as file:
        file.write(b"x")
    time.sleep(seconds)
    return number


class Waiting(Home):
    def setUp(self) -> None:
        super().setUp()
        cluster = ipp.Cluster(n=2, log_level=40)
        self.client = cluster.start_and_connect_sync()
        self.addCleanup(cluster.stop_cluster_sync)
        self.addCleanup(self.client.close)
        # Functions of this file go to engines that cannot import it.
        here = os.path.dirname(os.path.abspath(__file__))
        self.client[:].apply_sync(sys.path.insert, 0, here)

    def test_interrupts_at_random_moments_lose_nothing(self) -> None:
        dice = random.Random(SEED)
        main = threading.main_thread().ident
        assert main is not None
        balanced, direct = self.client.load_balanced_view(), self.client[:]
        results: list[tuple[int, ipp.AsyncResult]] = []
        caught, begun = 0, threading.Event()
        over = False

        def interrupt() -> None:
            while True:
                begun.wait()
                begun.clear()
                if over:
                    return
                time.sleep(dice.choice((0, 1e-5, 1e-4, 3e-4, 1e-3)) * dice.random())
                signal.pthread_kill(main, signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        try:
            for number in range(ROUNDS):
                with self.subTest(seed=SEED, number=number):
                    view = balanced if number % 3 else direct
                    result = view.apply_async(note, self.home, number, 2e-4)
                    several = balanced.map_async(abs, range(-5, 0))
                    results.append((number, result))
                    waited = False
                    try:
                        try:
                            begun.set()
                            result.get()
                            several.get()
                            waited = True
                            # (An interrupt just before a sleep does not shorten it.)
                            while True:
                                time.sleep(0.01)
                        finally:
                            seen = waited
                    except KeyboardInterrupt:
                        caught += 1
                    # Everything answers, whether or not the wait came to its end.
                    want = number if number % 3 else [number, number]
                    self.assertEqual(result.get(timeout=30), want, seen)
                    self.assertEqual(several.get(timeout=30), [5, 4, 3, 2, 1])
        finally:
            over = True
            begun.set()
            thread.join()
        self.assertEqual(caught, ROUNDS)
        for number, result in results:
            runs = os.path.getsize(os.path.join(self.home, str(number)))
            self.assertEqual(runs, 1 if number % 3 else 2, (SEED, number))
            self.assertTrue(result.done())
        self.assertEqual(self.client.outstanding, set())
        self.assertEqual(direct.apply_sync(os.getpid), direct.apply_sync(os.getpid))

    def test_several_threads_wait_at_once(self) -> None:
        view, direct = self.client.load_balanced_view(), self.client[:]
        wrong: list[object] = []
        done = []

        def work(me: int) -> None:
            try:
                for number in range(40):
                    if me % 2:
                        got = view.apply_sync(divmod, number, 7)
                        want: object = divmod(number, 7)
                    else:
                        got = direct.apply_sync(divmod, number, 7)
                        want = [divmod(number, 7)] * 2
                    if got != want:
                        wrong.append((me, number, got))
                done.append(me)
            except BaseException as problem:
                wrong.append(problem)

        threads = [threading.Thread(target=work, args=(me,)) for me in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        self.assertEqual(sorted(done), list(range(6)))

    def test_callbacks_are_called_though_nobody_waits(self) -> None:
        view = self.client.load_balanced_view()
        told: list[tuple[str, int]] = []
        enough = threading.Event()

        def tell(result: ipp.AsyncResult) -> None:
            told.append((threading.current_thread().name, result.get()))
            if len(told) == 20:
                enough.set()

        for number in range(20):
            # Right after a wait, the client's thread has stepped back.
            view.apply_sync(abs, 1)
            view.apply_async(abs, -number).add_done_callback(tell)
        self.assertTrue(enough.wait(30))
        self.assertEqual(sorted(n for _, n in told), list(range(20)))
        ended = view.apply_async(abs, -3)
        ended.wait()
        ended.add_done_callback(tell)
        self.assertEqual(told[-1], (threading.current_thread().name, 3))

    def test_the_standard_librarys_ways_to_wait(self) -> None:
        view, direct = self.client.load_balanced_view(), self.client[:]
        several = [view.apply_async(abs, -n) for n in range(5)]
        several.append(direct.apply_async(abs, -7))
        ended, left = concurrent.futures.wait(several, 30)
        self.assertEqual((len(ended), len(left)), (6, 0))
        several = [view.apply_async(time.sleep, n / 50) for n in range(3)]
        for one in concurrent.futures.as_completed(several, 30):
            self.assertIsNone(one.result())
        failing = view.apply_async(divmod, 1, 0)
        slow = view.apply_async(time.sleep, 30)
        ended, left = concurrent.futures.wait(
            [*failing._children, *slow._children],
            20,
            concurrent.futures.FIRST_EXCEPTION,
        )
        self.assertEqual((len(ended), len(left)), (1, 1))
        # It may not have begun: then the interrupt is nobody's.
        while not slow.ready():
            self.client.send_signal("SIGINT", block=True)
            slow.wait(0.1)
        with self.assertRaises(ipp.RemoteError):
            slow.get(timeout=30)

    def test_event_loops(self) -> None:
        view, direct = self.client.load_balanced_view(), self.client[:]

        async def main() -> list[object]:
            several = [
                asyncio.wrap_future(view.apply_async(abs, -4)),
                asyncio.wrap_future(direct.apply_async(abs, -5)),
                asyncio.wrap_future(view.map_async(abs, [-1, -2])),
            ]
            with self.assertRaises(ipp.RemoteError):
                await asyncio.wrap_future(view.apply_async(divmod, 1, 0))
            return list(await asyncio.gather(*several))

        self.assertEqual(asyncio.run(main()), [4, [5, 5], [1, 2]])

    def test_a_fork_has_no_part_in_it(self) -> None:
        view = self.client.load_balanced_view()
        result = view.apply_async(time.sleep, 0.05)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                signal.alarm(20)
                try:
                    view.apply_sync(abs, 1)
                except OSError:
                    status = 0
                try:
                    result.get(timeout=5)
                    status = 2
                except OSError:
                    pass
            finally:
                os._exit(status)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)
        self.assertIsNone(result.get(timeout=30))
        self.assertEqual(view.apply_sync(abs, -1), 1)

    def test_metadata_that_somebody_has_is_completed(self) -> None:
        view = self.client[:]
        result = view.apply_async(time.sleep, 0.01)
        kept = result.metadata
        self.assertEqual([one["status"] for one in kept], [None, None])
        result.wait()
        self.assertEqual([one["status"] for one in kept], ["ok", "ok"])
        self.assertTrue(all(one["received"] >= one["submitted"] for one in kept))
        self.assertEqual(result.engine_id, self.client.ids)

    def test_what_was_let_go_is_waited_for(self) -> None:
        view = self.client.load_balanced_view()
        for number in range(4):
            view.apply_async(note, self.home, number, 0.05)
        self.assertTrue(self.client.wait(timeout=30))
        self.assertEqual(self.client.outstanding, set())
        for number in range(4):
            self.assertEqual(os.path.getsize(os.path.join(self.home, str(number))), 1)

    def test_an_idle_client_sleeps(self) -> None:
        self.client[:].apply_sync(abs, 1)
        time.sleep(0.1)
        before = os.times()
        time.sleep(1)
        after = os.times()
        used = after.user + after.system - before.user - before.system
        self.assertLess(used, 0.1)


if __name__ == "__main__":
    unittest.main()
