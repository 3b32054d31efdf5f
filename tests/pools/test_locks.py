"""Locks, conditions, events and barriers, some of whose users are killed."""

import multiprocessing
import multiprocessing.synchronize as std
import os
import pickle
import signal
import threading
import time
import unittest
from typing import Any

import phalanx.multiprocessing as mp
from phalanx import _workers
from phalanx.multiprocessing.errors import OwnerDiedError
from watch import HereCase, wait_until

kept: Any = None  # a lock, in a worker
METHODS = mp.get_all_start_methods()


class Stop(Exception):
    """What the signal handlers of these tests raise."""


def stop(*_: Any) -> None:
    raise Stop


def take_and_stay(lock: Any, ready: Any) -> None:
    lock.acquire()
    ready.set()
    time.sleep(600)


def take_and_end(lock: Any) -> None:
    lock.acquire()


def give_back(lock: Any) -> None:
    lock.release()


def count_up(lock: Any, number: Any, times: int) -> None:
    for _ in range(times):
        with lock:
            number.value += 1


def wait_and_set(condition: Any, done: Any) -> None:
    with condition:
        condition.wait()
    done.set()


def wait_at(barrier: Any, broken: Any) -> None:
    try:
        barrier.wait()
    except threading.BrokenBarrierError:
        broken.release()


def wait_for_event(event: Any, seen: Any) -> None:
    event.wait()
    seen.release()


def keep(lock: Any) -> None:
    global kept
    kept = lock


def take_twice(lock: Any) -> bool:
    with lock:
        taken: bool = kept.acquire(timeout=0)
        return taken


def take_out_of(queue_end: Any) -> None:
    lock, done = queue_end.recv()
    with lock:
        done.set()


def use_everything(
    lock: Any, rlock: Any, condition: Any, event: Any, wrong: Any
) -> None:
    while True:
        try:
            with lock:
                pass
            with rlock, rlock:
                pass
            with condition:
                condition.notify()
                condition.wait(0.0005)
            if not event.wait(0.0002):
                event.set()
                event.clear()
        except OwnerDiedError:
            continue
        except BaseException:
            wrong.release()
            raise


class LockCase(HereCase):
    """Starts processes that are killed at the end at the latest."""

    def setUp(self) -> None:
        super().setUp()
        self.context = mp.get_context("fork")

    def start(self, target: Any, *args: Any) -> Any:
        process = self.context.Process(target=target, args=args)
        process.start()
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process: Any) -> None:
        process.kill()
        process.join()

    def killed(self, target: Any, lock: Any) -> Any:
        """A process that was killed and not yet waited for, once `lock` was its."""
        ready = self.context.Event()
        process = self.start(target, lock, ready)
        self.assertTrue(ready.wait(30))
        os.kill(process.pid, signal.SIGKILL)
        return process


