"""How functions and objects travel to engines, and other parts that need no cluster."""

import builtins
import math
import pickle
import sys
import types
import unittest
from datetime import UTC, datetime, timedelta

import numpy as np
import phalanx.ipyparallel as ipp
from phalanx._workers import place_of
from phalanx.ipyparallel import error, util
from phalanx.ipyparallel.client import map as maps
from phalanx.ipyparallel.client.imports import names_given
from phalanx.ipyparallel.client.query import select
from phalanx.ipyparallel.client.submit import Known
from phalanx.ipyparallel.engine.startup import options_of
from phalanx.ipyparallel.serialize import _functions


class Place:
    """The namespace of an engine, and this module as a script's main module."""

    def __init__(self) -> None:
        self.names: dict[str, object] = {"__name__": "__main__"}

    def define(self, code: str) -> dict[str, object]:
        """Run code as a script: what it defines belongs to the main module."""
        script = types.ModuleType("__main__")
        script.__dict__["__builtins__"] = builtins
        self.main, sys.modules["__main__"] = sys.modules["__main__"], script
        try:
            exec(code, script.__dict__)
        finally:
            sys.modules["__main__"] = self.main
        return script.__dict__

    def send(self, value: object) -> object:
        """To the engine: pickled here, unpickled in its namespace."""
        stream, buffers = _functions.dumps(value)
        before = _functions.set_namespace(self.names)
        try:
            return _functions.loads(stream, [bytes(b.raw()) for b in buffers])
        finally:
            _functions.set_namespace(before)


