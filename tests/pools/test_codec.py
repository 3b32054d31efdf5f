"""Objects on their way between processes: what is sent is what arrives."""

import collections
import copyreg
import functools
import math
import os
import pickle
import socket
import sys
import threading
import unittest
from multiprocessing import reduction

import numpy as np
import phalanx.multiprocessing as mp
from phalanx import _workers
from watch import HereCase, ScriptCase

INLINE = 5000  # more bytes than a message has of its own


def back(value: object) -> object:
    """Encode and decode in this process."""
    return _workers._decode(_workers._encode(value))


class Point:
    def __init__(self, x: float) -> None:
        self.x = x

    def double(self) -> float:
        return 2 * self.x

    def __eq__(self, other: object) -> bool:
        return type(other) is Point and other.x == self.x

    def __hash__(self) -> int:
        return hash(self.x)


class Number(int):
    pass


class Text(str):
    pass


PLAIN = [
    None,
    True,
    False,
    0,
    -1,
    2**63 - 1,
    -(2**63),
    2**63,
    -(2**200),
    0.0,
    -0.0,
    1e308,
    math.inf,
    "",
    "a",
    "é\0漢😀",
    "\ud800",
    "x" * 600,
    "x" * INLINE,
    "漢" * INLINE,
    b"",
    b"\0\xff",
    b"x" * 600,
    b"x" * INLINE,
    b"x" * 1_000_000,
    bytearray(b"ab"),
    bytearray(100_000),
    (),
    (1, "two", 3.0, None, (4, (5,))),
    ((((((((1,),),),),),),),),
    [],
    [1, [2], {3: [4]}],
    list(range(1000)),
    {},
    {"a": 1, (2, 3): "b", None: {}},
    dict.fromkeys(range(500)),
    {1, 2},
    frozenset({"a"}),
    1j,
    range(3),
    Ellipsis,
    int,
    len,
    collections.OrderedDict(a=1),
    Number(7),
    Text("seven"),
    Point(1.5),
    (Number(7), [Text("a")]),
    np.float64(1.5),
    np.int32(3),
]


class Values(HereCase):
    def test_objects_arrive_equal_and_of_the_same_type(self) -> None:
        for value in PLAIN:
            with self.subTest(value=repr(value)[:60]):
                arrived = back(value)
                self.assertEqual(arrived, value)
                self.assertIs(type(arrived), type(value))
                for item, other in zip(
                    value if isinstance(value, tuple) else (),
                    arrived if isinstance(value, tuple) else (),
                    strict=True,
                ):
                    self.assertIs(type(item), type(other))
        self.assertTrue(math.isnan(back(math.nan)))
        self.assertEqual(math.copysign(1, back(-0.0)), -1)

    def test_shared_and_recursive_containers_keep_their_identity(self) -> None:
        inner = [1]
        arrived = back((inner, inner))
        self.assertIs(arrived[0], arrived[1])
        both = [inner, inner]
        del inner
        for value in (both, (both[0], both), {"a": both[0], "b": {"c": (both[1],)}}):
            arrived = back([value, [], {}])[0]
            self.assertEqual(arrived, value)
        arrived = back([both, [both[0]]])
        self.assertIs(arrived[0][0], arrived[0][1])
        self.assertIs(arrived[0][0], arrived[1][0])
        loop: list = []
        loop.append(loop)
        arrived = back(loop)
        self.assertIs(arrived[0], arrived)
        table: dict = {}
        table["self"] = (table,)
        arrived = back(table)
        self.assertIs(arrived["self"][0], arrived)

    def test_a_list_in_a_tuple_that_is_there_twice_arrives_as_one(self) -> None:
        pair: tuple[list[int]] = ([],)
        arrived = back([pair, pair])
        arrived[0][0].append(1)
        self.assertEqual(arrived, [([1],), ([1],)])

    def test_objects_in_a_row_do_not_know_of_each_other(self) -> None:
        kept = [Point(1.0)]
        first = _workers._encode(kept)
        self.assertEqual(_workers._encode(kept), first)
        self.assertEqual(_workers._decode(first), kept)
        large = [Point(float(i)) for i in range(5000)]
        self.assertEqual(back(large), large)
        self.assertEqual(back(kept), kept)

    def test_damaged_messages_are_errors(self) -> None:
        wires = [_workers._encode(value) for value in (1, 1.0, "abc", (1, 2), {1: 2})]
        for wire in wires:
            for length in range(len(wire)):
                with self.assertRaisesRegex(ValueError, "damaged"):
                    _workers._decode(wire[:length])
        for tag in (0, 99, 255):
            with self.assertRaisesRegex(ValueError, "damaged"):
                _workers._decode(bytes([tag]) + b"\1" * 30)