class TestOwners(LockCase):
    def test_a_waiter_is_told_that_the_owner_died_and_the_lock_is_usable(self) -> None:
        for method in METHODS:
            for kind in ("Lock", "RLock"):
                with self.subTest(method=method, kind=kind):
                    self.context = mp.get_context(method)
                    lock = getattr(self.context, kind)()
                    process = self.killed(take_and_stay, lock)
                    with self.assertRaises(OwnerDiedError) as caught:
                        lock.acquire()
                    self.assertIn(f"process {process.pid} died", str(caught.exception))
                    with lock:
                        self.assertFalse(lock._semlock._get_value())
                    self.assertTrue(lock.acquire(timeout=0))
                    lock.release()

    def test_one_of_many_waiters_is_told(self) -> None:
        lock, ready = self.context.Lock(), self.context.Event()
        process = self.start(take_and_stay, lock, ready)
        self.assertTrue(ready.wait(30))
        told = []

        def wait() -> None:
            try:
                lock.acquire()
            except OwnerDiedError:
                told.append(True)
                lock.acquire()
            lock.release()

        threads = [threading.Thread(target=wait) for _ in range(5)]
        for thread in threads:
            thread.start()
        process.kill()
        for thread in threads:
            thread.join()
        self.assertEqual(told, [True])

    def test_asking_without_waiting_and_with_a_timeout_tells_too(self) -> None:
        for arguments in ({"block": False}, {"timeout": 30}):
            lock = self.context.Lock()
            self.killed(take_and_stay, lock).join()
            with self.assertRaises(OwnerDiedError):
                lock.acquire(**arguments)
            self.assertTrue(lock.acquire(block=False))

    def test_a_process_that_ends_with_the_lock_counts_as_dead(self) -> None:
        lock = self.context.Lock()
        self.start(take_and_end, lock).join()
        with self.assertRaises(OwnerDiedError):
            lock.acquire()

    def test_another_process_may_release_a_lock(self) -> None:
        lock = self.context.Lock()
        lock.acquire()
        self.start(give_back, lock).join()
        self.assertTrue(lock.acquire(timeout=0))
        lock.release()
        self.start(take_and_end, lock).join()
        lock.release()
        self.assertTrue(lock.acquire(timeout=0))

    def test_a_child_does_not_own_what_its_parent_has(self) -> None:
        lock = self.context.RLock()
        with lock:
            pid = os.fork()
            if pid == 0:
                mine = lock._semlock._is_mine() or lock.acquire(block=False)
                os._exit(1 if mine else 0)
            self.assertEqual(os.waitpid(pid, 0)[1], 0)
            self.assertTrue(lock._semlock._is_mine())

    def test_a_signal_handler_runs_while_a_lock_is_waited_for(self) -> None:
        lock, seen = self.context.Lock(), []
        lock.acquire()
        before = signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        self.assertFalse(lock.acquire(timeout=0.2))
        self.assertEqual(seen, [1])


class TestSignals(LockCase):
    def setUp(self) -> None:
        super().setUp()
        before = signal.signal(signal.SIGUSR1, stop)
        self.addCleanup(signal.signal, signal.SIGUSR1, before)

    def beside(self, work: Any) -> None:
        """Does `work` in another thread."""
        thread = threading.Thread(target=work)
        thread.start()
        self.addCleanup(thread.join)

    def signal_soon(self) -> None:
        """Lets a signal reach another thread while this one waits.

        It interrupts no sleep of this thread, as one that comes between two sleeps.
        """

        def send() -> None:
            time.sleep(0.3)
            signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

        self.beside(send)

    def test_a_signal_that_interrupts_no_sleep_is_seen_by_every_wait(self) -> None:
        context = self.context
        lock, semaphore = context.Lock(), context.Semaphore(0)
        condition, barrier = context.Condition(), context.Barrier(2)
        lock.acquire()
        for wait in (lock.acquire, semaphore.acquire, context.Event().wait):
            self.signal_soon()
            with self.assertRaises(Stop):
                wait()
        self.signal_soon()
        with condition:
            with self.assertRaises(Stop):
                condition.wait()
            self.assertTrue(condition._lock._semlock._is_mine())
        self.assertEqual(condition._waiters.counts(), (0, 0))
        self.signal_soon()
        with self.assertRaises(Stop):
            barrier.wait()
        self.assertEqual((barrier.n_waiting, barrier.broken), (0, False))

    def test_a_barrier_goes_on_without_one_that_was_called_away(self) -> None:
        barrier, broken = self.context.Barrier(2), self.context.Semaphore(0)
        self.signal_soon()
        with self.assertRaises(Stop):
            barrier.wait()
        other = self.start(wait_at, barrier, broken)
        self.assertIn(barrier.wait(), range(2))
        other.join()
        self.assertEqual(other.exitcode, 0)

    def test_wait_holds_the_lock_again_though_a_handler_raises_meanwhile(self) -> None:
        condition, main = self.context.Condition(), threading.get_ident()

        def hold() -> None:
            wait_until(lambda: condition._waiters.counts()[0] == 1)
            with condition:
                wait_until(lambda: condition._waiters.counts()[0] == 0)
                time.sleep(0.05)
                signal.pthread_kill(main, signal.SIGUSR1)
                time.sleep(0.2)

        self.beside(hold)
        with condition:
            with self.assertRaises(Stop):
                condition.wait(1.0)
            self.assertTrue(condition._lock._semlock._is_mine())

    def test_an_event_that_is_set_and_cleared_by_a_handler_was_set(self) -> None:
        event = self.context.Event()

        def flash(*_: Any) -> None:
            event.set()
            event.clear()

        signal.signal(signal.SIGUSR1, flash)
        self.signal_soon()
        self.assertTrue(event.wait())


