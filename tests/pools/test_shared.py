"""Arrays in shared memory: by handle to other processes, freed with the last user."""

import copy
import functools
import gc
import os
import pickle
import signal
import tempfile
import time
import unittest
from pathlib import Path

import numpy as np
import phalanx.multiprocessing as mp
from phalanx import _workers, shared
from phalanx.shared import SharedArray
from watch import SECONDS, HereCase, ScriptCase, memory_group

MIB = 1 << 20


def fill(array: np.ndarray, value: float) -> None:
    array[...] = value


def send_back(pipe: object, *values: object) -> None:
    for value in values:
        pipe.send(value)


def count_here(
    large: np.ndarray, small: np.ndarray, _: int
) -> tuple[int, float, float]:
    """How often this process was here, as the arrays say."""
    large += 1
    small += 1
    time.sleep(0.005)
    return os.getpid(), float(large[0]), float(small[-1])


def killed_at_first(marker: Path, array: np.ndarray) -> float:
    array += 1
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return float(array[0])


def report(pipe: object, array: np.ndarray) -> None:
    pipe.send((type(array).__name__, array.flags.writeable, float(array.sum())))


class Arrays(HereCase):
    def test_arrays_are_made_like_numpys(self) -> None:
        for shape in (5, (2, 3), [4], (), (0, 3), np.int64(2)):
            zeros = shared.zeros(shape, "f4")
            self.assertEqual(zeros.shape, np.zeros(shape).shape)
            self.assertEqual(zeros.dtype, np.float32)
            np.testing.assert_array_equal(zeros, np.zeros(shape))
            self.assertEqual(shared.empty(shape, np.uint8).shape, zeros.shape)
        full = shared.full((2, 2), 7)
        self.assertEqual((full.dtype, full.sum()), (np.dtype(int), 28))
        self.assertEqual(shared.full(3, 1.5, "f4").dtype, np.float32)
        fortran = shared.zeros((3, 4), order="F")
        self.assertTrue(fortran.flags.f_contiguous)
        records = shared.zeros(4, [("x", "i4"), ("y", "f8")])
        records["y"] = 2.0
        self.assertEqual(records["y"].sum(), 8.0)

    def test_what_no_machine_has_is_a_memory_error(self) -> None:
        for shape in ((2**40, 2**40), 2**63, 2**50, 2**200):
            with self.assertRaisesRegex(MemoryError, "bytes"):
                shared.zeros(shape)
        with self.assertRaises(OverflowError):
            _workers.SharedBuffer(-1)
        with self.assertRaises(TypeError):
            _workers.SharedBuffer("many")

    def test_more_than_the_machine_has_is_a_memory_error_with_both_numbers(
        self,
    ) -> None:
        memory = Path("/proc/meminfo").read_text()
        total, swap = (
            int(memory.split(f"{name}:")[1].split()[0]) << 10
            for name in ("MemTotal", "SwapTotal")
        )
        before = _workers.family_used()
        with self.assertRaisesRegex(MemoryError, f"{total + swap} .* bytes left"):
            shared.empty(total + swap, "u1")
        self.assertEqual(_workers.family_used(), before)
        self.assertEqual(shared.zeros(10).sum(), 0)

    def test_copies_keep_order_and_values(self) -> None:
        for source in (
            np.arange(12.0).reshape(3, 4),
            np.asfortranarray(np.arange(12).reshape(3, 4)),
            np.arange(20)[::3],
        ):
            array = shared.copy(source)
            np.testing.assert_array_equal(array, source)
            self.assertEqual(array.dtype, source.dtype)
            self.assertEqual(array.flags.fnc, source.flags.fnc)
        self.assertEqual(shared.copy([1, 2], "f8").dtype, np.float64)

    def test_results_are_ordinary_arrays(self) -> None:
        array = shared.full((4, 4), 2.0)
        for result in (array + 1, -array, array @ array, np.sqrt(array), 1 / array):
            self.assertIs(type(result), np.ndarray)
        self.assertIs(type(array.sum()), np.float64)
        self.assertIs(type(array[[0, 1]]), np.ndarray)
        self.assertIs(type(array[array > 0]), np.ndarray)
        self.assertIs(type(array[0, 0]), np.float64)
        self.assertIs(type(array.sum(axis=0)), np.ndarray)
        self.assertIs(type(array[:1].squeeze() + 1), np.ndarray)
        views = [array[0], array[::2, 1:], array.T, array.reshape(2, 8)]
        for view in (*views, array[:1].squeeze(), np.squeeze(array[:1])):
            self.assertIs(type(view), SharedArray)
            self.assertTrue(shared.is_shared(view))
        array += 1
        self.assertIs(type(array), SharedArray)
        self.assertIs(np.add(array, 1, out=array), array)
        self.assertFalse(shared.is_shared(array.copy()))
        self.assertFalse(shared.is_shared(np.zeros(3)))
        self.assertTrue(shared.is_shared(np.asarray(array)))

    def test_pickles_are_handles_to_the_same_memory(self) -> None:
        array = shared.copy(np.arange(1_000_000.0).reshape(1000, 1000))
        views = [array, array[5], array[10:20, ::3], array.T, array[::-1, ::-2]]
        views += [array[3:3], array.reshape(-1)[::7]]
        for view in views:
            for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
                data = pickle.dumps(view, protocol)
                self.assertLess(len(data), 600)
                other = pickle.loads(data)
                np.testing.assert_array_equal(other, view)
                self.assertEqual(other.strides, view.strides)
                self.assertIs(type(other), SharedArray)
            if view.size:
                before = float(other.flat[0])
                other.flat[0] = -1.0
                self.assertEqual(view.flat[0], -1.0)
                other.flat[0] = before
        decoded = _workers._decode(_workers._encode((views, array)))
        decoded[1][0, 0] = 77.0
        self.assertEqual(array[0, 0], 77.0)

    def test_read_only_views_arrive_read_only(self) -> None:
        array = shared.zeros(4)
        view = array[:2]
        view.flags.writeable = False
        self.assertFalse(pickle.loads(pickle.dumps(view)).flags.writeable)
        self.assertTrue(pickle.loads(pickle.dumps(array)).flags.writeable)

    def test_what_is_not_shared_pickles_as_an_ordinary_array(self) -> None:
        array = shared.full(1000, 1.0)
        for value in (array.copy(), copy.deepcopy(array), array.astype("f4")):
            other = pickle.loads(pickle.dumps(value))
            self.assertIs(type(other), np.ndarray)
            np.testing.assert_array_equal(other, value)
            other[:] = 2
            self.assertEqual(array.sum(), 1000.0)

    def test_errors_say_what_to_do(self) -> None:
        with self.assertRaisesRegex(TypeError, "Python objects.*choose numbers"):
            shared.zeros(3, object)
        with self.assertRaisesRegex(ValueError, "negative"):
            shared.zeros((3, -1))
        for shape in ((2.7, 3), ("3", 2)):
            with self.assertRaises(TypeError):
                shared.zeros(shape)
        with self.assertRaisesRegex(MemoryError, "shared memory"):
            shared.empty(1 << 62, "u1")

    def test_memory_is_freed_with_the_last_array(self) -> None:
        before = _workers.family_used()
        array = shared.zeros(64 * MIB, "u1")
        view = array[5:]
        other = pickle.loads(pickle.dumps(view))
        self.assertGreater(_workers.family_used(), before + 63 * MIB)
        del array, view
        self.assertEqual(other[0], 0)
        self.assertGreater(_workers.family_used(), before + 63 * MIB)
        del other
        gc.collect()
        self.assertLess(_workers.family_used(), before + MIB)


