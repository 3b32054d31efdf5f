"""Queue, SimpleQueue and JoinableQueue: what they do, waiting for them, their life."""

import asyncio
import multiprocessing
import os
import pickle
import queue
import select
import signal
import textwrap
import threading
import time
import unittest
from collections.abc import Callable
from multiprocessing.connection import Pipe, wait
from typing import Any

import phalanx.multiprocessing as mp
from phalanx import _workers
from watch import HereCase, ScriptCase

ctx = mp.get_context("fork")
KINDS = (ctx.Queue, ctx.SimpleQueue, ctx.JoinableQueue)


def run(target: Callable[..., Any], *args: Any) -> Any:
    """Start a process that calls `target`."""
    process = ctx.Process(target=target, args=args)
    process.start()
    return process


class Unpicklable:
    """An object that raises when it is pickled."""

    def __reduce__(self) -> Any:
        raise AttributeError("not this one")


class Unreadable:
    """An object that raises when it is unpickled."""

    def __reduce__(self) -> Any:
        return divmod, (1, 0)


class Behaviour(HereCase):
    def test_they_are_the_standard_classes(self) -> None:
        std = multiprocessing.queues
        self.assertIsInstance(ctx.Queue(), std.Queue)
        self.assertIsInstance(ctx.SimpleQueue(), std.SimpleQueue)
        self.assertIsInstance(ctx.JoinableQueue(), std.JoinableQueue)
        self.assertIsInstance(ctx.JoinableQueue(), mp.queues.Queue)
        for kind in (mp.queues.Queue, mp.queues.SimpleQueue, mp.queues.JoinableQueue):
            self.assertIs(kind[int].__origin__, kind)

    def test_all_kinds_of_objects_arrive(self) -> None:
        objects = [None, True, 1, -(2**70), 1.5, "text", b"bytes", "\ud800", [], {}]
        objects += [(1, [2, {"3": 4}]), {1, 2}, b"x" * 100, "y" * 5000, b"z" * 10**6]
        objects += [range(5), ValueError("text"), os.getpid, Unreadable]
        for make in KINDS:
            many = make()
            for thing in objects:
                many.put(thing)
            for thing in objects:
                self.assertEqual(repr(many.get()), repr(thing))
            self.assertTrue(many.empty())

    def test_functions_without_a_name_arrive(self) -> None:
        many = ctx.Queue()
        many.put(lambda x: x + 1)
        self.assertEqual(many.get()(1), 2)

    def test_arrays_are_writable_copies(self) -> None:
        import numpy as np

        many = ctx.Queue()
        given = np.arange(10**6)
        many.put(given)
        given[0] = 7
        got = many.get()
        self.assertEqual(got[0], 0)
        got[:] = 1
        self.assertEqual(given[1], 1)
        self.assertEqual(int(got.sum()), 10**6)

    def test_full_and_empty(self) -> None:
        small = ctx.Queue(2)
        small.put(1)
        self.assertFalse(small.full())
        small.put_nowait(2)
        self.assertTrue(small.full())
        self.assertEqual(small.qsize(), 2)
        for wrong in (
            lambda: small.put_nowait(3),
            lambda: small.put(3, False),
            lambda: small.put(3, timeout=0.01),
            lambda: small.put(3, True, -1),
            lambda: small.put(b"x" * 100_000, timeout=0.01),
        ):
            self.assertRaises(queue.Full, wrong)
        self.assertEqual((small.get(), small.get(1, 5)), (1, 2))
        for wrong in (
            small.get_nowait,
            lambda: small.get(False),
            lambda: small.get(timeout=0.01),
            lambda: small.get(True, -1),
            lambda: small.get(block=0, timeout=100),
        ):
            self.assertRaises(queue.Empty, wrong)
        self.assertTrue(small.empty())

    def test_an_object_that_does_not_pickle_takes_no_room(self) -> None:
        small = ctx.Queue(1)
        with self.assertRaisesRegex(AttributeError, "not this one"):
            small.put(Unpicklable())
        small.put(1, False)
        self.assertEqual(small.get(), 1)

    def test_a_class_may_handle_objects_that_do_not_pickle(self) -> None:
        errors = []

        class Quiet(mp.queues.Queue):
            @staticmethod
            def _on_queue_feeder_error(e: Exception, obj: Any) -> None:
                errors.append((type(e), type(obj)))

        quiet = Quiet(ctx=ctx)
        quiet.put(Unpicklable())
        quiet.put(1)
        self.assertEqual(quiet.get(), 1)
        self.assertEqual(errors, [(AttributeError, Unpicklable)])

    def test_an_object_that_does_not_unpickle_costs_itself(self) -> None:
        many = ctx.Queue()
        many.put(Unreadable())
        many.put(2)
        self.assertRaises(ZeroDivisionError, many.get)
        self.assertEqual(many.get(), 2)

    def test_closing(self) -> None:
        closed = ctx.Queue()
        self.assertRaises(AssertionError, closed.join_thread)
        closed.put(1)
        closed.cancel_join_thread()
        closed.close()
        closed.join_thread()
        for wrong in (lambda: closed.put(1), closed.get, closed.get_nowait):
            with self.assertRaisesRegex(ValueError, "Queue <.*> is closed"):
                wrong()
        self.assertRaisesRegex(OSError, "handle is closed", closed.empty)
        simple = ctx.SimpleQueue()
        simple.close()
        self.assertTrue(simple._reader.closed and simple._writer.closed)
        for wrong in (lambda: simple.put(1), simple.get, simple.empty):
            self.assertRaisesRegex(OSError, "handle is closed", wrong)

    def test_a_queue_closed_here_is_open_in_a_child(self) -> None:
        many, back = ctx.Queue(), ctx.Queue()
        many.put(1)
        many.close()
        child = run(lambda: back.put(many.get()))
        self.assertEqual(back.get(), 1)
        child.join()

    def test_subclasses_keep_what_they_change(self) -> None:
        class Counting(mp.queues.Queue):
            def __init__(self) -> None:
                super().__init__(ctx=ctx)
                self.puts = 0

            def put(self, obj: Any, *args: Any, **kwargs: Any) -> None:
                self.puts += 1
                super().put(obj, *args, **kwargs)

        counting = Counting()
        counting.put(1)
        counting.put_nowait(2)
        self.assertEqual((counting.puts, counting.get(), counting.qsize()), (2, 1, 1))

    def test_joining(self) -> None:
        many, done = ctx.JoinableQueue(), ctx.Queue()

        def work() -> None:
            while many.get() is not None:
                time.sleep(0.001)
                done.put(1)
                many.task_done()

        workers = [run(work) for _ in range(2)]
        for number in range(20):
            many.put(number)
        many.join()
        self.assertEqual(done.qsize(), 20)
        for _ in workers:
            many.put(None)
        for worker in workers:
            worker.join()
        many.task_done()
        many.task_done()
        self.assertRaisesRegex(ValueError, "too many times", many.task_done)
        many.join()

    def test_many_to_many(self) -> None:
        for maxsize in (0, 7):
            there, back = ctx.Queue(maxsize), ctx.Queue()

            def produce(who: int, there: Any = there) -> None:
                for number in range(3000):
                    there.put((who, number, b"-" * (number % 400)))

            def consume(there: Any = there, back: Any = back) -> None:
                got = []
                while (item := there.get()) is not None:
                    got.append(item)
                back.put(got)

            producers = [run(produce, who) for who in range(3)]
            consumers = [run(consume) for _ in range(3)]
            for producer in producers:
                producer.join()
            for _ in consumers:
                there.put(None)
            gots = [back.get() for _ in consumers]
            for got in gots:
                for who in range(3):
                    numbers = [item[1] for item in got if item[0] == who]
                    self.assertEqual(numbers, sorted(numbers))
            every = sorted(item[:2] for got in gots for item in got)
            self.assertEqual(every, [(w, n) for w in range(3) for n in range(3000)])
            for consumer in consumers:
                consumer.join()

    def test_threads_that_put_and_get(self) -> None:
        there = ctx.Queue(5)
        got: list[int] = []
        threads = [
            threading.Thread(target=lambda: [there.put(n) for n in range(2000)])
            for _ in range(3)
        ]
        threads += [
            threading.Thread(
                target=lambda: got.extend(there.get() for _ in range(2000))
            )
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(got), sorted(list(range(2000)) * 3))

    def test_a_signal_handler_runs_while_a_get_waits(self) -> None:
        many = ctx.Queue()
        before = signal.signal(signal.SIGALRM, lambda *_: many.put("handler"))
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            self.assertEqual(many.get(), "handler")
        finally:
            signal.signal(signal.SIGALRM, before)

    def test_an_exception_of_a_signal_handler_ends_a_get(self) -> None:
        def handler(*_: Any) -> None:
            raise KeyError("from the handler")

        before = signal.signal(signal.SIGALRM, handler)
        try:
            for wait_here in (ctx.Queue().get, ctx.SimpleQueue().get):
                with self.assertRaises(KeyError):
                    signal.setitimer(signal.ITIMER_REAL, 0.05)
                    wait_here()
        finally:
            signal.signal(signal.SIGALRM, before)