class TestUse(LockCase):
    def test_processes_count_without_losing_one(self) -> None:
        for kind in ("Lock", "RLock", "Semaphore", "BoundedSemaphore"):
            with self.subTest(kind=kind):
                lock = getattr(self.context, kind)()
                number = self.context.Value("L", 0, lock=False)
                workers = [self.start(count_up, lock, number, 2000) for _ in range(3)]
                for worker in workers:
                    worker.join()
                self.assertEqual(number.value, 6000)

    def test_they_are_the_standard_librarys_classes(self) -> None:
        context = self.context
        for made, kind in (
            (context.Lock(), std.Lock),
            (context.RLock(), std.RLock),
            (context.Semaphore(), std.Semaphore),
            (context.BoundedSemaphore(), std.BoundedSemaphore),
            (context.Condition(), std.Condition),
            (context.Event(), std.Event),
            (context.Barrier(2), std.Barrier),
        ):
            self.assertIsInstance(made, kind)
            self.assertEqual(
                type(made).__module__, "phalanx.multiprocessing.synchronize"
            )

    def test_errors_are_the_standard_modules(self) -> None:
        lock, rlock = self.context.Lock(), self.context.RLock()
        bounded = self.context.BoundedSemaphore(2)
        for object_ in (lock, bounded):
            with self.assertRaisesRegex(ValueError, "released too many times"):
                object_.release()
        with self.assertRaisesRegex(AssertionError, "not owned by thread"):
            rlock.release()
        for value in (-1, 1 << 31):
            with self.assertRaises(ValueError):
                self.context.Semaphore(value)
        with self.assertRaises(ValueError):
            lock.acquire()
            lock.acquire(timeout=float("nan"))

    def test_block_may_be_anything_that_is_true_or_false(self) -> None:
        for lock in (self.context.Lock(), self.context.RLock()):
            self.assertTrue(lock.acquire(1))
            lock.release()
            self.assertTrue(lock.acquire(block=1, timeout=1))
        taken = self.context.Semaphore(0)
        for nothing in (0, 0.0, "", None):
            self.assertFalse(taken.acquire(nothing))
            self.assertFalse(taken.acquire(block=nothing))

    def test_all_objects_of_a_lock_in_a_process_have_the_same_owner(self) -> None:
        lock, condition = self.context.RLock(), self.context.Condition()
        copy = pickle.loads(pickle.dumps(lock))
        with lock, copy, lock:
            self.assertEqual(copy._semlock._count(), 3)
            pid = os.fork()
            if pid == 0:
                os._exit(copy._semlock._is_mine() or copy.acquire(block=False))
            self.assertEqual(os.waitpid(pid, 0)[1], 0)
        with self.assertRaises(AssertionError):
            copy.release()
        with condition:
            pickle.loads(pickle.dumps(condition)).notify()
        handle = lock._semlock.handle
        lock.acquire()
        del lock
        self.assertTrue(copy._semlock._is_mine())
        self.assertEqual(copy._semlock.handle, handle)
        copy.release()

    def test_a_lock_that_is_global_and_an_argument_of_a_task_is_one(self) -> None:
        lock = self.context.RLock()
        with self.context.Pool(1, keep, (lock,)) as pool:
            self.assertTrue(pool.apply(take_twice, (lock,)))

    def test_a_pickle_opens_the_same_lock(self) -> None:
        lock = self.context.Lock()
        copy = pickle.loads(pickle.dumps(lock))
        with lock:
            self.assertFalse(copy.acquire(block=False))
        # A pickle that is read after the lock was dropped finds it alive.
        text = pickle.dumps(lock)
        handle = lock._semlock.handle
        del lock, copy
        self.assertEqual(pickle.loads(text)._semlock.handle, handle)

    def test_locks_go_through_pipes(self) -> None:
        here, there = self.context.Pipe()
        lock, done = self.context.Lock(), self.context.Event()
        self.start(take_out_of, there)
        here.send((lock, done))
        self.assertTrue(done.wait(30))

    def test_dropped_locks_give_their_memory_back(self) -> None:
        before = _workers.family_used()
        locks = [self.context.Lock() for _ in range(100)]
        conditions = [self.context.Condition() for _ in range(10)]
        barrier, event = self.context.Barrier(100), self.context.Event()
        self.assertGreater(_workers.family_used(), before)
        del locks, conditions, barrier, event
        self.assertEqual(_workers.family_used(), before)

    def test_a_joined_process_holds_nothing_any_more(self) -> None:
        before = _workers.family_used()
        lock, ready = self.context.Lock(), self.context.Event()
        process = self.start(take_and_stay, lock, ready)
        self.assertTrue(ready.wait(30))
        del lock, ready
        self.assertGreater(_workers.family_used(), before)
        process.kill()
        process.join()
        self.assertEqual(_workers.family_used(), before)