class Files(HereCase):
    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name, "data.bin")
        np.arange(1000.0).tofile(self.path)

    def test_a_file_is_an_array(self) -> None:
        array = shared.from_file(self.path, "f8")
        np.testing.assert_array_equal(array, np.arange(1000.0))
        self.assertFalse(array.flags.writeable)
        part = shared.from_file(self.path, "f8", (2, 3), offset=80)
        np.testing.assert_array_equal(part, np.arange(10.0, 16.0).reshape(2, 3))
        other = pickle.loads(pickle.dumps(part[1]))
        np.testing.assert_array_equal(other, part[1])
        self.assertLess(len(pickle.dumps(array)), 1000)

    def test_writing_changes_the_file(self) -> None:
        array = shared.from_file(self.path, "f8", mode="r+")
        array[0] = -1.0
        pickle.loads(pickle.dumps(array))[1] = -2.0
        found = np.fromfile(self.path, "f8", 2)
        np.testing.assert_array_equal(found, [-1.0, -2.0])
        fresh = shared.from_file(self.path, "i4", (5, 5), mode="w+")
        fresh[...] = 3
        self.assertEqual(np.fromfile(self.path, "i4").tolist(), [3] * 25)

    def test_files_that_do_not_fit(self) -> None:
        with self.assertRaisesRegex(ValueError, "8000 bytes, but shape.*needs 8008"):
            shared.from_file(self.path, "f8", 1001)
        with self.assertRaisesRegex(ValueError, "no multiple of the 8 bytes"):
            shared.from_file(self.path, "f8", offset=4)
        with self.assertRaisesRegex(ValueError, "mode='c'"):
            shared.from_file(self.path, mode="c")
        with self.assertRaisesRegex(ValueError, "shape"):
            shared.from_file(self.path, mode="w+")
        for mode in ("r", "r+", "w+"):
            with self.assertRaisesRegex(ValueError, "offset=-8: expected"):
                shared.from_file(self.path, "f8", 10, mode, offset=-8)
            with self.assertRaisesRegex(ValueError, "negative"):
                shared.from_file(self.path, "f8", -5, mode)
        with self.assertRaisesRegex(ValueError, "offset=8008: .* has 8000 bytes only"):
            shared.from_file(self.path, "f8", offset=8008)
        self.assertEqual(self.path.stat().st_size, 8000)
        with self.assertRaises(FileNotFoundError):
            shared.from_file(self.path.with_name("gone"))
        array = shared.from_file(self.path)
        data = pickle.dumps(array)
        self.path.rename(self.path.with_name("moved"))
        self.path.write_bytes(b"another")
        with self.assertRaisesRegex(FileNotFoundError, "was replaced"):
            pickle.loads(data)
        self.path.write_bytes(b"")
        self.assertEqual(shared.from_file(self.path).shape, (0,))