class Functions(unittest.TestCase):
    def setUp(self) -> None:
        _functions.forget_arrived()
        self.place = Place()

    def test_globals_are_the_engines(self) -> None:
        script = self.place.define("a = 'client'\ndef read(): return a")
        read = self.place.send(script["read"])
        with self.assertRaises(NameError):
            read()  # type: ignore[operator]
        self.place.names["a"] = "engine"
        self.assertEqual(read(), "engine")  # type: ignore[operator]

    def test_modules_travel_by_name_and_under_their_alias(self) -> None:
        script = self.place.define("import math as m\ndef root(x): return m.sqrt(x)")
        root = self.place.send(script["root"])
        self.assertEqual(root(9), 3)  # type: ignore[operator]
        self.assertIs(self.place.names["m"], math)

    def test_what_the_user_set_there_stands(self) -> None:
        self.place.names["m"] = "mine"
        script = self.place.define("import math as m\ndef read(): return m")
        self.assertEqual(self.place.send(script["read"])(), "mine")  # type: ignore[operator]

    def test_functions_of_the_script_come_along_and_are_renewed(self) -> None:
        first = self.place.define("def f(): return 1\ndef g(): return f()")
        self.assertEqual(self.place.send(first["g"])(), 1)  # type: ignore[operator]
        second = self.place.define("def f(): return 2\ndef g(): return f()")
        self.assertEqual(self.place.send(second["g"])(), 2)  # type: ignore[operator]

    def test_functions_that_call_each_other(self) -> None:
        script = self.place.define(
            "def even(n): return n == 0 or odd(n - 1)\n"
            "def odd(n): return n != 0 and even(n - 1)"
        )
        self.assertTrue(self.place.send(script["even"])(10))  # type: ignore[operator]

    def test_closures_defaults_attributes(self) -> None:
        script = self.place.define(
            "def outer(n):\n"
            "    def inner(x, y=2, *, z: int = 3):\n"
            "        'says it'\n"
            "        return inner.k, n, x, y, z\n"
            "    inner.k = 7\n"
            "    return inner\n"
            "made = outer(1)"
        )
        inner = self.place.send(script["made"])
        self.assertEqual(inner(5), (7, 1, 5, 2, 3))  # type: ignore[operator]
        self.assertEqual(inner.__doc__, "says it")

    def test_an_import_that_fails_is_told_when_it_is_used(self) -> None:
        module = types.ModuleType("not_on_engines")
        script = self.place.define("def f(): return not_there\ndef g(): return 5")
        script["not_there"] = module
        f, g = self.place.send((script["f"], script["g"]))  # type: ignore[misc]
        with self.assertRaises(NameError):
            f()
        self.assertEqual(g(), 5)

    def test_a_lambda_of_a_module_that_is_not_there(self) -> None:
        module = types.ModuleType("only_here")
        exec("f = lambda x: x + 1", module.__dict__)
        sys.modules["only_here"] = module
        try:
            stream, _ = _functions.dumps(module.f)
        finally:
            del sys.modules["only_here"]
        self.assertEqual(_functions.loads(stream)(1), 2)

    def test_functions_of_modules_go_by_name(self) -> None:
        self.assertIs(self.place.send(math.sqrt), math.sqrt)
        self.assertIs(self.place.send(maps.is_array), maps.is_array)
        self.assertIs(self.place.send(math), math)

    def test_places_of_objects(self) -> None:
        self.assertEqual(place_of(abs), ("builtins", "abs"))
        self.assertEqual(place_of(Place.send), (__name__, "Place.send"))
        self.assertEqual(place_of(Place), (__name__, "Place"))
        here = self.place.define("def f(): pass")["f"]
        lost = types.FunctionType(here.__code__, {}, "sqrt")  # type: ignore[attr-defined]
        lost.__module__ = "math"
        for thing in (here, lost, lambda: 0, [].append, 5, math):
            self.assertIsNone(place_of(thing), thing)
        for module in ("no.such.module", "math"):
            lost.__module__, lost.__qualname__ = module, "no.such.name"
            self.assertIsNone(place_of(lost))

    def test_references_are_looked_up(self) -> None:
        self.place.names["a"] = [1, {"b": 5}]
        self.assertEqual(self.place.send([ipp.Reference("a[1]['b']")]), [5])
        with self.assertRaises(NameError):
            self.place.send({"x": ipp.Reference("none")})
        with self.assertRaises(TypeError):
            ipp.Reference(5)  # type: ignore[arg-type]

    def test_classes_of_the_script_and_their_objects(self) -> None:
        script = self.place.define("class A:\n  def __init__(s): s.v = 4\na = A()")
        main, sys.modules["__main__"] = (
            sys.modules["__main__"],
            types.ModuleType("__main__"),
        )
        sys.modules["__main__"].__dict__.update(script)
        try:
            stream, buffers = _functions.dumps(script["a"])
        finally:
            sys.modules["__main__"] = main
        self.assertEqual(buffers, [])
        self.assertEqual(_functions.loads(stream).v, 4)

    def test_large_arrays_stay_out_of_the_stream(self) -> None:
        array = np.arange(10_000.0)
        stream, buffers = _functions.dumps({"a": array, "b": array[:3]})
        self.assertEqual([b.raw().nbytes for b in buffers], [array.nbytes])
        self.assertLess(len(stream), 1000)
        back = _functions.loads(stream, buffers)
        np.testing.assert_array_equal(back["a"], array)

    def test_what_cannot_be_sent_says_so(self) -> None:
        import threading

        with self.assertRaisesRegex(TypeError, "lock"):
            _functions.dumps(threading.Lock())

    def test_cloudpickle_brings_the_clients_globals(self) -> None:
        script = self.place.define("a = 'client'\ndef read(): return a")
        _functions.set_mode("cloudpickle")
        try:
            read = self.place.send(script["read"])
        finally:
            _functions.set_mode("pickle")
        self.assertEqual(read(), "client")  # type: ignore[operator]
        with self.assertRaises(ValueError):
            _functions.set_mode("marshal")

    def test_can_and_uncan(self) -> None:
        names: dict[str, object] = {"a": 5}
        f = ipp.interactive(lambda: a)  # type: ignore[name-defined]  # noqa: F821
        self.assertEqual(f.__module__, "__main__")
        back = ipp.uncan(ipp.can({"f": [f], "n": 1}), names)
        self.assertEqual(back["f"][0](), 5)
        self.assertEqual(back["n"], 1)

    def test_messages_as_buffers(self) -> None:
        array = np.arange(5000)
        buffers = ipp.pack_apply_message(max, (array, 3), {"key": None})
        f, args, kwargs = ipp.unpack_apply_message(buffers)
        self.assertIs(f, max)
        np.testing.assert_array_equal(args[0], array)
        self.assertEqual(kwargs, {"key": None})
        value, rest = ipp.deserialize_object([*ipp.serialize_object(array), b"more"])
        np.testing.assert_array_equal(value, array)
        self.assertEqual(rest, [b"more"])
        prepared = ipp.PrePickled(array)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(prepared)), array)