class TestConditions(LockCase):
    def waiting(self, condition: Any, number: int) -> bool:
        return wait_until(lambda: condition._waiters.counts()[0] == number)

    def test_a_killed_waiter_swallows_no_notification(self) -> None:
        condition, done = self.context.Condition(), self.context.Event()
        first = self.start(wait_and_set, condition, done)
        self.assertTrue(self.waiting(condition, 1))
        self.start(wait_and_set, condition, done)
        self.assertTrue(self.waiting(condition, 2))
        self.end(first)
        with condition:
            condition.notify()
        self.assertTrue(done.wait(30))
        self.assertEqual(condition._waiters.counts(), (0, 0))

    def test_notifying_only_dead_waiters_returns(self) -> None:
        condition, done = self.context.Condition(), self.context.Event()
        waiters = [self.start(wait_and_set, condition, done) for _ in range(3)]
        self.assertTrue(self.waiting(condition, 3))
        for waiter in waiters:
            self.end(waiter)
        with condition:
            condition.notify()
            condition.notify_all()
        self.assertFalse(done.is_set())

    def test_wait_holds_the_lock_again_though_its_owner_died(self) -> None:
        condition = self.context.Condition()
        caught = []

        def wait() -> None:
            try:
                with condition:
                    condition.wait()
            except OwnerDiedError as error:
                caught.append(error)

        waiter = threading.Thread(target=wait)
        waiter.start()
        self.assertTrue(self.waiting(condition, 1))
        ready = self.context.Event()
        process = self.start(take_and_stay, condition, ready)
        self.assertTrue(ready.wait(30))
        condition._waiters.notify(1)
        process.kill()
        waiter.join()
        self.assertEqual(len(caught), 1)
        self.assertTrue(condition.acquire(timeout=0))
        condition.release()

    def test_wait_for_and_timeouts(self) -> None:
        condition = self.context.Condition(self.context.Lock())
        with condition:
            self.assertFalse(condition.wait(0.01))
            self.assertFalse(condition.wait_for(lambda: False, 0.01))
            self.assertTrue(condition.wait_for(lambda: True))
        with self.assertRaises(AssertionError):
            condition.wait()
        with self.assertRaises(AssertionError):
            condition.notify()

    def test_a_timeout_that_is_none_leaves_no_waiter(self) -> None:
        condition = self.context.Condition()
        for wrong, error in (("5", TypeError), (float("nan"), ValueError)):
            with condition, self.assertRaises(error):
                condition.wait(wrong)
        self.assertEqual(condition._waiters.counts(), (0, 0))

    def test_notifying_none_is_nothing(self) -> None:
        condition = self.context.Condition()
        place = threading.Thread(target=self.wait_in, args=(condition,))
        place.start()
        self.assertTrue(self.waiting(condition, 1))
        with condition:
            condition.notify(0)
            condition.notify(-1)
            self.assertEqual(condition._waiters.counts(), (1, 0))
            condition.notify(1 << 70)
        place.join()

    @staticmethod
    def wait_in(condition: Any) -> None:
        with condition:
            condition.wait()

    def test_a_lock_of_the_standard_library_serves(self) -> None:
        condition = mp.Condition(multiprocessing.get_context("fork").RLock())
        with condition, condition:
            self.assertFalse(condition.wait(0.01))
            self.assertEqual(condition._lock._semlock._count(), 2)


