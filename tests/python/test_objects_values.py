"""What arrives is what pickle would have made of it, whatever way it travelled."""

import enum
import math
import os
import pickle
import random
import unittest

from phalanx import MPI

SELF = MPI.COMM_SELF
SEED = int(os.environ.get("PHALANX_TEST_SEED", "20261128"))


class Colour(enum.IntEnum):
    RED = 1


class Text(str):
    pass


class Number(int):
    pass


def travel(value):
    return SELF.sendrecv(value, 0, source=0)


def pickled(value):
    return pickle.loads(pickle.dumps(value, 5))


def form(value):
    """Types, contents, order, and which lists and dictionaries are one and the same."""
    seen = {}

    def of(part):
        kind = type(part).__name__
        if isinstance(part, list | dict):
            if id(part) in seen:
                return kind, "again", seen[id(part)]
            seen[id(part)] = len(seen)
        if isinstance(part, list | tuple):
            return kind, [of(item) for item in part]
        if isinstance(part, dict):
            return kind, [(of(key), of(item)) for key, item in part.items()]
        if isinstance(part, float):
            return kind, "nan" if math.isnan(part) else part.hex()
        return kind, repr(part)

    return of(value)


ATOMS = [
    None, True, False, 0, 1, -1, 2**31, 2**63 - 1, -(2**63), 2**63, -(2**300),
    0.0, -0.0, 1.5, math.nan, math.inf, -math.inf, 5e-324,
    "", "a", "é\0漢😀", "\ud800", "x" * 300, b"", b"\0\xff", b"y" * 300,
    Colour.RED, Text("t"), Number(7), 1j, frozenset({1}), bytearray(b"z"), ...,
]  # fmt: skip


def value(random, depth, made):
    """A random value; now and then with a container in it that is in it already."""
    draw = random.random()
    if depth == 0 or draw < 0.3:
        return random.choice(ATOMS)
    if made and draw < 0.4:
        return random.choice(made)
    count = random.choice((0, 1, 2, 3, 5))
    items = [value(random, depth - 1, made) for _ in range(count)]
    kind = random.choice((list, tuple, dict))
    if kind is dict:
        keys = ("k", 1, 2.5, None, (1, "t"), b"b")
        new = dict(zip(random.sample(keys, count), items, strict=True))
    else:
        new = kind(items)
    made.append(new)
    if kind is list and random.random() < 0.05:
        new.append(new)
    return new


