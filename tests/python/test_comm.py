"""Communicators: construction, facts, attributes, error handlers."""

import unittest

from phalanx import MPI

WORLD = MPI.COMM_WORLD


class TestComm(unittest.TestCase):
    def test_split_groups_by_color_and_orders_by_key(self):
        rank, size = WORLD.rank, WORLD.size
        half = WORLD.Split(rank % 2, -rank)
        members = [r for r in reversed(range(size)) if r % 2 == rank % 2]
        self.assertEqual(half.allgather(rank), members)
        half.Free()

    def test_split_undefined_gives_null(self):
        comm = WORLD.Split(MPI.UNDEFINED if WORLD.rank else 0)
        self.assertEqual(bool(comm), WORLD.rank == 0)
        self.assertIsInstance(comm, MPI.Intracomm)
        comm.free()

    def test_facts_follow_the_handle(self):
        comm = WORLD.Dup()
        self.assertEqual((comm.rank, comm.size), (WORLD.rank, WORLD.size))
        comm.Free()
        with self.assertRaises(MPI.Exception) as caught:
            comm.size  # noqa: B018
        self.assertEqual(caught.exception.error_class, MPI.ERR_COMM)

    def test_idup_is_usable_after_the_wait(self):
        comm, request = WORLD.Idup()
        request.Wait()
        self.assertEqual(comm.allreduce(1), WORLD.size)
        comm.Free()

    def test_create_group_of_even_ranks(self):
        world = WORLD.Get_group()
        evens = world.Incl(range(0, WORLD.size, 2))
        if WORLD.rank % 2 == 0:
            comm = WORLD.Create_group(evens)
            self.assertEqual(comm.allgather(WORLD.rank), list(range(0, WORLD.size, 2)))
            comm.Free()
        evens.Free()
        world.Free()

    def test_name(self):
        comm = MPI.COMM_SELF.Dup()
        comm.name = "private"
        self.assertEqual(comm.Get_name(), "private")
        comm.Free()

    def test_intercomm_between_halves(self):
        if WORLD.size < 2:
            self.skipTest("needs two ranks")
        side = WORLD.rank % 2
        local = WORLD.Split(side)
        inter = local.Create_intercomm(0, WORLD, 1 - side)
        self.assertTrue(inter.is_inter)
        self.assertEqual(inter.remote_size, WORLD.size - local.size)
        merged = inter.Merge(high=side == 1)
        self.assertEqual(merged.size, WORLD.size)
        self.assertEqual(merged.rank < merged.size - inter.remote_size, side == 0)
        merged.Free()
        inter.Free()
        local.Free()


class TestAttributes(unittest.TestCase):
    def test_predefined(self):
        self.assertGreaterEqual(WORLD.Get_attr(MPI.TAG_UB), 32767)

    def test_copy_and_delete_functions(self):
        seen = []

        def copied(comm, key, value):
            return [*value, "copy"]

        def deleted(comm, key, value):
            seen.append(value)

        key = MPI.Comm.Create_keyval(copied, deleted)
        comm = MPI.COMM_SELF.Dup()
        comm.Set_attr(key, ["first"])
        twin = comm.Dup()
        self.assertEqual(twin.Get_attr(key), ["first", "copy"])
        twin.Free()
        self.assertEqual(seen, [["first", "copy"]])
        comm.Delete_attr(key)
        self.assertIsNone(comm.Get_attr(key))
        self.assertEqual(seen, [["first", "copy"], ["first"]])
        comm.Free()
        self.assertEqual(MPI.Comm.Free_keyval(key), MPI.KEYVAL_INVALID)

    def test_without_copy_function_a_duplicate_has_no_value(self):
        key = MPI.Comm.Create_keyval()
        comm = MPI.COMM_SELF.Dup()
        comm.Set_attr(key, object())
        twin = comm.Dup()
        self.assertIsNone(twin.Get_attr(key))
        twin.Free()
        comm.Free()
        MPI.Comm.Free_keyval(key)


class TestErrors(unittest.TestCase):
    def test_an_error_is_an_exception_with_class_and_text(self):
        with self.assertRaises(MPI.Exception) as caught:
            WORLD.Send(b"x", dest=WORLD.size)
        error = caught.exception
        self.assertEqual(error.Get_error_class(), MPI.ERR_RANK)
        self.assertEqual(int(error), error.Get_error_code())
        self.assertEqual(str(error), MPI.Get_error_string(error.error_code))

    def test_error_handler_function_gets_object_and_code(self):
        calls = []
        handler = MPI.Comm.Create_errhandler(
            lambda comm, code: calls.append((comm.rank, code))
        )
        comm = WORLD.Dup()
        comm.Set_errhandler(handler)
        comm.Call_errhandler(MPI.ERR_OTHER)
        self.assertEqual(calls, [(WORLD.rank, MPI.ERR_OTHER)])
        handler.Free()
        comm.Free()

    def test_error_handlers_without_number(self):
        calls = []
        comm = WORLD.Dup()
        handlers = [
            MPI.Comm.Create_errhandler(lambda comm, code, i=i: calls.append(i))
            for i in range(100)
        ]
        for handler in handlers:
            comm.Set_errhandler(handler)
            comm.Call_errhandler(MPI.ERR_OTHER)
            handler.Free()
        # The last one is freed, and still the communicator's.
        comm.Call_errhandler(MPI.ERR_OTHER)
        self.assertEqual(calls, [*range(100), 99])
        comm.Free()

    def test_an_error_handler_is_made_of_one_function_again_and_again(self):
        calls = []

        def note(comm, code):
            calls.append(code)

        comm = WORLD.Dup()
        for _ in range(1000):
            handler = MPI.Comm.Create_errhandler(note)
            comm.Set_errhandler(handler)
            handler.Free()
        comm.Call_errhandler(MPI.ERR_OTHER)
        self.assertEqual(calls, [MPI.ERR_OTHER])
        comm.Free()

    def test_a_freed_error_handler_keeps_its_function_while_something_has_it(self):
        calls = []
        kept, copied = WORLD.Dup(), WORLD.Dup()
        handler = MPI.Comm.Create_errhandler(lambda comm, code: calls.append("kept"))
        kept.Set_errhandler(handler)
        handler.Free()
        again = kept.Get_errhandler()
        copied.Set_errhandler(again)
        again.Free()
        kept.Free()
        for i in range(200):
            other = MPI.Comm.Create_errhandler(lambda c, e, i=i: calls.append(i))
            other.Free()
        copied.Call_errhandler(MPI.ERR_OTHER)
        self.assertEqual(calls, ["kept"])
        copied.Free()

    def test_new_communicators_return_errors(self):
        comm = WORLD.Dup()
        handler = comm.Get_errhandler()
        self.assertEqual(handler, MPI.ERRORS_RETURN)
        handler.Free()
        comm.Free()


if __name__ == "__main__":
    unittest.main()
