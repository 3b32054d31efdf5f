"""Named shared memory: the standard interface, and nothing left behind."""

import multiprocessing.shared_memory as std
import os
import pickle
import subprocess
import sys
import textwrap
import unittest

import numpy as np
import phalanx.multiprocessing as mp
from phalanx.multiprocessing import shared_memory
from phalanx.multiprocessing.shared_memory import ShareableList, SharedMemory
from watch import HereCase, ScriptCase


def write(memory: "str | SharedMemory", data: bytes) -> None:
    if isinstance(memory, str):
        memory = SharedMemory(memory)
    memory.buf[: len(data)] = data
    memory.close()


def create(name: str) -> None:
    memory = SharedMemory(name, create=True, size=100)
    memory.buf[:3] = b"abc"
    memory.close()


class Named(HereCase):
    def test_the_interface_is_the_standard_one(self) -> None:
        memory = SharedMemory("test-basics", create=True, size=512)
        self.addCleanup(memory.unlink)
        self.assertIsInstance(memory, std.SharedMemory)
        self.assertEqual((memory.name, memory.size), ("test-basics", 512))
        self.assertEqual(bytes(memory.buf), bytes(512))
        self.assertEqual(repr(memory), "SharedMemory('test-basics', size=512)")
        memory.buf[0] = 42
        other = SharedMemory("test-basics", size=9999)
        self.assertEqual((other.buf[0], other.size), (42, 512))
        other.close()
        other.close()
        again = pickle.loads(pickle.dumps(memory))
        self.assertEqual(again.buf[0], 42)
        with self.assertRaises(FileExistsError):
            SharedMemory("test-basics", create=True, size=1)
        for wrong in ({"size": -1}, {"size": 0}):
            with self.assertRaises(ValueError):
                SharedMemory(create=True, **wrong)
        with self.assertRaises(ValueError):
            SharedMemory()

    def test_a_name_stays_until_it_is_unlinked(self) -> None:
        memory = SharedMemory(create=True, size=10, track=False)
        name = memory.name
        memory.buf[:2] = b"ok"
        memory.close()
        again = SharedMemory(name)
        self.assertEqual(bytes(again.buf[:2]), b"ok")
        again.unlink()
        self.assertEqual(bytes(again.buf[:2]), b"ok")
        with self.assertRaises(FileNotFoundError):
            again.unlink()
        with self.assertRaises(FileNotFoundError):
            SharedMemory(name)
        again.close()

    def test_many_names(self) -> None:
        names = [f"test-many-{number}" for number in range(300)]
        for number, name in enumerate(names):
            memory = SharedMemory(name, create=True, size=8)
            memory.buf[:2] = number.to_bytes(2, "little")
        for name in names[::3]:
            SharedMemory(name).unlink()
        for number, name in enumerate(names):
            if number % 3:
                memory = SharedMemory(name)
                self.assertEqual(int.from_bytes(memory.buf[:2], "little"), number)
                memory.unlink()
            else:
                with self.assertRaises(FileNotFoundError):
                    SharedMemory(name)

    def test_arrays_of_the_memory_stay_valid_when_it_is_closed(self) -> None:
        memory = SharedMemory(create=True, size=80)
        array = np.ndarray(10, np.float64, memory.buf)
        array[:] = 1.0
        memory.close()
        memory.unlink()
        self.assertIsNone(memory.buf)
        others = [SharedMemory(create=True, size=80) for _ in range(20)]
        self.assertEqual(array.sum(), 10.0)
        for other in others:
            other.unlink()

    def test_processes_open_it_by_name_and_by_object(self) -> None:
        for method in ("fork", "spawn", "forkserver"):
            context = mp.get_context(method)
            memory = SharedMemory(create=True, size=100)
            for given, data in ((memory.name, b"howdy"), (memory, b"HELLO")):
                process = context.Process(target=write, args=(given, data))
                process.start()
                process.join()
                self.assertEqual(process.exitcode, 0)
                self.assertEqual(bytes(memory.buf[:5]), data)
            memory.close()
            memory.unlink()

    def test_what_a_child_created_outlives_it(self) -> None:
        for method in ("fork", "spawn"):
            name = f"test-child-{method}"
            process = mp.get_context(method).Process(target=create, args=(name,))
            process.start()
            process.join()
            memory = SharedMemory(name)
            self.assertEqual(bytes(memory.buf[:3]), b"abc")
            memory.unlink()

    def test_names_of_unrelated_programs(self) -> None:
        path = f"/dev/shm/phalanx-test-{os.getpid()}"
        with open(path, "xb") as file:
            file.write(b"theirs")
        try:
            memory = SharedMemory(os.path.basename(path))
            self.assertEqual(bytes(memory.buf), b"theirs")
            memory.buf[:1] = b"T"
            memory.close()
            with open(path, "rb") as file:
                self.assertEqual(file.read(), b"Theirs")
            with self.assertRaises(FileExistsError):
                SharedMemory(os.path.basename(path), create=True, size=1)
            memory.unlink()
            self.assertFalse(os.path.exists(path))
        finally:
            if os.path.exists(path):
                os.unlink(path)

    def test_programs_started_by_other_means_find_their_ancestors_names(self) -> None:
        memory = SharedMemory(create=True, size=100)
        program = """
            import os, subprocess, sys
            from phalanx.multiprocessing.shared_memory import SharedMemory
            memory = SharedMemory(sys.argv[1])
            memory.buf[:5] = b"hello"
            own = SharedMemory("test-of-a-program", create=True, size=10)
            if len(sys.argv) > 2:
                SharedMemory(sys.argv[2]).unlink()
            """
        other = SharedMemory("test-unlinked-elsewhere", create=True, size=10)
        command = [sys.executable, "-c", textwrap.dedent(program), memory.name]
        for more in ([], [other.name]):
            subprocess.run([*command, *more], check=True, timeout=60)
            self.assertEqual(bytes(memory.buf[:5]), b"hello")
            with self.assertRaises(FileNotFoundError):
                SharedMemory("test-of-a-program")
        with self.assertRaises(FileNotFoundError):
            SharedMemory(other.name)
        memory.unlink()

    def test_create_or_attach_shares_with_programs_started_by_other_means(self) -> None:
        program = """
            import sys
            from phalanx.multiprocessing.shared_memory import SharedMemory
            try:
                memory = SharedMemory(sys.argv[1], create=True, size=16)
            except FileExistsError:
                memory = SharedMemory(sys.argv[1])
            memory.buf[0] = 99
            """
        memory = SharedMemory("test-create-or-attach", create=True, size=16)
        self.addCleanup(memory.unlink)
        command = [sys.executable, "-c", textwrap.dedent(program), memory.name]
        subprocess.run(command, check=True, timeout=60)
        self.assertEqual(memory.buf[0], 99)

    def test_leading_slashes_make_no_difference(self) -> None:
        memory = SharedMemory("test-slashes", create=True, size=10)
        for name in (memory._name, "/test-slashes", "//test-slashes"):
            other = SharedMemory(name)
            other.buf[0] += 1
            self.assertEqual(other.name, name)
            with self.assertRaises(FileExistsError):
                SharedMemory(name, create=True, size=10)
        self.assertEqual(memory.buf[0], 3)
        other.unlink()
        with self.assertRaises(FileNotFoundError):
            memory.unlink()

    def test_lists(self) -> None:
        values = ["howdy", b"HoWdY", -273.154, 100, None, True, 42]
        values = ShareableList(values)
        self.addCleanup(values.shm.unlink)
        self.assertIsInstance(values, std.ShareableList)
        self.assertIsInstance(values.shm, SharedMemory)
        values[3] = 7
        same = ShareableList(name=values.shm.name)
        self.assertEqual(same[3], 7)
        again = pickle.loads(pickle.dumps(values))
        self.assertIs(type(again), ShareableList)
        again[4] = "some"
        self.assertEqual(
            list(values), ["howdy", b"HoWdY", -273.154, 7, "some", True, 42]
        )
        self.assertNotEqual(ShareableList(values).shm.name, values.shm.name)

    def test_the_module_offers_what_the_standard_one_does(self) -> None:
        self.assertEqual(set(shared_memory.__all__), set(std.__all__))
        self.assertIs(mp.shared_memory.SharedMemory, SharedMemory)