class TestKills(LockCase):
    def test_processes_killed_at_any_instant_make_nobody_hang(self) -> None:
        context = self.context
        wrong = context.Semaphore(0)
        lock, rlock, condition = context.Lock(), context.RLock(), context.Condition()
        shared = (lock, rlock, condition, context.Event(), wrong)
        users = [self.start(use_everything, *shared) for _ in range(3)]
        died = 0
        for round_ in range(150):
            time.sleep(round_ % 10 / 1000)
            self.end(users[round_ % 3])
            users[round_ % 3] = self.start(use_everything, *shared)
            for one in (lock, rlock, condition):
                try:
                    self.assertTrue(one.acquire(timeout=30))
                except OwnerDiedError:
                    died += 1
                    self.assertTrue(one.acquire(timeout=30))
                one.release()
        for user in users:
            self.end(user)
        self.assertEqual(wrong.get_value(), 0)
        print(f"{died} of 150 killed processes had a lock")


class TestEventsAndBarriers(LockCase):
    def test_a_barrier_of_more_parties_than_a_machine_runs(self) -> None:
        before = _workers.family_used()
        for parties in (2**22 + 1, 2**31, 2**32 - 1):
            with self.assertRaisesRegex(ValueError, "never open"):
                self.context.Barrier(parties)
        self.assertEqual(_workers.family_used(), before)
        self.assertEqual(self.context.Barrier(2**16).parties, 2**16)

    def test_an_event_wakes_all_though_a_waiter_was_killed(self) -> None:
        event, seen = self.context.Event(), self.context.Semaphore(0)
        waiters = [self.start(wait_for_event, event, seen) for _ in range(3)]
        self.end(waiters[0])
        event.set()
        for _ in range(2):
            self.assertTrue(seen.acquire(timeout=30))
        self.assertTrue(event.wait(0))
        event.clear()
        self.assertFalse(event.wait(0))

    def test_a_killed_waiter_breaks_the_barrier(self) -> None:
        barrier, broken = self.context.Barrier(3), self.context.Semaphore(0)
        waiters = [self.start(wait_at, barrier, broken) for _ in range(2)]
        self.assertTrue(wait_until(lambda: barrier.n_waiting == 2))
        self.end(waiters[0])
        self.assertTrue(broken.acquire(timeout=30))
        with self.assertRaises(threading.BrokenBarrierError):
            barrier.wait()
        barrier.reset()
        self.assertFalse(barrier.broken)
        again = [self.start(wait_at, barrier, broken) for _ in range(2)]
        self.assertIn(barrier.wait(), range(3))
        for process in again:
            process.join()
            self.assertEqual(process.exitcode, 0)

    def test_the_last_to_arrive_notices_that_the_only_waiter_was_killed(self) -> None:
        barrier, broken = self.context.Barrier(2), self.context.Semaphore(0)
        waiter = self.start(wait_at, barrier, broken)
        self.assertTrue(wait_until(lambda: barrier.n_waiting == 1))
        self.end(waiter)
        time.sleep(0.02)
        with self.assertRaises(threading.BrokenBarrierError):
            barrier.wait()
        self.assertTrue(barrier.broken)

    def test_a_timeout_that_is_none_leaves_no_arrival(self) -> None:
        barrier = self.context.Barrier(2)
        for wrong, error in (("5", TypeError), (float("nan"), ValueError)):
            with self.assertRaises(error):
                barrier.wait(wrong)
        self.assertEqual((barrier.n_waiting, barrier.broken), (0, False))

    def test_a_barrier_for_nobody_is_refused(self) -> None:
        for parties in (0, -1):
            with self.assertRaises(ValueError):
                self.context.Barrier(parties)

    def test_a_process_killed_in_the_action_breaks_the_barrier(self) -> None:
        barrier = self.context.Barrier(2, action=lambda: os.kill(os.getpid(), 9))
        broken = self.context.Semaphore(0)
        self.start(wait_at, barrier, broken)
        self.assertTrue(wait_until(lambda: barrier.n_waiting == 1))
        self.start(wait_at, barrier, broken).join()
        self.assertTrue(broken.acquire(timeout=30))


if __name__ == "__main__":
    unittest.main()
