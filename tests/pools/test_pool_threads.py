"""Several threads of one program with the same pool, job or iterator."""

import threading
import unittest
from collections.abc import Callable

import phalanx.multiprocessing as mp
from phalanx.futures import ProcessPoolExecutor
from watch import HereCase, ScriptCase


def same(number: int) -> int:
    return number


def fail(number: int) -> None:
    raise ValueError(number)


class Threads(HereCase):
    def in_threads(self, count: int, act: Callable[[int], object]) -> list[object]:
        """What `act` returned in each of so many threads."""
        results: list[object] = [None] * count

        def run(which: int) -> None:
            results[which] = act(which)

        threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    def test_a_result_that_a_thread_waits_for_and_a_callback_gets(self) -> None:
        with ProcessPoolExecutor(2) as executor:
            for number in range(1500):
                self.assertEqual(executor.submit(same, number).result(), number)
        called: list[int] = []
        with mp.Pool(2) as pool:
            for number in range(500):
                result = pool.apply_async(same, (number,), callback=called.append)
                self.assertEqual(result.get(), number)
            pool.close()
            pool.join()
        self.assertEqual(called, list(range(500)))

    def test_many_threads_wait_for_one_list(self) -> None:
        with mp.Pool(2) as pool:
            for turn in range(20):
                job = pool.map_async(same, range(2000 + turn))
                lists = self.in_threads(4, lambda _, job=job: job.get())
                self.assertEqual(lists, [list(range(2000 + turn))] * 4)

    def test_many_threads_wait_for_one_failure(self) -> None:
        def error_of(job) -> str:
            try:
                return f"returned {job.get()}"
            except ValueError as error:
                return repr(error)

        with mp.Pool(2) as pool:
            for _ in range(20):
                job = pool.apply_async(fail, (3,))
                texts = self.in_threads(4, lambda _, job=job: error_of(job))
                self.assertEqual(texts, ["ValueError(3)"] * 4)

    def test_many_threads_share_an_iterator(self) -> None:
        with mp.Pool(2) as pool:
            for results in (
                pool.imap(same, range(3000)),
                pool.imap_unordered(same, range(3000)),
            ):
                shares = self.in_threads(3, lambda _, it=results: list(it))
                everything = sorted(number for share in shares for number in share)
                self.assertEqual(everything, list(range(3000)))

    def test_each_thread_has_its_own_calls(self) -> None:
        def work(which: int) -> bool:
            return all(
                pool.map(same, range(which, which + 50))
                == list(range(which, which + 50))
                and pool.apply(same, (which,)) == which
                for _ in range(40)
            )

        with mp.Pool(2) as pool:
            self.assertEqual(self.in_threads(4, work), [True] * 4)


class AfterTheMainThread(ScriptCase):
    def test_a_daemonic_thread_that_waits_is_left_quietly(self) -> None:
        for call in ("pool.map(time.sleep, [1000])", "pool.apply(time.sleep, (1000,))"):
            with self.subTest(call):
                ended = self.run_script(
                    f"""
                    import threading, time
                    import phalanx.multiprocessing as mp
                    pool = mp.Pool(1)
                    threading.Thread(target=lambda: {call}, daemon=True).start()
                    time.sleep(0.3)
                    """
                )
                self.assertNotIn("Traceback", ended.err, ended.text)

    def test_a_thread_goes_on_with_a_pool(self) -> None:
        # Python 3.12 starts no thread any more by then, and does not fork.
        ended = self.run_script(
            """
            import threading
            import phalanx.multiprocessing as mp

            def go_on():
                threading.main_thread().join()
                called = []
                print(pool.map(abs, range(-3, 0)))
                pool.map_async(abs, [-1], callback=called.append).wait()
                print(called)
                pool.apply_async(abs, ("a",), error_callback=called.append).wait()
                print(called[1:])
                pool.terminate()
                pool.join()

            pool = mp.Pool(2)
            threading.Thread(target=go_on).start()
            """
        )
        expected = ["[3, 2, 1]", "[[1]]"]
        self.assertEqual(ended.lines[:2], expected, ended.text)
        self.assertRegex(ended.lines[2], "TypeError")


if __name__ == "__main__":
    unittest.main()
