"""Info objects as mappings, groups as sets, statuses as records."""

import pickle
import unittest

from phalanx import MPI


class TestInfo(unittest.TestCase):
    def test_mapping(self):
        info = MPI.Info.Create({"a": "1", "b": "2"})
        info["c"] = "3"
        self.assertEqual(dict(info.items()), {"a": "1", "b": "2", "c": "3"})
        self.assertIn("a", info)
        self.assertEqual(info.get("none", "default"), "default")
        with self.assertRaises(KeyError):
            info["none"]
        self.assertEqual(info.pop("a"), "1")
        self.assertEqual(len(info), 2)
        copy = pickle.loads(pickle.dumps(info))
        self.assertEqual(sorted(copy.items()), sorted(info.items()))
        copy.Free()
        info.clear()
        self.assertEqual(list(info), [])
        info.Free()

    def test_bad_items_raise(self):
        with self.assertRaises(TypeError):
            MPI.Info.Create({"key": 1})


class TestGroup(unittest.TestCase):
    def test_set_operations(self):
        world = MPI.COMM_WORLD.Get_group()
        n = world.size
        first = world.Incl([0])
        rest = world.Excl([0])
        self.assertEqual(rest.size, n - 1)
        both = MPI.Group.Union(first, rest)
        self.assertEqual(both.Compare(world), MPI.IDENT)
        none = MPI.Group.Intersection(first, rest)
        self.assertEqual(none, MPI.GROUP_EMPTY)
        backwards = world.Range_incl([(n - 1, 0, -1)])
        self.assertEqual(backwards.Translate_ranks([0], world), [n - 1])
        self.assertEqual(backwards.Translate_ranks(), list(reversed(range(n))))
        for group in (first, rest, both, backwards, world):
            group.free()


class TestStatus(unittest.TestCase):
    def test_fields(self):
        status = MPI.Status()
        self.assertEqual((status.source, status.tag), (MPI.ANY_SOURCE, MPI.ANY_TAG))
        status.source, status.tag, status.count = 3, 5, 8
        self.assertEqual(status.Get_count(MPI.INT), 2)
        self.assertEqual(status.Get_elements(MPI.BYTE), 8)
        twin = pickle.loads(pickle.dumps(status))
        self.assertEqual((twin.source, twin.tag, twin.count), (3, 5, 8))
        self.assertEqual(MPI.Status.f2py(status.py2f()), status)

    def test_an_odd_number_of_bytes_is_no_count(self):
        status = MPI.Status()
        status.count = 7
        self.assertEqual(status.Get_count(MPI.INT), MPI.UNDEFINED)


class TestRequest(unittest.TestCase):
    def test_families_of_nothing(self):
        self.assertTrue(MPI.Request.Waitall([]))
        self.assertEqual(MPI.Request.Waitany([]), MPI.UNDEFINED)
        self.assertIsNone(MPI.Request.Waitsome([MPI.REQUEST_NULL]))
        with self.assertRaises(TypeError):
            MPI.Request.Waitall([MPI.COMM_SELF])

    def test_generalized_request(self):
        seen = []

        def query(status, name):
            seen.append(("query", name))
            status.tag = 7

        request = MPI.Grequest.Start(
            query, lambda name: seen.append(("free", name)), args=("x",)
        )
        self.assertFalse(request.Test())
        request.complete("result")
        status = MPI.Status()
        self.assertEqual(request.wait(status), "result")
        self.assertEqual(status.tag, 7)
        self.assertEqual(seen, [("query", "x"), ("free", "x")])
        self.assertFalse(request)


if __name__ == "__main__":
    unittest.main()
