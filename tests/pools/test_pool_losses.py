"""Where the standard library's pool hangs or loses results: ours must not."""

import collections
import os
import shutil
import signal
import threading
import time
import unittest

import phalanx.multiprocessing as mp
from phalanx.multiprocessing import errors
from watch import SECONDS, HereCase, ScriptCase, memory_group, wait_until


def square(x: int) -> int:
    return x * x


def kill_at(x: int, victim: int) -> int:
    if x == victim:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def exit_at_three(x: int) -> int:
    if x == 3:
        os._exit(7)
    return x


def crash(_: int) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def every_hundredth(x: int) -> int:
    if x % 100 == 99:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def once_each_hundred(x: int, folder: str) -> int:
    """Die at every hundredth item, the first time."""
    if x % 100 == 99:
        try:
            os.close(os.open(f"{folder}/{x}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return x
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def pause(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def hoard(megabytes: int) -> int:
    data = bytearray(megabytes << 20)
    for at in range(0, len(data), 4096):
        data[at] = 1
    time.sleep(1000 if megabytes > 100 else 0)
    return len(data)


def refuse(*_: object) -> None:
    raise OSError("no licence left")


def die(*_: object) -> None:
    os._exit(3)


class LostWorkers(HereCase):
    def test_a_killed_worker_costs_its_item(self) -> None:
        with mp.Pool(2) as pool:
            for chunksize in (None, 1, 10):
                with self.assertRaises(errors.WorkerLostError) as caught:
                    pool.starmap(kill_at, [(x, 30) for x in range(100)], chunksize)
                error = caught.exception
                self.assertEqual(error.index, 30)
                self.assertIn("kill_at", str(error.function))
                self.assertEqual(error.exitcode, -signal.SIGKILL)
                self.assertIn(str(error.pid), str(error))
                self.assertIn("SIGKILL", str(error))
            self.assertEqual(pool.map(square, range(10)), [x * x for x in range(10)])
            self.assertTrue(wait_until(lambda: len(pool._pool) == 2))

    def test_every_other_item_arrives(self) -> None:
        with mp.Pool(2) as pool:
            for call in (pool.imap, pool.imap_unordered):
                outcomes = collect(call(exit_at_three, range(20)))
                self.assertEqual(sorted(outcomes[0]), [x for x in range(20) if x != 3])
                (error,) = outcomes[1]
                self.assertEqual(error.index, 3)
                self.assertEqual(error.exitcode, 7)

    def test_a_lost_apply(self) -> None:
        with mp.Pool(1) as pool:
            with self.assertRaises(errors.WorkerLostError) as caught:
                pool.apply(crash, (1,))
            self.assertEqual(caught.exception.exitcode, -signal.SIGSEGV)
            self.assertIsNone(caught.exception.index)
            self.assertEqual(pool.apply(square, (3,)), 9)

    def test_an_idle_worker_is_replaced(self) -> None:
        with mp.Pool(2) as pool:
            pids = {process.pid for process in pool._pool}
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            self.assertEqual(pool.map(square, range(10)), [x * x for x in range(10)])
            self.assertTrue(
                wait_until(lambda: len({p.pid for p in pool._pool} - pids) == 2)
            )

    def test_a_worker_killed_from_outside_while_it_works(self) -> None:
        with mp.Pool(1) as pool:
            result = pool.apply_async(pause, (1000,))
            time.sleep(0.2)
            os.kill(pool._pool[0].pid, signal.SIGKILL)
            with self.assertRaises(errors.WorkerLostError):
                result.get(30)

    def test_a_stopped_pool_of_spawned_workers(self) -> None:
        with mp.get_context("spawn").Pool(2) as pool:
            with self.assertRaises(errors.WorkerLostError):
                pool.starmap(kill_at, [(x, 3) for x in range(10)])
            self.assertEqual(pool.map(square, range(4)), [0, 1, 4, 9])

    def test_retries(self) -> None:
        with mp.Pool(2, retries=2) as pool:
            with self.assertRaises(errors.WorkerLostError):
                pool.apply(crash, (1,))  # Three times.
            self.assertEqual(pool.apply(square, (3,)), 9)


class TenThousandTasks(HereCase):
    seconds = 200

    def test_without_retries_the_lost_are_exactly_those_reported(self) -> None:
        with mp.Pool(2) as pool:
            done, failed = collect(pool.imap_unordered(every_hundredth, range(10_000)))
        self.assertTrue(all(isinstance(e, errors.WorkerLostError) for e in failed))
        lost = [error.index for error in failed]
        self.assertEqual(sorted(lost), [*range(99, 10_000, 100)])
        self.assertEqual(sorted(done), [x for x in range(10_000) if x % 100 != 99])

    def test_with_retries_everything_arrives_once(self) -> None:
        import tempfile

        with tempfile.TemporaryDirectory() as folder, mp.Pool(2, retries=1) as pool:
            items = [(x, folder) for x in range(10_000)]
            self.assertEqual(pool.starmap(once_each_hundred, items), [*range(10_000)])

    def test_kills_from_outside(self) -> None:
        counts: collections.Counter[int] = collections.Counter()
        stop = threading.Event()

        def murder(pool: "mp.pool.Pool") -> None:
            while not stop.wait(0.05):
                for process in list(pool._pool)[:1]:
                    if process.pid is not None:
                        os.kill(process.pid, signal.SIGKILL)

        with mp.Pool(2, retries=50) as pool:
            murderer = threading.Thread(target=murder, args=(pool,))
            murderer.start()
            try:
                for x in pool.imap_unordered(square, range(10_000)):
                    counts[x] += 1
            finally:
                stop.set()
                murderer.join()
        self.assertEqual(counts, collections.Counter(x * x for x in range(10_000)))


class Limits(HereCase):
    def test_a_task_that_takes_too_long(self) -> None:
        with mp.Pool(2, timeout=0.3) as pool:
            with self.assertRaises(errors.TaskTimeoutError) as caught:
                pool.map(pause, [0, 0, 1000, 0], chunksize=1)
            self.assertIsInstance(caught.exception, TimeoutError)
            self.assertEqual(caught.exception.index, 2)
            self.assertIn("0.3", str(caught.exception))
            self.assertEqual(pool.map(square, range(4)), [0, 1, 4, 9])

    def test_only_the_late_item_of_a_chunk_is_lost(self) -> None:
        with mp.Pool(2, timeout=0.3) as pool:
            items = [0, 0, 1000, 0, 0, 0]
            done, failed = collect(pool.imap(pause, items, chunksize=6))
        self.assertEqual(done, [0] * 5)
        self.assertEqual([error.index for error in failed], [2])

    def test_many_short_tasks_under_a_limit(self) -> None:
        with mp.Pool(2, timeout=5) as pool:
            self.assertEqual(len(pool.map(square, range(20_000))), 20_000)

    def test_a_worker_that_uses_too_much_memory(self) -> None:
        with mp.Pool(1, memory_limit="400M") as pool:
            self.assertEqual(pool.apply(hoard, (1,)), 1 << 20)
            with self.assertRaises(errors.TaskMemoryError) as caught:
                pool.apply(hoard, (800,))
            self.assertIsInstance(caught.exception, MemoryError)
            self.assertEqual(pool.apply(hoard, (1,)), 1 << 20)


class Initializers(HereCase):
    def test_an_initializer_that_always_raises(self) -> None:
        for method in ("fork", "spawn"):
            with self.subTest(method), mp.get_context(method).Pool(2, refuse) as pool:
                with self.assertRaises(errors.InitializerError) as caught:
                    pool.map(square, range(10))
                self.assertIsInstance(caught.exception.__cause__, OSError)
                with self.assertRaises(errors.InitializerError):
                    pool.apply(square, (1,))
            pool.join()

    def test_an_initializer_that_always_dies(self) -> None:
        with mp.Pool(2, die) as pool:
            with self.assertRaises(errors.InitializerError):
                pool.map(square, range(10))
        pool.join()

    def test_close_and_join_with_an_initializer_that_fails(self) -> None:
        pool = mp.Pool(2, refuse)
        result = pool.map_async(square, range(10), error_callback=id)
        pool.close()
        pool.join()
        with self.assertRaises(errors.InitializerError):
            result.get(0)


class Scripts(ScriptCase):
    def test_a_worker_that_the_kernel_kills_for_memory(self) -> None:
        group = memory_group(300 << 20)
        if group is None:
            self.skipTest("no control group with a memory limit can be made here")
        try:
            ended = self.run_script(
                """
                import os, sys
                with open(sys.argv[1], "w") as file:
                    file.write(str(os.getpid()))
                import phalanx.multiprocessing as mp

                def fill(megabytes):
                    data = bytearray(megabytes << 20)
                    data[::4096] = bytes(len(data) // 4096)
                    return len(data)

                def kill(_):
                    os.kill(os.getpid(), 9)

                with mp.Pool(1) as pool:
                    for function, size in ((fill, 600), (kill, 0), (fill, 1)):
                        try:
                            print(pool.map(function, [size]))
                        except mp.ProcessError as error:
                            print(type(error).__name__, error.exitcode, error)
                """,
                SECONDS,
                None,
                str(group / "cgroup.procs"),
            )
        finally:
            group.rmdir()
        by_kernel, by_hand, last = ended.lines
        self.assertRegex(by_kernel, "WorkerLostError -9 .* ran out of memory")
        self.assertRegex(by_hand, r"WorkerLostError -9 .* signal 9 \(SIGKILL\) before")
        self.assertEqual(last, f"[{1 << 20}]")

    def test_ctrl_c_in_map(self) -> None:
        for method in ("fork", "spawn"):
            for call in (
                "pool.map(work, range(8))",
                "pool.apply(work, (1,))",
                "list(pool.imap(work, range(8)))",
            ):
                with self.subTest(method, call=call):
                    script = self.start(
                        f"""
                        import phalanx.multiprocessing as mp, time
                        def work(x):
                            print("working", flush=True)
                            time.sleep(1000)
                        if __name__ == "__main__":
                            with mp.get_context({method!r}).Pool(2) as pool:
                                {call}
                        """
                    )
                    script.wait_for("working")
                    script.interrupt()
                    ended = script.end(20)
                    self.assertEqual(ended.status, -signal.SIGINT, ended.text)
                    self.assertEqual(ended.err.count("Traceback"), 1, ended.text)
                    self.assertIn("KeyboardInterrupt", ended.err)

    def test_ctrl_c_without_with(self) -> None:
        script = self.start(
            """
            import phalanx.multiprocessing as mp, time
            def work(x):
                print("working", flush=True)
                time.sleep(1000)
            pool = mp.Pool(2)
            pool.map(work, range(8))
            """
        )
        script.wait_for("working", 2)
        script.interrupt()
        ended = script.end(20)
        self.assertEqual(ended.status, -signal.SIGINT, ended.text)
        self.assertEqual(ended.err.count("Traceback"), 1, ended.text)

    def test_ctrl_c_while_idle_harms_no_worker(self) -> None:
        script = self.start(
            """
            import phalanx.multiprocessing as mp, time, os
            pool = mp.Pool(2)
            before = {p.pid for p in pool._pool}
            print(pool.map(abs, range(3)), flush=True)
            try:
                time.sleep(1000)
            except KeyboardInterrupt:
                pass
            print(pool.map(abs, range(3)), before == {p.pid for p in pool._pool})
            """
        )
        script.wait_for("[0, 1, 2]")
        time.sleep(0.1)
        script.interrupt()
        ended = script.end(20)
        self.assertEqual(ended.lines[1], "[0, 1, 2] True", ended.text)
        self.assertEqual(ended.err, "")

    def test_no_worker_outlives_its_parent(self) -> None:
        for method in ("fork", "spawn", "forkserver"):
            for work in ("time.sleep(1000)", "pass"):
                with self.subTest(method, work=work):
                    script = self.start(
                        f"""
                        import phalanx.multiprocessing as mp, time
                        def work(x):
                            print("working", flush=True)
                            {work}
                        if __name__ == "__main__":
                            pool = mp.get_context({method!r}).Pool(2)
                            pool.map_async(work, range(2))
                            time.sleep(1000)
                        """
                    )
                    script.wait_for("working")
                    script.kill()
                    self.assertEqual(script.end().status, -signal.SIGKILL)
                    self.assertTrue(wait_until(lambda s=script: not s.processes()))
                    if method == "forkserver":
                        # The socket of the standard library's fork server.
                        shutil.rmtree(script.folder / "tmp")
                        (script.folder / "tmp").mkdir()

    def test_termination_of_a_parent_with_a_handler(self) -> None:
        script = self.start(
            """
            import phalanx.multiprocessing as mp, signal, sys, time
            def leave(*_):
                print("leaving", flush=True)
                sys.exit(5)
            signal.signal(signal.SIGTERM, leave)
            with mp.Pool(2) as pool:
                print("ready", flush=True)
                pool.map(time.sleep, [1000] * 4)
            """
        )
        script.wait_for("ready")
        time.sleep(0.2)
        script.kill(signal.SIGTERM)
        ended = script.end(20)
        self.assertEqual(ended.status, 5, ended.text)
        self.assertEqual(ended.out.count("leaving"), 1)

    def test_workers_are_forked_beside_busy_threads(self) -> None:
        ended = self.run_script(
            """
            import io, logging, os, random, signal, sys, threading
            import phalanx.multiprocessing as mp

            logging.basicConfig(stream=open(os.devnull, "w"))
            stop = False

            def busy():
                log = logging.getLogger("busy")
                while not stop:
                    log.warning("busy")
                    sys.stderr.write("")
                    sys.stdout.write("")
                    threading.Thread(target=int).start()
                    bytearray(random.randrange(1 << 16))

            def work(x):
                logging.getLogger("work").warning("here")
                sys.stderr.write("")
                if x % 10 == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return x

            threads = [threading.Thread(target=busy) for _ in range(3)]
            for thread in threads: thread.start()
            for round in range(5):
                with mp.get_context("fork").Pool(4) as pool:
                    lost, done = 0, []
                    for result in [pool.apply_async(work, (x,)) for x in range(40)]:
                        try:
                            done.append(result.get())
                        except mp.errors.WorkerLostError:
                            lost += 1
                    assert lost == 4 and len(done) == 36, (lost, done)
            stop = True
            print("done")
            """,
            120,
        )
        self.assertEqual(ended.lines, ["done"])

    def test_a_daemonic_worker_may_not_have_children(self) -> None:
        ended = self.run_script(
            """
            import phalanx.multiprocessing as mp
            def nested(x):
                with mp.Pool(2) as pool:
                    return pool.map(abs, [x])
            with mp.Pool(2) as pool:
                try:
                    pool.map(nested, [-1, 2])
                except AssertionError as error:
                    print(error)
            """
        )
        self.assertEqual(
            ended.lines, ["daemonic processes are not allowed to have children"]
        )


def collect(iterator: "mp.pool.IMapIterator") -> tuple[list[int], list[Exception]]:
    """Take everything: what was returned, and what was raised."""
    done: list[int] = []
    failed: list[Exception] = []
    while True:
        try:
            done.append(next(iterator))
        except StopIteration:
            return done, failed
        except Exception as error:
            failed.append(error)


if __name__ == "__main__":
    unittest.main()