class Waiting(HereCase):
    def test_with_pipes_and_sentinels(self) -> None:
        reader, writer = Pipe(duplex=False)
        many, simple = ctx.Queue(), ctx.SimpleQueue()
        child = run(time.sleep, 60)
        ends = [reader, many._reader, simple._reader, child.sentinel]
        self.assertEqual(wait(ends, 0), [])
        many.put(1)
        self.assertEqual(wait(ends, 0), [many._reader])
        writer.send(1)
        self.assertEqual(wait(ends, 5), [reader, many._reader])
        many.get()
        reader.recv()
        self.assertEqual(wait(ends, 0.01), [])
        other = run(simple.put, 2)
        self.assertEqual(wait(ends, 30), [simple._reader])
        self.assertEqual(simple._reader.recv(), 2)
        self.assertEqual(wait(ends, 0), [])
        child.kill()
        self.assertEqual(wait(ends, 30), [child.sentinel])
        child.join()
        other.join()

    def test_what_another_process_takes_is_no_longer_there(self) -> None:
        many, back = ctx.Queue(), ctx.Queue()
        many.put(1)
        self.assertEqual(wait([many._reader], 5), [many._reader])
        child = run(lambda: back.put(many.get()))
        self.assertEqual(back.get(), 1)
        deadline = time.monotonic() + 30
        while wait([many._reader], 0) and time.monotonic() < deadline:
            time.sleep(0.001)
        self.assertEqual(wait([many._reader], 0), [])
        child.join()

    def test_in_a_child_that_was_forked_meanwhile(self) -> None:
        many, back = ctx.Queue(), ctx.Queue()
        self.assertEqual(wait([many._reader], 0), [])

        def child() -> None:
            back.put("ready")
            found = wait([many._reader], 30)
            back.put((len(found), many.get(), len(wait([many._reader], 0))))

        process = run(child)
        self.assertEqual(back.get(), "ready")
        many.put(5)
        self.assertEqual(back.get(), (1, 5, 0))
        process.join()

    def test_in_an_event_loop(self) -> None:
        many = ctx.Queue()

        async def main() -> list[int]:
            loop, got = asyncio.get_running_loop(), []
            over = asyncio.Event()

            def ready() -> None:
                try:
                    got.append(many.get_nowait())
                except queue.Empty:
                    return
                if len(got) == 200:
                    over.set()

            loop.add_reader(many._reader.fileno(), ready)
            await asyncio.wait_for(over.wait(), 30)
            loop.remove_reader(many._reader.fileno())
            return got

        child = run(lambda: [many.put(n) for n in range(200)])
        self.assertEqual(asyncio.run(main()), list(range(200)))
        child.join()

    def test_polling(self) -> None:
        many = ctx.Queue()
        self.assertFalse(many._reader.poll())
        self.assertFalse(many._reader.poll(0.01))
        child = run(many.put, 1)
        self.assertTrue(many._reader.poll(30))
        self.assertTrue(many._reader.poll(None))
        self.assertTrue(many._poll())
        child.join()

    def test_the_ends_send_and_receive(self) -> None:
        many = ctx.Queue()
        many._writer.send([1])
        many._writer.send_bytes(pickle.dumps([2]))
        self.assertEqual(many._reader.recv(), [1])
        self.assertEqual(pickle.loads(many._reader.recv_bytes()), [2])
        self.assertRaises(OSError, many._writer.fileno)
        many._reader.close()
        self.assertTrue(many._reader.closed)
        self.assertRaises(OSError, many._reader.recv)
        self.assertRaises(OSError, many._reader.fileno)

    def test_descriptors_and_threads_go_with_the_queue(self) -> None:
        def count() -> tuple[int, int]:
            return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

        before = count()
        many = [ctx.Queue() for _ in range(20)]
        for each in many:
            select.select([each._reader], [], [], 0)
        self.assertGreaterEqual(count()[1], before[1] + 20)
        del many, each
        deadline = time.monotonic() + 30
        while count() > before and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertLessEqual(count(), before)