class Requirements(unittest.TestCase):
    def test_require(self) -> None:
        place = Place()

        @ipp.require("base64", abc=7)
        @ipp.interactive
        def encode(data: bytes) -> object:
            return base64.b64encode(data), abc  # type: ignore[name-defined]  # noqa: F821

        sent = place.send(encode)
        self.assertEqual(sent(b"foo"), (b"Zm9v", 7))  # type: ignore[operator]

        @ipp.require("no_such_module_at_all")
        def f() -> int:
            return 1

        with self.assertRaises(error.UnmetDependency):
            f()
        with self.assertRaises(TypeError):
            ipp.require(5)

    def test_depend(self) -> None:
        @ipp.depend(lambda n: n > 2, 1)
        def f() -> int:
            return 1

        with self.assertRaises(error.UnmetDependency):
            f()
        self.assertEqual(f.__name__, "f")

    def test_dependencies(self) -> None:
        both = ipp.Dependency(["a", "b"])
        self.assertFalse(both.check({"a"}))
        self.assertTrue(both.check({"a", "b"}))
        self.assertTrue(both.unreachable({"a"}, {"b"}))
        either = ipp.Dependency(["a", "b"], all=False)
        self.assertTrue(either.check({"a"}))
        self.assertFalse(either.unreachable(set(), {"b"}))
        self.assertTrue(either.unreachable(set(), {"a", "b"}))
        self.assertEqual(ipp.Dependency(both.as_dict()), both)
        self.assertTrue(ipp.Dependency().check(set()))
        with self.assertRaises(ValueError):
            ipp.Dependency(["a"], success=False, failure=False)
        with self.assertRaises(TypeError):
            ipp.Dependency(5)


class Imports(unittest.TestCase):
    def given(self, statement: str) -> dict[str, str]:
        """What an import statement gives, by the code that it is."""
        seen: list[dict[str, str]] = []
        real = builtins.__import__

        def note(name: str, *args: object) -> object:
            frame = sys._getframe(1)
            if frame.f_code.co_filename == "<statement>":
                fromlist = args[2] if len(args) > 2 else ()
                seen.append(names_given(frame.f_code, frame.f_lasti, name, fromlist))
            return real(name, *args)  # type: ignore[arg-type]

        builtins.__import__ = note  # type: ignore[assignment]
        try:
            exec(compile(statement, "<statement>", "exec"), {})
        finally:
            builtins.__import__ = real
        return seen[0]

    def test_names(self) -> None:
        for statement, names in (
            ("import math", {"math": "math"}),
            ("import math as m", {"m": "math"}),
            ("import xml.dom", {"xml": "xml"}),
            ("import xml.dom.minidom as d", {"d": "xml.dom.minidom"}),
            ("from math import sqrt", {"sqrt": "sqrt"}),
            ("from math import sqrt as r, sin", {"r": "sqrt", "sin": "sin"}),
            ("def f():\n  import math as m\n  return m\nf()", {"m": "math"}),
            ("global g\nimport math as g", {"g": "math"}),
        ):
            with self.subTest(statement):
                self.assertEqual(self.given(statement), names)


class Maps(unittest.TestCase):
    def test_parts_come_together_again(self) -> None:
        for name, kind in maps.dists.items():
            for whole in (list(range(11)), np.arange(11), "abcdefghijk"):
                if name == "r" and isinstance(whole, str):
                    continue
                for count in (1, 2, 3, 8, 13):
                    with self.subTest(name=name, count=count, kind=type(whole)):
                        mapping = kind()
                        parts = [
                            mapping.getPartition(whole, n, count) for n in range(count)
                        ]
                        back = mapping.joinPartitions(parts)
                        self.assertEqual(list(back), list(whole))

    def test_even_parts(self) -> None:
        sizes = [len(maps.Map().getPartition(range(10), n, 4)) for n in range(4)]
        self.assertEqual(sizes, [3, 3, 2, 2])
        with self.assertRaises(ValueError):
            maps.Map().getPartition([1], 2, 2)


class Submissions(unittest.TestCase):
    def test_tasks_are_found_as_long_as_somebody_has_them(self) -> None:
        class Several(list):  # what was submitted: here, numbers instead of futures
            pass

        known, kept, first = Known(), [], 1
        for count in range(1, 3001):
            several = Several(range(first, first + count % 4 + 1))
            known.add(first, several)
            if count % 100 == 0:
                kept.append(several)
            first += len(several)
        self.assertLess(len(known.firsts), 1100)
        for several in kept:
            self.assertEqual([known.find(n) for n in several], several)
        # Before the first, of one that was let go, behind the last.
        kept_numbers = {number for several in kept for number in several}
        others = set(range(first + 10)) - kept_numbers
        self.assertEqual({known.find(number) for number in others}, {None})

    def test_threads_may_come_in_another_order_than_their_numbers(self) -> None:
        class Several(list):
            pass

        known, parts = Known(), [Several([n, n + 1]) for n in (1, 3, 5, 7)]
        for part in (parts[2], parts[0], parts[3], parts[1]):
            known.add(part[0], part)
        self.assertEqual([known.find(n) for n in range(10)], [None, *range(1, 9), None])