class Arrays(HereCase):
    def check(self, array: np.ndarray) -> None:
        arrived = back(array)
        self.assertIs(type(arrived), np.ndarray)
        self.assertEqual(arrived.dtype, array.dtype)
        self.assertEqual(arrived.shape, array.shape)
        self.assertTrue(arrived.flags.writeable)
        np.testing.assert_array_equal(arrived, array)
        if array.flags.forc:
            self.assertEqual(arrived.flags.fnc, array.flags.fnc)

    def test_all_kinds_of_arrays(self) -> None:
        for size in (0, 1, 3, 2000, 100_000):
            for kind in "?bBhHiIlLqQefdgFDG":
                self.check((np.arange(size) % 100).astype(kind))
            self.check(np.arange(size).astype(">i4"))
            self.check(np.arange(size).astype("M8[s]"))
            self.check(np.arange(size).astype("S5"))
            self.check(np.arange(size).astype("U3"))
            self.check(np.zeros(size, "i4,f8"))
            self.check(np.arange(2 * size)[::2])
            self.check(np.asfortranarray(np.ones((size, 3))))
            self.check(np.ones((size, 4)).T)
            self.check(np.frombuffer(bytes(8 * size)))
            self.check(np.broadcast_to(1.0, (size, 2)))
            self.check(np.array(["a", None] * size, object))
        self.check(np.array(3.0))
        records = np.zeros(1000, "i4,f8").view(np.recarray)
        self.assertIs(type(back(records)), np.recarray)

    def test_an_array_twice_in_an_object_arrives_as_one(self) -> None:
        array = np.zeros(50_000)
        arrived = back({"a": array, "b": [array]})
        self.assertIs(arrived["a"], arrived["b"][0])

    def test_many_arrays_in_one_object(self) -> None:
        for size in (10, 1500, 40_000):
            arrays = [np.full(size, float(i)) for i in range(100)]
            for array, arrived in zip(arrays, back(arrays), strict=True):
                np.testing.assert_array_equal(array, arrived)

    def test_an_arrived_array_is_nobody_elses(self) -> None:
        array = np.zeros(50_000)
        wire = _workers._encode(array)
        array[:] = 1.0
        arrived = _workers._decode(wire)
        self.assertEqual(arrived.sum(), 0.0)
        arrived[:] = 2.0
        self.assertEqual(array.sum(), 50_000.0)

    def test_buffers_of_bytes_arrive_as_bytes(self) -> None:
        for data in (b"x" * 100_000, bytearray(b"x" * 100_000)):
            arrived = back(pickle.PickleBuffer(data))
            self.assertEqual(arrived, data)
            self.assertIs(type(arrived), type(data))

    def test_the_memory_of_arrived_arrays_is_given_back(self) -> None:
        array = np.zeros(1 << 20)
        back(array)
        before = _workers.family_used()
        for _ in range(300):
            back([array, array[1:].copy()])
        self.assertLessEqual(_workers.family_used(), before + (64 << 20))


class SharedObjects(HereCase):
    def test_many_of_them_in_one_object(self) -> None:
        before = _workers.family_used()
        for count in (1, 255, 256, 257, 5000):
            buffers = [_workers.SharedBuffer(8) for _ in range(count)]
            message = _workers._encode([*buffers, np.ones(10_000)])
            self.assertLess(len(message), 8 << 10)
            arrived = _workers._decode(message)
            memoryview(arrived[count - 1])[0] = 7
            self.assertEqual(buffers[-1].address, arrived[count - 1].address)
        del buffers, arrived
        self.assertEqual(_workers.family_used(), before)

    def test_too_many_of_them_are_refused_with_their_number(self) -> None:
        buffers = [_workers.SharedBuffer(8) for _ in range(65_534)]
        self.assertEqual(len(back(buffers[1:])), 65_533)
        for call in (back, mp.Queue().put):
            with self.assertRaisesRegex(ValueError, "contains 65534 .* most 65533"):
                call(buffers)