class BetweenProcesses(HereCase):
    def test_workers_write_into_one_memory(self) -> None:
        for method in ("fork", "spawn", "forkserver"):
            with self.subTest(method):
                context = mp.get_context(method)
                array = shared.zeros((4, 1000))
                for row in range(4):
                    process = context.Process(target=fill, args=(array[row], row + 1))
                    process.start()
                    process.join()
                    self.assertEqual(process.exitcode, 0)
                np.testing.assert_array_equal(array.sum(axis=1), [1e3, 2e3, 3e3, 4e3])

    def test_an_array_that_only_the_child_knows_by_now(self) -> None:
        for method in ("fork", "spawn", "forkserver"):
            with self.subTest(method):
                context = mp.get_context(method)
                reader, writer = context.Pipe(False)
                array = shared.full(100_000, 2.0)
                process = context.Process(target=report, args=(writer, array))
                process.start()
                del array
                self.assertEqual(reader.recv(), ("SharedArray", True, 200_000.0))
                process.join()

    def test_a_pool_gets_and_returns_handles(self) -> None:
        array = shared.zeros((8, 100_000))
        with mp.Pool(2) as pool:
            pool.starmap(fill, [(array[row], row) for row in range(8)])
            self.assertEqual(array.sum(), 100_000.0 * sum(range(8)))
            # Only the result holds what a worker made.
            made = pool.map(functools.partial(shared.full, 50_000), [1.0, 2.0, 3.0])
        for number, result in enumerate(made):
            self.assertIs(type(result), SharedArray)
            self.assertEqual(result.sum(), 50_000.0 * (number + 1))

    def test_ordinary_arrays_of_a_function_are_each_workers_own(self) -> None:
        large, small = np.zeros(1_000_000), np.zeros(2000)
        with mp.Pool(2) as pool:
            count = functools.partial(count_here, large, small)
            found = pool.map(count, range(12), chunksize=1)
        for pid in {pid for pid, _, _ in found}:
            here = [(a, b) for other, a, b in found if other == pid]
            expected = [(float(n), float(n)) for n in range(1, len(here) + 1)]
            self.assertEqual(sorted(here), expected)
        self.assertEqual((large.sum(), small.sum()), (0.0, 0.0))

    def test_a_task_that_is_tried_again_gets_its_arrays_as_they_were(self) -> None:
        for size in (1_000_000, 2000):
            with tempfile.TemporaryDirectory() as folder:
                work = functools.partial(killed_at_first, Path(folder, "marker"))
                with mp.Pool(2, retries=1) as pool:
                    self.assertEqual(pool.map(work, [np.zeros(size)]), [1.0])

    def test_a_queue_item_holds_its_array(self) -> None:
        queue = mp.Queue()
        for number in range(20):
            array = shared.full(100_000, float(number))
            queue.put((number, array[10:]))
            del array
        for _ in range(20):
            number, array = queue.get(timeout=30)
            self.assertEqual(array.sum(), 99_990.0 * number)
        queue.close()


