"""C functions: handles that pickle, arrays as arguments, slices on threads."""

import array
import copy
import ctypes
import os
import pickle
import signal
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
import phalanx.multiprocessing as mp
from phalanx import native, shared
from phalanx.multiprocessing._placement import usable_cpus
from phalanx.multiprocessing.errors import WorkerLostError
from phalanx.native import CFunc
from watch import HereCase

SOURCE = """
#include <complex.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

struct point { double x, y; };

void scale(double *x, size_t n, double factor) {
    for (size_t i = 0; i < n; i++) x[i] *= factor;
}
double sum(const double *x, size_t n) {
    double s = 0;
    for (size_t i = 0; i < n; i++) s += x[i];
    return s;
}
void axpy(double *y, const double *x, int64_t n, double a) {
    for (int64_t i = 0; i < n; i++) y[i] += a * x[i];
}
void look_up(int32_t *x, size_t n, const int32_t *table, int size) {
    for (size_t i = 0; i < n; i++) x[i] = table[x[i] % size];
}
void row_sums(double *out, const double *rows, size_t n, size_t width) {
    for (size_t i = 0; i < n; i++) {
        out[i] = 0;
        for (size_t j = 0; j < width; j++) out[i] += rows[i * width + j];
    }
}
void conjugate(double complex *z, size_t n) {
    for (size_t i = 0; i < n; i++) z[i] = conj(z[i]);
}
long address(const void *p) { return (long)p; }
double norm(const struct point *p) { return p->x * p->x + p->y * p->y; }
long whole(unsigned long int big, int32_t small) { return (long)big + small; }
int call(int (*function)(int), int value) { return function(value); }
void slow(double *x, size_t n, int32_t *inside) {
    __atomic_add_fetch(inside, 1, __ATOMIC_SEQ_CST);
    usleep(300000);
    for (size_t i = 0; i < n; i++) x[i] = 1;
    __atomic_sub_fetch(inside, 1, __ATOMIC_SEQ_CST);
}
int count_letters(const char *text) { int n = 0; while (text[n]) n++; return n; }
/* Ends when all of `wanted` threads are inside at once. */
int meet(int32_t *inside, size_t n, int32_t *count, int wanted) {
    (void)n; inside[0] = 1;
    __atomic_add_fetch(count, 1, __ATOMIC_SEQ_CST);
    for (int turn = 0; turn < 20000; turn++) {
        if (__atomic_load_n(count, __ATOMIC_SEQ_CST) >= wanted) return 1;
        usleep(1000);
    }
    return 0;
}
"""