class Queries(unittest.TestCase):
    def test_operators(self) -> None:
        now = datetime.now(UTC)
        records = [
            {"msg_id": str(n), "submitted": now + timedelta(n), "label": label}
            for n, label in enumerate(["x", None, "y"])
        ]
        for query, ids in (
            ({"msg_id": "1"}, ["1"]),
            ({"msg_id": {"$ne": ""}}, ["0", "1", "2"]),
            ({"submitted": {"$lt": now + timedelta(1)}}, ["0"]),
            ({"submitted": {"$gte": now + timedelta(1)}}, ["1", "2"]),
            ({"label": {"$nin": [""]}}, ["0", "2"]),
            ({"label": {"$in": ["x"]}, "msg_id": "0"}, ["0"]),
            ({"label": {"$exists": False}}, ["1"]),
            ({"msg_id": {"$not": {"$in": ["0", "1"]}}}, ["2"]),
        ):
            with self.subTest(query):
                found = select(records, query, ["label"])
                self.assertEqual([one["msg_id"] for one in found], ids)
                self.assertEqual({*found[0]}, {"msg_id", "label"})
        with self.assertRaisesRegex(ValueError, "no operator"):
            select(records, {"msg_id": {"$like": "1"}})


class Errors(unittest.TestCase):
    def test_a_verdict_is_both(self) -> None:
        lost = error.make("EngineError", "killed", None, {"engine_id": 3})
        self.assertIsInstance(lost, error.EngineError)
        self.assertIsInstance(lost, error.RemoteError)
        self.assertEqual(str(lost), "[3] EngineError: killed")
        back = pickle.loads(pickle.dumps(lost))
        self.assertIsInstance(back, error.EngineError)
        self.assertEqual(str(back), str(lost))

    def test_composite(self) -> None:
        several = [
            error.make("ValueError", str(n), "tb", {"engine_id": n, "method": "apply"})
            for n in range(6)
        ]
        with self.assertRaises(error.CompositeError) as caught:
            error.collect_exceptions(several, "f")
        whole = caught.exception
        self.assertEqual(len(whole.elist), 6)
        self.assertIn("2 more exceptions", str(whole))
        self.assertIn("2 more exceptions", whole.render_traceback()[-1])
        with self.assertRaises(error.RemoteError) as one:
            whole.raise_exception(2)
        self.assertEqual(one.exception.evalue, "2")
        with self.assertRaises(IndexError):
            whole.raise_exception(9)
        back = pickle.loads(pickle.dumps(whole))
        self.assertEqual(str(back), str(whole))
        self.assertEqual(str(error.AlreadyDisplayedError(whole)), "6 errors")
        self.assertEqual(error.collect_exceptions([1, 2]), [1, 2])

    def test_wrapped(self) -> None:
        try:
            raise ValueError("x")
        except ValueError:
            content = error.wrap_exception({"engine_id": 1})
        back = error.unwrap_exception(content)
        self.assertEqual((back.ename, back.evalue), ("ValueError", "x"))


class Small(unittest.TestCase):
    def test_util(self) -> None:
        both = util.ReverseDict({1: "a"})
        self.assertEqual((both[1], both["a"], both.get("z")), ("a", 1, None))
        self.assertEqual(util.int_keys({"1": 2, "x": 3}), {1: 2, "x": 3})
        self.assertEqual(util.split_url("tcp://h:5"), ("tcp", "h", "5"))
        self.assertEqual(util.disambiguate_ip_address("1.2.3.4"), "1.2.3.4")
        self.assertEqual(util.disambiguate_url("ipc://x"), "ipc://x")
        for wrong in ("h:5", "tcp://h", "tcp://h:99999", 5):
            with self.subTest(wrong), self.assertRaises(ValueError):
                util.validate_url(wrong)  # type: ignore[arg-type]
        text = "2026-01-02T03:04:05.678901Z"
        dates = util.extract_dates({"a": [text], "b": "no date"})
        self.assertEqual(dates["b"], "no date")
        self.assertIsNotNone(dates["a"][0].tzinfo)

    def test_engine_options(self) -> None:
        self.assertEqual(options_of(["--x=1", "-c", "a=1", "-s", "f"]), ("a=1", "f"))
        self.assertEqual(options_of(["--IPEngine.startup_command=b"]), ("b", ""))

    def test_import_is_light(self) -> None:
        import subprocess

        code = (
            "import sys, phalanx.ipyparallel as i; heavy = {'numpy', 'IPython', 'zmq', "
            "'traitlets', 'cloudpickle', 'asyncio', 'phalanx._workers'}; "
            "print(sorted(heavy & set(sys.modules)), i.Client.__name__)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
        )
        self.assertEqual(done.stdout, "[] Client\n", done.stderr)


if __name__ == "__main__":
    unittest.main()
