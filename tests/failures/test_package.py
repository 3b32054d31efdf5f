"""Command lines of the package, and C code that is compiled for mpi4py."""

import os
import subprocess
import sys
import sysconfig
import unittest
from pathlib import Path

from jobs import PHALANX, WATCHDOG, JobCase

CODE = r"""
#include <mpi4py/mpi4py.h>

static PyObject *look(PyObject *self, PyObject *object)
{
    int size, rank = MPI_PROC_NULL;
    MPI_Comm *comm, copy;
    if (PyMPIComm_Get == NULL && import_mpi4py() < 0) return NULL;
    comm = PyMPIComm_Get(object);
    if (comm == NULL) return NULL;
    MPI_Comm_size(*comm, &size);
    MPI_Comm_rank(*comm, &rank);
    MPI_Comm_dup(*comm, &copy);
    return Py_BuildValue("iiiN", PyObject_TypeCheck(object, &PyMPIIntracomm_Type), size,
                         rank, PyMPIComm_New(copy));
}

static PyObject *source(PyObject *self, PyObject *object)
{
    MPI_Status *status;
    if (import_mpi4py() < 0) return NULL;
    status = PyMPIStatus_Get(object);
    if (status == NULL) return NULL;
    status->MPI_TAG = 7;
    return PyLong_FromLong(status->MPI_SOURCE);
}

static PyMethodDef methods[] = {
    {"look", look, METH_O, ""}, {"source", source, METH_O, ""}, {0}};
static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "compiled", "", -1, methods};
PyMODINIT_FUNC PyInit_compiled(void) { return PyModule_Create(&module); }
"""

USE = """
from mpi4py import MPI
import compiled
comm = MPI.COMM_WORLD
intra, size, rank, copy = compiled.look(comm)
assert (intra, size, rank) == (1, comm.size, comm.rank)
assert type(copy) is MPI.Intracomm and MPI.Comm.Compare(comm, copy) == MPI.CONGRUENT
copy.Free()
cart = comm.Create_cart([comm.size])
copy = compiled.look(cart)[3]
assert type(copy) is MPI.Cartcomm, copy
copy.Free()
status = MPI.Status()
status.source = 3
assert compiled.source(status) == 3 and status.tag == 7
try:
    compiled.look(status)
except TypeError as error:
    assert "mpi4py.MPI.Comm" in str(error), error
    print("used", flush=True)
"""

# Where compiled code finds a handle: just behind the head of an object.
PLACES = """
from mpi4py import MPI
objects = [MPI.COMM_WORLD, MPI.INT, MPI.Status(), MPI.REQUEST_NULL, MPI.Prequest()]
objects += [MPI.Grequest(), MPI.MESSAGE_NULL, MPI.SUM, MPI.GROUP_EMPTY, MPI.INFO_NULL]
objects += [MPI.ERRHANDLER_NULL, MPI.SESSION_NULL, MPI.WIN_NULL, MPI.FILE_NULL]
objects += [MPI.COMM_SELF.Create_cart([1]), MPI.Intercomm()]
for thing in objects:
    assert MPI._addressof(thing) - id(thing) == object.__basicsize__, thing
print("placed", flush=True)
"""


class TestCodeCompiledForMpi4py(JobCase):
    def test_c_code_gets_and_makes_objects(self):
        include = Path(sysconfig.get_path("include"))
        if not (include / "Python.h").exists():
            self.skipTest("this Python has no headers")
        script = (
            "import mpi4py; print(mpi4py.get_include()); "
            "print(mpi4py.get_config()['mpicc'])"
        )
        found = self.run_job(1, script)
        headers, compiler = found.out.split()
        self.assertTrue(Path(headers, "mpi4py", "mpi4py.h").is_file())
        source = Path(self.folder, "compiled.c")
        source.write_text(CODE)
        flags = ["-shared", "-fPIC", "-Wall", "-Werror", f"-I{include}", f"-I{headers}"]
        made = subprocess.run(
            [compiler, *flags, str(source), "-o", f"{self.folder}/compiled.so"],
            env={**os.environ, "PHALANX_LAUNCHER": PHALANX},
            capture_output=True,
            text=True,
            timeout=WATCHDOG,
        )
        self.assertEqual(made.returncode, 0, made.stderr)
        for ranks in (1, 2, 3):
            ended = self.run_job(ranks, USE)
            self.assertEqual(ended.out.count("used"), ranks, ended.text)

    def test_a_handle_is_the_first_thing_in_its_object(self):
        ended = self.run_job(1, PLACES)
        self.assertIn("placed", ended.out, ended.text)


class TestTheCommandBench(JobCase):
    def bench(self, ranks: int, *arguments: str):
        command = [sys.executable, "-m", "mpi4py.bench", *arguments]
        return self.launch("-n", str(ranks), *command).end()

    def test_ranks_say_hello_in_order(self):
        ended = self.bench(3, "helloworld")
        self.assertEqual(ended.status, 0, ended.text)
        lines = ended.out.splitlines()
        self.assertEqual([line.split()[5] for line in lines], ["0", "1", "2"])
        self.assertEqual(self.bench(2, "helloworld", "-q").out, "")

    def test_a_message_goes_round(self):
        for ranks in (1, 2, 3):
            ended = self.bench(
                ranks, "--no-threads", "ringtest", "-n", "1000", "-l", "3"
            )
            self.assertEqual(ended.status, 0, ended.text)
            self.assertIn(f"({ranks} processes, 1000 bytes)", ended.out)

    def test_messages_and_tasks_have_a_row_for_each_size(self):
        few = ["-n", "4", "-l", "3", "-s", "1"]
        for kind in (["-a", "none"], ["-p"], ["-o", "--protocol", "4"]):
            ended = self.bench(2, "pingpong", *few, *kind)
            self.assertEqual(ended.status, 0, ended.text)
            rows = [line.split()[0] for line in ended.out.splitlines()]
            self.assertEqual(rows, ["#", "#", "1", "2", "4"], ended.text)
        for kind in (["-e", "thread", "-w", "1"], ["-e", "mpi", "-o"]):
            ended = self.bench(3, "futures", *few, *kind, "-t", "2", "-a", "bytes")
            self.assertEqual(ended.status, 0, ended.text)
            self.assertEqual(len(ended.out.splitlines()), 5, ended.text)

    def test_what_is_wrong_with_a_command_is_said(self):
        ended = self.bench(1, "pingpong", "--nothing")
        self.assertEqual(ended.status, 2, ended.text)
        self.assert_says(ended, "mpi4py.bench pingpong", "--nothing")
        self.assert_says(self.bench(1, "nothing"), "unknown command 'nothing'")
        self.assert_says(self.bench(1, "pingpong"), "needs two ranks")


if __name__ == "__main__":
    unittest.main()