class NothingLeft(ScriptCase):
    def test_after_a_kill_of_the_program_and_of_a_worker(self) -> None:
        done = self.run_script(
            """
            import os, signal
            import numpy as np
            import phalanx.multiprocessing as mp
            from phalanx import _workers, shared

            def hold(array):
                mine = shared.zeros(10_000_000)
                os.kill(os.getpid(), signal.SIGKILL)

            if __name__ == "__main__":
                array = shared.zeros(10_000_000)
                before = _workers.family_used()
                for _ in range(3):
                    process = mp.Process(target=hold, args=(array,))
                    process.start()
                    process.join()
                _workers.family_sweep()
                assert _workers.family_used() < before + 10_000_000
                array[:] = 1.0
                print(array.sum())
                os.kill(os.getpid(), signal.SIGKILL)
            """,
            status=-9,
        )
        self.assertEqual(done.lines, ["10000000.0"])

    def test_memory_that_was_full_has_room_for_any_other_size(self) -> None:
        self.run_script(
            """
            import resource
            resource.setrlimit(resource.RLIMIT_FSIZE, (256 << 20, 256 << 20))
            import phalanx.multiprocessing as mp
            from phalanx import _workers, shared

            def filled(size):
                queue, item, count = mp.Queue(), b"x" * size, 0
                try:
                    while True:
                        queue.put(item)
                        count += 1
                except MemoryError as error:
                    assert "largest free piece" in str(error), error
                for _ in range(count):
                    queue.get()
                return size * count >> 20

            if __name__ == "__main__":
                for size in (8 << 20, 4000, 300_000, 100, 1 << 20, 20_000):
                    room = filled(size)
                    assert room > (70 if size > 1000 else 30), (size, room)
                for mib in range(1, 110, 3):
                    array = shared.zeros(mib << 20, "u1")
                    assert not array.any()
                    array[:] = 1
                    del array
                locks = [mp.Lock() for _ in range(100_000)]
                with mp.Pool(1) as pool:
                    assert pool.map(abs, [-1]) == [1]
            """
        )

    def test_the_limit_of_a_container_is_a_memory_error(self) -> None:
        group = memory_group(400 << 20)
        if group is None:
            self.skipTest("no control group with a memory limit can be made here")
        try:
            ended = self.run_script(
                """
                import os, sys
                with open(sys.argv[1], "w") as file:
                    file.write(str(os.getpid()))
                from phalanx import shared

                for size in (1 << 30, 20 << 20):
                    held = []
                    try:
                        while True:
                            held.append(shared.zeros(size, "u1"))
                    except MemoryError as error:
                        print(len(held), error)
                """,
                SECONDS,
                None,
                str(group / "cgroup.procs"),
            )
        finally:
            group.rmdir()
        at_once, by_pieces = ended.lines
        self.assertRegex(at_once, f"^0 .*{1 << 30} bytes .*control group .* bytes left")
        self.assertRegex(by_pieces, r"^1\d .*control group .* bytes left")

    def test_programs_started_with_preexec_fn_keep_no_memory(self) -> None:
        self.run_script(
            """
            import subprocess
            from phalanx import _workers, shared

            before = _workers.family_used()
            array = shared.zeros(1_000_000)
            with subprocess.Popen(["sleep", "60"], preexec_fn=lambda: None) as program:
                del array
                assert _workers.family_sweep() == 1
                assert _workers.family_used() == before, _workers.family_used()
                program.kill()
            """
        )

    def test_queues_within_each_other_are_freed(self) -> None:
        self.run_script(
            """
            import phalanx.multiprocessing as mp
            from phalanx import _workers

            before = _workers.family_used()
            first = last = mp.Queue()
            for _ in range(50_000):
                queue = mp.Queue()
                last.put(queue)
                last = queue
            del first, last, queue
            assert _workers.family_used() == before, _workers.family_used()
            """
        )

    def test_without_numpy_the_import_says_what_to_install(self) -> None:
        done = self.run_script(
            """
            import sys
            sys.modules["numpy"] = None
            try:
                import phalanx.shared
            except ImportError as error:
                print(error)
            """
        )
        self.assertIn("pip install numpy", done.out)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    unittest.main()