class NothingLeft(ScriptCase):
    SCRIPT = """
        import os, signal, sys, time
        import phalanx.multiprocessing as mp
        from phalanx.multiprocessing.shared_memory import SharedMemory, ShareableList
        def attach(name):
            memory = SharedMemory(name)
            memory.buf[0] = 1
        if __name__ == "__main__":
            memory = SharedMemory(create=True, size=1 << 20)
            named = SharedMemory("test-left", create=True, size=1 << 20)
            items = ShareableList(range(10))
            for method in ("fork", "spawn"):
                p = mp.get_context(method).Process(target=attach, args=(memory.name,))
                p.start()
                p.join()
            # The children are gone, and took nothing with them.
            again = SharedMemory(memory.name)
            assert memory.buf[0] == again.buf[0] == 1
            print("ready")
            {then}
    """

    def test_after_a_kill_and_after_a_forgotten_unlink(self) -> None:
        for then, status in (
            ("os.kill(os.getpid(), signal.SIGKILL)", -9),
            ("sys.exit(0)", 0),
        ):
            done = self.run_script(self.SCRIPT.format(then=then), status=status)
            self.assertEqual(done.lines, ["ready"])
            self.assertNotIn("leaked", done.err)
            self.assertEqual(done.err, "")


if __name__ == "__main__":
    sys.exit(unittest.main())