class Reducers(HereCase):
    def test_what_the_standard_module_pickles(self) -> None:
        self.assertEqual(back(Point(2.0).double)(), 4.0)
        self.assertEqual(back(functools.partial(max, 5))(3), 5)
        self.assertIs(back(list.append), list.append)
        left, right = socket.socketpair()
        with left, right, back(left) as other:
            self.assertNotEqual(other.fileno(), left.fileno())
            other.send(b"hello")
            self.assertEqual(right.recv(9), b"hello")

    def test_reducers_that_are_registered_or_replaced_later(self) -> None:
        class Opaque:
            pass

        def first(_: object) -> object:
            return str, ("first",)

        def second(_: object) -> object:
            return str, ("second",)

        back([Point(1.0)])
        reduction.register(Opaque, first)
        try:
            self.assertEqual(back([Opaque()]), ["first"])
            reduction.register(Opaque, second)
            self.assertEqual(back([Opaque()]), ["second"])
        finally:
            del reduction.ForkingPickler._extra_reducers[Opaque]
        copyreg.pickle(Opaque, first)
        try:
            self.assertEqual(back([Opaque()]), ["first"])
        finally:
            del copyreg.dispatch_table[Opaque]

    def test_functions_that_pickle_cannot_find_go_by_value(self) -> None:
        factor = 3
        self.assertEqual(back(lambda x: factor * x)(2), 6)

        class Local:
            def value(self) -> int:
                return 7

        self.assertEqual(back(Local()).value(), 7)
        self.assertEqual(back([Local().value])[0](), 7)
        array = back((lambda: 1, np.arange(50_000)))[1]
        self.assertEqual(array[-1], 49_999)

    def test_what_nobody_can_pickle_raises_pickles_error_with_a_hint(self) -> None:
        for value in (threading.Lock(), [lambda: 1, threading.Lock()], iter([1])):
            try:
                reduction.ForkingPickler.dumps(value)
            except Exception as error:
                expected = type(error)
            else:
                continue
            with self.assertRaises(expected) as caught:
                _workers._encode(value)
            notes = " ".join(caught.exception.__notes__)
            self.assertIn("cloudpickle", notes)
        self.assertEqual(back([1, {2}]), [1, {2}])

    def test_an_error_of_a_reducer_is_the_error(self) -> None:
        class Failing:
            def __reduce__(self) -> object:
                raise ZeroDivisionError("in reduce")

        with self.assertRaisesRegex(ZeroDivisionError, "in reduce"):
            _workers._encode([Point(1.0), Failing()])
        self.assertEqual(back([Point(1.0)]), [Point(1.0)])

    def test_reducers_may_encode_objects_themselves(self) -> None:
        test = self

        class Nested:
            def __init__(self, depth: int) -> None:
                self.depth = depth

            def __reduce__(self) -> object:
                if self.depth:
                    inner = back([Nested(self.depth - 1), np.zeros(20_000)])
                    test.assertEqual(inner[0], f"depth {self.depth - 1}")
                return str, (f"depth {self.depth}",)

        self.assertEqual(back([Nested(12)]), ["depth 12"])

    def test_many_threads_encode_at_once(self) -> None:
        errors: list[str] = []

        def work(number: int) -> None:
            for turn in range(100):
                value = [Point(float(number)), turn, np.full(3000, number)]
                arrived = back(value)
                if arrived[:2] != value[:2] or arrived[2].sum() != 3000 * number:
                    errors.append(f"thread {number} turn {turn}: {arrived}")

        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(before)
        self.assertEqual(errors, [])

    def test_deep_objects_end_in_a_recursion_error(self) -> None:
        deep: list = []
        for _ in range(100_000):
            deep = [deep]
        with self.assertRaises(RecursionError):
            _workers._encode(deep)


class BetweenProcesses(HereCase):
    def send(self, value: object) -> object:
        """The value, from a forked child."""
        reader, writer = os.pipe()
        _workers._encode(np.zeros(5000))  # so that both have one arena
        child = os.fork()
        if child == 0:
            status = 1
            try:
                with open(writer, "wb") as file:
                    file.write(_workers._encode(value))
                status = 0
            finally:
                os._exit(status)
        os.close(writer)
        with open(reader, "rb") as file:
            wire = file.read()
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        return _workers._decode(wire)

    def test_messages_outlive_their_sender(self) -> None:
        for value in PLAIN:
            with self.subTest(value=repr(value)[:60]):
                self.assertEqual(self.send(value), value)
        array = np.arange(300_000)
        arrived = self.send([array, array[:5000]])
        np.testing.assert_array_equal(arrived[0], array)
        np.testing.assert_array_equal(arrived[1], array[:5000])


class WithoutModules(ScriptCase):
    def test_without_numpy_and_cloudpickle(self) -> None:
        done = self.run_script(
            """
            import sys
            sys.modules["cloudpickle"] = None
            from phalanx import _workers
            assert _workers._decode(_workers._encode([{1}])) == [{1}]
            assert "numpy" not in sys.modules
            try:
                _workers._encode(lambda: 1)
            except Exception as error:
                print(type(error).__name__, *error.__notes__)
            import numpy as np
            array = _workers._decode(_workers._encode([np.arange(10)]))[0]
            print(array.sum())
            """
        )
        self.assertRegex(done.lines[0], "PicklingError .*cloudpickle could not be")
        self.assertEqual(done.lines[1], "45")


if __name__ == "__main__":
    unittest.main()