class Life(HereCase):
    def used(self) -> int:
        _workers.family_sweep()
        return _workers.family_used()

    def test_memory_goes_with_the_last_user(self) -> None:
        import gc

        gc.collect()
        before = self.used()
        many = ctx.Queue()
        for size in (10, 1000, 100_000):
            for _ in range(50):
                many.put(bytes(size))
        many.put([ctx.Queue(), b"x" * 10_000])
        self.assertGreater(self.used(), before + 5_000_000)
        child = run(lambda many: [many.get() for _ in range(75)], many)
        child.join()
        del child
        del many
        gc.collect()
        self.assertEqual(self.used(), before)

    def test_a_queue_travels_through_a_queue(self) -> None:
        many = ctx.Queue()
        for make in KINDS:
            inner = make()
            inner.put("inside")
            many.put((make.__name__, inner))
            del inner  # the message keeps it
        for make in KINDS:
            name, inner = many.get()
            self.assertEqual((name, inner.get()), (make.__name__, "inside"))
            inner.put("again")
            self.assertEqual(inner.get(), "again")

    def test_a_queue_travels_through_a_pipe(self) -> None:
        reader, writer = Pipe(duplex=False)

        def child(reader: Any) -> None:
            time.sleep(0.1)
            reader.recv().put("answer")

        process = run(child, reader)
        many = ctx.Queue()
        back = ctx.Queue()
        many.put(back)
        writer.send(many.get())  # nobody here knows the copy any more
        self.assertEqual(back.get(), "answer")
        process.join()

    def test_what_was_pickled_for_nobody_is_not_held_for_ever(self) -> None:
        reader, writer = Pipe()
        before, data = self.used(), bytes(16_000)
        for _ in range(2000):
            passing = ctx.Queue()
            passing.put(data)
            writer.send(passing)
            reader.recv()
        used = self.used() - before
        # The newest 1024 are, with what is in them.
        self.assertLess(used, 1100 * 25_000)
        self.assertGreater(used, 1000 * len(data))

    def test_a_bounded_queue_travels_with_its_limit(self) -> None:
        many, small = ctx.Queue(), ctx.Queue(1)
        small.put(1)
        many.put(small)
        copy = many.get()
        self.assertRaises(queue.Full, copy.put, 2, False)
        self.assertEqual(small.get(), 1)
        copy.put(3)
        self.assertEqual((small.get(), copy._maxsize), (3, 1))