class Same(unittest.TestCase):
    def check(self, thing):
        self.assertEqual(form(travel(thing)), form(pickled(thing)))

    def test_random_values(self):
        for seed in range(SEED, SEED + 3000):
            with self.subTest(seed=seed):
                made = []
                draw = random.Random(seed)
                # Nobody else may have the containers: then the short way is the one.
                self.check(value(draw, draw.choice((0, 1, 2, 3, 7)), made))
                made.clear()
                draw = random.Random(seed)
                thing = value(draw, draw.choice((1, 2, 3)), [])
                self.check((thing, thing) if seed % 7 == 0 else thing)

    def test_one_list_in_one_tuple_that_is_there_twice(self):
        inner = ([],)
        got = travel([inner, inner])
        got[0][0].append(1)
        self.assertEqual(got, [([1],), ([1],)])
        deep = [(1, ({},))] * 2
        got = travel({"a": deep[0], "b": deep[1]})
        got["a"][1][0]["k"] = 1
        self.assertEqual(got["b"], (1, ({"k": 1},)))

    def test_containers_that_contain_themselves(self):
        thing = [1]
        thing.append(thing)
        got = travel(thing)
        self.assertIs(got[1], got)
        loop = ({},)
        loop[0]["self"] = loop
        got = travel(loop)
        self.assertIs(got[0]["self"], got)

    def test_texts_and_bytes_of_every_length(self):
        for length in (
            0,
            1,
            254,
            255,
            256,
            257,
            505,
            512,
            600,
            32767,
            32768,
            32769,
            70000,
        ):
            self.check("ä" * (length // 2) + "x" * (length % 2))
            self.check(b"b" * length)
            self.check({"key": b"b" * length})

    def test_lists_of_every_length(self):
        for length in range(200):
            self.check(list(range(length)))
            self.check(dict.fromkeys(range(length)))

    def test_integers_of_every_width(self):
        for bits in (7, 8, 15, 16, 31, 32, 63, 64):
            for number in (2**bits - 1, 2**bits, -(2**bits), -(2**bits) - 1):
                self.check(number)
                self.check([number, {number: (number,)}])

    def test_containers_up_to_and_beyond_what_is_written_directly(self):
        for count in (100, 1000, 3000, 5000, 16000, 40000, 70000):
            self.check(list(range(count)))
            self.check([float(n) for n in range(count)])
            self.check({f"key {n}": f"value {n}" for n in range(count)})
            self.check([None] * count)
        # The first item tells nothing of the others.
        self.check([None, *("x" * 1000 for _ in range(50))])
        self.check(["x" * 1000, *(None for _ in range(500))])
        self.check([*range(3000), Number(3)])
        self.check([*range(3000), "\ud800"])

    def test_around_the_room_that_a_receive_has_at_first(self):
        for length in (*range(16_200, 16_370, 10), *range(16_370, 16_386)):
            self.check(bytes(length))
            self.check("x" * length)
            # Pickled, with its bytes in the stream or beside it.
            self.check([b"x" * length, Number(3)])
            self.check([bytearray(length), Number(3)])

    def test_a_string_in_several_places_is_one_object(self):
        names = [f"name {n}" for n in range(300)]
        for count in (1, 2, 10, 60):
            some = names[:count]
            rows = [dict.fromkeys(some, n) for n in range(1000 // count)]
            self.check(rows)
            got = travel(rows)
            for key, first in zip(got[-1], got[0], strict=True):
                self.assertEqual(key, first)
            distinct = {id(key) for row in got for key in row}
            # Few of them are forgotten for others.
            self.assertLess(len(distinct), 8 * count)
        self.check([names, (names[0],), {names[5]: names[5]}, names[::-1]])
        one = "only one".upper()
        got = travel([one, {"again": one}, (one,)])
        self.assertIs(got[0], got[1]["again"])
        self.assertIs(got[0], got[2][0])


class Pickles(unittest.TestCase):
    def tearDown(self):
        MPI.pickle.__init__()

    def test_functions_of_the_users_get_every_object(self):
        seen = []

        def dumps(thing):
            seen.append(thing)
            return pickle.dumps(thing)

        MPI.pickle.__init__(dumps, pickle.loads)
        for thing in (1, "a", None, {"a": 1}, b"x" * 1000):
            self.assertEqual(travel(thing), thing)
        self.assertEqual(seen, [1, "a", None, {"a": 1}, b"x" * 1000])

    def test_streams_of_the_users_that_begin_as_ours(self):
        streams = [b"\xc1\xc1", b"\xc1\xc1\x04no int", b"\xc1\xc1\x0d" + b"\xff" * 40]
        for stream in streams:
            MPI.pickle.__init__(lambda _, stream=stream: stream, bytes)
            self.assertEqual(travel(0), stream)

    def test_an_older_protocol_is_pickle(self):
        MPI.pickle.PROTOCOL = 0
        request = SELF.isend({"a": 1}, 0)
        status = MPI.Status()
        SELF.Probe(0, MPI.ANY_TAG, status)
        raw = bytearray(status.Get_count(MPI.BYTE))
        SELF.Recv([raw, MPI.BYTE], 0)
        request.wait()
        self.assertEqual(raw, pickle.dumps({"a": 1}, 0))

    def test_what_is_received_under_other_functions_was_sent_under_ours(self):
        request = SELF.isend({"a": 1}, 0)
        MPI.pickle.__init__(pickle.dumps, lambda data: pickle.loads(data))
        self.assertEqual(SELF.recv(source=0), {"a": 1})
        request.wait()


class Hostile(unittest.TestCase):
    def test_damaged_messages_are_errors(self):
        draw = random.Random(SEED)
        messages = 0
        for _ in range(4000):
            kind = draw.choice((1, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 200))
            body = bytearray(draw.randbytes(draw.choice((0, 1, 5, 13, 40, 90, 600))))
            if kind == 13 and len(body) > 40:
                # A plausible frame: its length and its table are looked at.
                body[:13] = bytes(5) + draw.choice((8, 30, 32, 80)).to_bytes(
                    8, "little"
                )
                body[13:21] = draw.choice((0, 1, 2, 2**60)).to_bytes(8, "little")
            message = b"\xc1\xc1" + bytes([kind]) + body
            messages += 1
            try:
                MPI.pickle.loads(message)
            except Exception as error:
                self.assertIsInstance(
                    error,
                    ValueError
                    | RuntimeError
                    | TypeError
                    | EOFError
                    | pickle.UnpicklingError
                    | AttributeError
                    | IndexError
                    | KeyError
                    | ImportError
                    | MemoryError
                    | OverflowError,
                )
        self.assertEqual(messages, 4000)

    def test_messages_cut_short_are_errors(self):
        for thing in ({"a": [1, "two", b"3"]}, "x" * 1000, bytearray(100_000)):
            request = SELF.isend(thing, 0)
            status = MPI.Status()
            SELF.Probe(0, MPI.ANY_TAG, status)
            raw = bytearray(status.Get_count(MPI.BYTE))
            SELF.Recv([raw, MPI.BYTE], 0)
            request.wait()
            self.assertEqual(MPI.pickle.loads(raw), thing)
            for length in {3, 4, 10, len(raw) // 2, len(raw) - 1}:
                with self.assertRaises((ValueError, EOFError, pickle.UnpicklingError)):
                    MPI.pickle.loads(raw[:length])


if __name__ == "__main__":
    unittest.main()