class Native(HereCase):
    folder: tempfile.TemporaryDirectory

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = tempfile.TemporaryDirectory()
        source = Path(cls.folder.name, "code.c")
        source.write_text(SOURCE)
        cls.library = str(source.with_name("libcode.so"))
        command = ["cc", "-O2", "-shared", "-fPIC", "-o", cls.library, str(source)]
        subprocess.run(command, check=True)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.folder.cleanup()

    def function(self, name: str, result: object, *kinds: object) -> CFunc:
        return CFunc(self.library, name, result, kinds)

    def test_a_call_changes_the_array_in_place(self) -> None:
        scale = self.function("scale", "void", "double*", "size_t", "double")
        x = np.arange(5.0)
        self.assertIsNone(scale(x, len(x), 2))
        np.testing.assert_array_equal(x, [0, 2, 4, 6, 8])
        scale(x[1:3], 2, 10.0)
        np.testing.assert_array_equal(x, [0, 20, 40, 6, 8])

    def test_ctypes_types_and_functions_of_the_system(self) -> None:
        cosine = CFunc("libm.so.6", "cos", ctypes.c_double, [ctypes.c_double])
        self.assertEqual(cosine(0.0), 1.0)
        pointer = ctypes.POINTER(ctypes.c_double)
        total = self.function("sum", ctypes.c_double, pointer, ctypes.c_size_t)
        self.assertEqual(total(np.ones(7), 7), 7.0)
        self.assertEqual(total((ctypes.c_double * 3)(1, 2, 3), 3), 6.0)
        self.assertEqual(pickle.loads(pickle.dumps(total))(np.ones(7), 7), 7.0)

    def test_what_may_be_passed_for_a_pointer(self) -> None:
        address = self.function("address", "long", "const void*")
        x = np.arange(3)
        self.assertEqual(address(x), x.ctypes.data)
        self.assertEqual(address(None), 0)
        self.assertEqual(address(77), 77)
        total = self.function("sum", "double", "const double*", "size_t")
        self.assertEqual(total(array.array("d", [1, 2]), 2), 3.0)
        self.assertEqual(total(memoryview(bytearray(16)).cast("d"), 2), 0.0)
        letters = self.function("count_letters", "int", "const char*")
        self.assertEqual(letters(b"four"), 4)
        conjugate = self.function("conjugate", "void", "double complex*", "size_t")
        z = np.array([1 + 2j])
        conjugate(z, 1)
        self.assertEqual(z[0], 1 - 2j)

    def test_arrays_that_do_not_fit_are_refused(self) -> None:
        scale = self.function("scale", "void", "double*", "size_t", "double")
        total = self.function("sum", "double", "const double*", "size_t")
        with self.assertRaisesRegex(TypeError, "argument 1 of .*double.*int64 given"):
            scale(np.arange(3), 3, 1.0)
        with self.assertRaisesRegex(ValueError, "argument 1 of .*not contiguous"):
            scale(np.arange(6.0)[::2], 3, 1.0)
        fixed = np.ones(3)
        fixed.flags.writeable = False
        with self.assertRaisesRegex(TypeError, 'read-only.*"const double'):
            scale(fixed, 3, 1.0)
        self.assertEqual(total(fixed, 3), 3.0)
        with self.assertRaisesRegex(TypeError, "other order"):
            total(np.ones(3, ">f8"), 3)
        with self.assertRaisesRegex(TypeError, "2 arguments wanted, 1 given"):
            total(fixed)
        with self.assertRaisesRegex(TypeError, "'vector' is not a C type"):
            self.function("sum", "double", "vector")

    def test_a_struct_is_a_record(self) -> None:
        norm = self.function("norm", "double", "const struct point*")
        points = np.array([(3.0, 4.0)], [("x", "f8"), ("y", "f8")])
        self.assertEqual(norm(points), 25.0)
        with self.assertRaisesRegex(TypeError, "'struct point'.*has records"):
            norm(np.array([3.0, 4.0]))
        with self.assertRaisesRegex(TypeError, "'doubel' is no type of numbers"):
            self.function("sum", "double", "doubel*", "size_t")(np.ones(3), 3)

        class Point(ctypes.Structure):
            _fields_ = (("x", ctypes.c_double), ("y", ctypes.c_double))

        by_class = self.function("norm", "double", ctypes.POINTER(Point))
        self.assertEqual(by_class(Point(1, 2)), 5.0)
        self.assertEqual(by_class(ctypes.byref(Point(2, 2))), 8.0)

    def test_declarations_as_in_c(self) -> None:
        kinds = ("unsigned long int", "signed int")
        self.assertEqual(self.function("whole", "long int", *kinds)(2, -3), -1)
        volatile = "volatile double * __restrict"
        with self.assertRaisesRegex(TypeError, "int64 given"):
            self.function("sum", "double", volatile, "size_t")(np.arange(3), 3)
        with self.assertRaisesRegex(TypeError, "double"):
            self.function("sum", "double", "const double*", "size_t")(
                (ctypes.c_int * 2)(), 2
            )

    def test_scalars_have_to_fit(self) -> None:
        whole = self.function("whole", "long", "unsigned long", "int32_t")
        self.assertEqual(whole(np.int64(5), np.uint8(3)), 8)
        with self.assertRaisesRegex(OverflowError, "argument 2 of .*whole.*range"):
            whole(1, 2**40)
        with self.assertRaisesRegex(OverflowError, "argument 1 .*range from 0"):
            whole(-1, 0)
        with self.assertRaisesRegex(TypeError, "argument 1 .*unsigned long wanted"):
            whole(1.5, 0)

    def test_functions_of_python_as_arguments(self) -> None:
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
        double = kind(lambda value: 2 * value)
        self.assertEqual(self.function("call", "int", kind, "int")(double, 4), 8)
        self.assertEqual(self.function("call", "int", "void*", "int")(double, 4), 8)

    def test_two_handles_to_one_function_are_two(self) -> None:
        wide = CFunc("libc.so.6", "labs", "long", ["long"])
        self.assertEqual(wide(-(2**40)), 2**40)
        self.assertEqual(CFunc("libc.so.6", "labs", "int", ["long"])(-5), 5)
        self.assertEqual(wide(-(2**40)), 2**40)

    def test_handles_pickle_and_compare(self) -> None:
        scale = self.function("scale", "void", "double*", "size_t", "double")
        x = np.ones(2)
        for other in (copy.copy(scale), pickle.loads(pickle.dumps(scale))):
            self.assertEqual(other, scale)
            self.assertEqual(hash(other), hash(scale))
            other(x, 2, 2.0)
        np.testing.assert_array_equal(x, [4, 4])
        self.assertIn("void scale(double*, size_t, double)", repr(scale))

    def test_a_relative_path_means_the_same_file_everywhere(self) -> None:
        before = os.getcwd()
        os.chdir(self.folder.name)
        try:
            total = CFunc("libcode.so", "sum", "double", ["const double*", "size_t"])
        finally:
            os.chdir(before)
        self.assertEqual(total(np.ones(3), 3), 3.0)

    def test_missing_libraries_and_functions_say_what_to_do(self) -> None:
        nowhere = CFunc(self.folder.name + "/libgone.so", "f")
        with self.assertRaisesRegex(FileNotFoundError, "cc .*-shared.*gone.c"):
            nowhere()
        with self.assertRaisesRegex(OSError, "libgone.so cannot be loaded"):
            CFunc("libgone.so", "f")()
        text = Path(self.folder.name, "code.c")
        with self.assertRaisesRegex(OSError, "cannot be loaded.*ELF"):
            CFunc(text, "f")()
        with self.assertRaisesRegex(AttributeError, 'no function.*extern "C"'):
            CFunc(self.library, "gone")()

    def test_map_cuts_arrays_and_returns_results_in_order(self) -> None:
        scale = self.function("scale", "void", "double*", "size_t", "double")
        total = self.function("sum", "double", "const double*", "size_t")
        for length in (1, 2, 7, 1000, 1001):
            for threads in (1, 2, 5):
                x = np.arange(float(length))
                native.map(scale, x, extra=[3.0], threads=threads)
                np.testing.assert_array_equal(x, 3.0 * np.arange(length))
                parts = native.map(total, x, threads=threads, chunk=10)
                expected = [x[at : at + 10].sum() for at in range(0, length, 10)]
                self.assertEqual(parts, expected)
        self.assertEqual(native.map(total, np.empty(0)), [])

    def test_map_with_several_arrays_rows_and_tables(self) -> None:
        kinds = ("double*", "const double*", "int64_t", "double")
        axpy = self.function("axpy", "void", *kinds)
        y, x = np.ones(100), np.arange(100.0)
        native.map(axpy, y, x, extra=[2.0], chunk=7)
        np.testing.assert_array_equal(y, 1 + 2 * x)
        kinds = ("int32_t*", "size_t", "const int32_t*", "int")
        look_up = self.function("look_up", "void", *kinds)
        table = np.array([5, 6, 7], np.int32)
        codes = np.arange(50, dtype=np.int32)
        native.map(look_up, codes, extra=[table, 3], chunk=4)
        np.testing.assert_array_equal(codes, table[np.arange(50) % 3])
        kinds = ("double*", "const double*", "size_t", "size_t")
        row_sums = self.function("row_sums", "void", *kinds)
        rows = np.arange(60.0).reshape(20, 3)
        sums = np.empty(20)
        native.map(row_sums, sums, rows, extra=[3], chunk=6)
        np.testing.assert_array_equal(sums, rows.sum(axis=1))

    def test_map_runs_on_several_threads_at_once(self) -> None:
        kinds = ("int32_t*", "size_t", "int32_t*", "int")
        meet = self.function("meet", "int", *kinds)
        count = np.zeros(1, np.int32)
        inside = np.zeros(4, np.int32)
        before = threading.active_count()
        done = native.map(meet, inside, extra=[count, 4], threads=4, chunk=1)
        self.assertEqual(done, [1, 1, 1, 1])
        self.assertEqual(threading.active_count(), before)

    def test_map_goes_on_with_the_threads_it_can_start(self) -> None:
        slow = self.function("slow", "void", "double*", "size_t", "int32_t*")
        inside = np.zeros(1, np.int32)
        x = np.zeros(8)
        start, started = threading.Thread.start, []

        def refuse_the_third(thread: threading.Thread) -> None:
            if len(started) == 2:
                raise RuntimeError("can't start new thread")
            started.append(thread)
            start(thread)

        with mock.patch.object(threading.Thread, "start", refuse_the_third):
            native.map(slow, x, threads=8, chunk=2, extra=[inside])
        self.assertEqual(x.tolist(), [1.0] * 8)
        self.assertEqual(inside[0], 0)

    def test_map_is_over_when_an_interrupt_is_raised(self) -> None:
        slow = self.function("slow", "void", "double*", "size_t", "int32_t*")
        inside = np.zeros(1, np.int32)
        interrupt = signal.default_int_handler
        self.addCleanup(signal.signal, signal.SIGALRM, signal.SIG_DFL)
        signal.signal(signal.SIGALRM, lambda *_: interrupt(signal.SIGINT, None))
        for delay in (0.0002, 0.02, 0.2):
            with self.assertRaises(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, delay)
                native.map(slow, np.zeros(400), threads=4, extra=[inside])
                time.sleep(1)
            self.assertEqual(inside[0], 0)

    def test_map_refuses_what_the_function_does_not_take(self) -> None:
        scale = self.function("scale", "void", "double*", "size_t", "double")
        with self.assertRaisesRegex(TypeError, "are 2, the function has 3"):
            native.map(scale, np.ones(3))
        with self.assertRaisesRegex(TypeError, "at least one array"):
            native.map(scale)
        kinds = ("double*", "const double*", "int64_t", "double")
        axpy = self.function("axpy", "void", *kinds)
        with self.assertRaisesRegex(ValueError, "3 and 4 rows"):
            native.map(axpy, np.ones(3), np.ones(4), extra=[1.0])
        with self.assertRaisesRegex(ValueError, "chunk=0"):
            native.map(scale, np.ones(3), extra=[1.0], chunk=0)
        with self.assertRaisesRegex(TypeError, "argument 3 .*double wanted, str given"):
            native.map(scale, np.ones(3), extra=["two"])
        with self.assertRaisesRegex(TypeError, "a list is no array"):
            native.map(scale, [1.0, 2.0], extra=[1.0])
        with self.assertRaisesRegex(TypeError, "needs argtypes"):
            native.map(CFunc(self.library, "scale"), np.ones(3))

    def test_workers_call_functions_on_shared_arrays(self) -> None:
        kinds = ("double*", "size_t", "double")
        scale = self.function("scale", "void", *kinds)
        total = self.function("sum", "double", "const double*", "size_t")
        crash = self.function("count_letters", "int", "const char*")
        for method in ("fork", "spawn"):
            x = shared.copy(np.arange(1000.0))
            with mp.get_context(method).Pool(2) as pool:
                parts = [(x[at : at + 100], 100, 2.0) for at in range(0, 1000, 100)]
                pool.starmap(scale, parts)
                np.testing.assert_array_equal(x, 2.0 * np.arange(1000))
                sums = pool.starmap(total, [(part, 100) for part, _, _ in parts])
                self.assertEqual(sum(sums), x.sum())
                with self.assertRaisesRegex(WorkerLostError, "SIGSEGV"):
                    pool.apply(crash, (8,))
                self.assertEqual(pool.apply(crash, (b"abc",)), 3)

    def test_threads_follow_the_environment(self) -> None:
        before = os.environ.get("OMP_NUM_THREADS")
        os.environ["OMP_NUM_THREADS"] = "3,2"
        try:
            self.assertEqual(native._default_threads(), 3)
            os.environ["OMP_NUM_THREADS"] = ""
            self.assertEqual(native._default_threads(), usable_cpus())
        finally:
            del os.environ["OMP_NUM_THREADS"]
            if before is not None:
                os.environ["OMP_NUM_THREADS"] = before


if __name__ == "__main__":
    unittest.main()