SPAWNED = """
import sys, time
import phalanx.multiprocessing as mp

def serve(there, back):
    while (item := there.get()) is not None:
        back.put(item)
    back.put("end")

def late(there):
    time.sleep(0.5)
    there.put("late")

if __name__ == "__main__":
    ctx = mp.get_context(sys.argv[1])
    for make in (ctx.Queue, ctx.SimpleQueue, ctx.JoinableQueue):
        there, back = make(), make()
        child = ctx.Process(target=serve, args=(there, back))
        child.start()
        for item in (1, "two", b"3" * 100_000):
            there.put(item)
            assert back.get() == item
        there.put(None)
        print(back.get())
        child.join()
    def start():
        queue = ctx.Queue()
        child = ctx.Process(target=serve, args=(queue, queue))
        child.start()
        queue.put(None)
        return child
    child = start()  # the queue is no longer known here
    child.join()
    print(child.exitcode)
"""


class StartMethods(ScriptCase):
    def test_as_arguments_of_a_process(self) -> None:
        for method in ("fork", "spawn", "forkserver"):
            with self.subTest(method):
                ended = self.start(textwrap.dedent(SPAWNED), method).end()
                self.assertEqual(ended.status, 0, ended.text)
                self.assertEqual(ended.lines, ["end"] * 3 + ["0"], ended.text)

    def test_ctrl_c_ends_a_get(self) -> None:
        script = self.start(
            """
            import phalanx.multiprocessing as mp
            queue = mp.Queue()
            print("waiting")
            try:
                queue.get()
            except KeyboardInterrupt:
                print("interrupted")
            """
        )
        script.wait_for("waiting")
        time.sleep(0.2)
        script.interrupt()
        self.assertEqual(script.end(30).lines, ["waiting", "interrupted"])


if __name__ == "__main__":
    unittest.main()
