"""Blocks whose cache lines their reader takes over: data stays as it was sent."""

import unittest

from watch import ScriptCase

WAYS = ("take=never", "take=4K", "take=4M")

ECHO = """
import os
import random
import numpy as np
import phalanx.multiprocessing as mp
ctx = mp.get_context("fork")
seed = int(os.environ.get("PHALANX_TEST_SEED", random.randrange(2**32)))
print("seed", seed)
draw = random.Random(seed)

AROUND = [4 << 10, 8 << 10, 64 << 10, 256 << 10, 1 << 20]
SIZES = [size + more for size in AROUND for more in (-64, -1, 0, 1, 63)]
TYPES = ["u1", "i2", "f4", "f8", "c16", "?"]

def some_array(size):
    raw = bytearray(draw.randbytes(size + 16))
    kind = np.dtype(draw.choice(TYPES))
    offset = draw.choice((0, 1, 3, 8))  # where alignment of the sender ends
    array = np.frombuffer(raw, "u1", offset=offset)
    if kind == "?":
        return array % 2 == 0
    count = (len(array) // kind.itemsize) * kind.itemsize
    return array[:count].view(kind)

def fortran(array):
    return np.asfortranarray(array[: len(array) // 2 * 2].reshape(2, -1))

def some_value(size):
    return draw.choice((
        lambda: draw.randbytes(size),
        lambda: draw.choice("a\\u00e9\\u20ac\\U0001f600") * (size // 3) + str(size),
        lambda: some_array(size),
        lambda: [some_array(size), some_array(size // 3), draw.randbytes(size // 2)],
        lambda: fortran(some_array(size)),
    ))()

def plain(value):
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    return value

def change(value):
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, np.ndarray):
            one[...] = 1
"""


class Lines(ScriptCase):
    def run_with_each(self, script: str, expected: str) -> None:
        for ways in WAYS:
            with self.subTest(ways=ways):
                done = self.run_script(script, env={"PHALANX_WAYS": ways})
                self.assertEqual(done.lines[-1], expected, done.lines)

    def test_through_queues_there_and_back(self) -> None:
        self.run_with_each(
            ECHO
            + """
def serve(there, back):
    while (value := there.get()) is not None:
        back.put(value)
        change(value)

there, back = ctx.Queue(), ctx.SimpleQueue()
process = ctx.Process(target=serve, args=(there, back), daemon=True)
process.start()
for size in SIZES * 3:
    value = some_value(size)
    wanted = plain(value)
    there.put(value)
    arrived = back.get()
    assert plain(arrived) == wanted, size
    change(arrived)  # whoever has it next finds what is sent
there.put(None)
process.join()
print("as sent", process.exitcode)
""",
            "as sent 0",
        )

    def test_through_pools_as_argument_and_as_result(self) -> None:
        self.run_with_each(
            ECHO
            + """
def same(value):
    return value

with ctx.Pool(2) as pool:
    for size in SIZES:
        values = [some_value(size) for _ in range(4)]
        wanted = [plain(value) for value in values]
        for arrived, value in zip(pool.map(same, values, chunksize=1), wanted):
            assert plain(arrived) == value, size
            change(arrived)
        # One object in several tasks, which read it at the same time.
        for arrived in pool.map(same, [values[0]] * 6, chunksize=1):
            assert plain(arrived) == wanted[0], size
print("as sent")
""",
            "as sent",
        )

    def test_shared_memory_that_a_message_names_is_left_alone(self) -> None:
        # A store of what was read before could undo one of another process.
        self.run_with_each(
            """
import numpy as np
import phalanx.multiprocessing as mp
from phalanx import _workers
ctx = mp.get_context("fork")

def count(buffer, over):
    cells = np.frombuffer(buffer, "u8")
    done = 0
    while not over.is_set() or done < 200:
        cells += 1
        done += 1
    return done

def work(buffer, over, told):
    told.put(count(buffer, over))

buffer = _workers.SharedBuffer(64 << 10)
over, told, queue = ctx.Event(), ctx.Queue(), ctx.Queue()
process = ctx.Process(target=work, args=(buffer, over, told), daemon=True)
process.start()
for _ in range(400):
    queue.put([buffer, np.ones(10_000), b"x" * 9000])
    shared, ones, data = queue.get()
    assert ones.sum() == 10_000 and data == b"x" * 9000
over.set()
done = told.get()
process.join()
print("kept", set(np.frombuffer(buffer, "u8").tolist()) == {done})
""",
            "kept True",
        )


if __name__ == "__main__":
    unittest.main()
