"""Unmodified scripts and commands are answered by Phalanx, and by nobody else."""

import json
import os
import re
import subprocess
import sys
import unittest
from pathlib import Path

from jobs import PHALANX, WATCHDOG, JobCase

REPORT = """
from mpi4py import MPI
import mpi4py.MPI, phalanx.MPI
assert MPI is mpi4py.MPI is phalanx.MPI
print(MPI.Get_library_version().split()[0], MPI.COMM_WORLD.size, flush=True)
"""


class TestDoors(JobCase):
    def setUp(self) -> None:
        super().setUp()
        self.script = Path(self.folder, "script.py")
        self.script.write_text(REPORT)

    def check(self, *command: str, ranks: int) -> None:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=WATCHDOG, cwd=self.folder
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(done.stdout.splitlines(), [f"Phalanx {ranks}"] * ranks)

    def test_scripts_under_run(self):
        self.check(PHALANX, "run", "-n", "2", "script.py", ranks=2)

    def test_launchers_in_a_shell(self):
        for name in ("mpiexec", "mpirun"):
            with self.subTest(name=name):
                command = f"{name} -n 2 python3 script.py"
                self.check(PHALANX, "shell", "-c", command, ranks=2)

    def test_no_launcher_in_a_shell(self):
        self.check(PHALANX, "shell", "-c", "python3 script.py", ranks=1)

    def test_a_python_that_phalanx_is_not_installed_for(self):
        other = str(Path(sys.base_prefix, "bin", "python3"))
        code = "import importlib.util as u; print(u.find_spec('phalanx'))"
        found = subprocess.run([other, "-c", code], capture_output=True, text=True)
        if found.stdout.strip() != "None":
            self.skipTest(f"Phalanx is installed for {other}")
        self.check(PHALANX, "run", "-n", "2", other, "script.py", ranks=2)

    def test_however_the_search_path_is_set(self):
        run = (PHALANX, "run", "-n", "2")
        wrapper = Path(self.folder, "wrapper.sh")
        wrapper.write_text('export PYTHONPATH=src\nexec "$@"\n')
        python = (sys.executable, "script.py")
        shell = (PHALANX, "shell", "-c", "PYTHONPATH=src python3 -I script.py")
        self.check(*run, "-x", "PYTHONPATH=src", *python, ranks=2)
        self.check(*run, "-genv", "PYTHONPATH", "src", *python, ranks=2)
        self.check(*run, "-env", "PYTHONPATH", "src", *python, ranks=2)
        self.check(*run, "sh", "wrapper.sh", *python, ranks=2)
        self.check(*run, "env", "-u", "PYTHONPATH", *python, ranks=2)
        self.check(*run, sys.executable, "-I", "script.py", ranks=2)
        self.check(*shell, ranks=1)

    def test_the_search_path_reaches_the_script(self):
        Path(self.folder, "src").mkdir()
        Path(self.folder, "src", "helper.py").write_text("NAME = 'mine'\n")
        script = "import mpi4py, helper\nprint(helper.NAME)\n"
        ended = self.run_job(2, script, "-x", "PYTHONPATH=src")
        self.assertEqual((ended.status, ended.out), (0, "mine\n" * 2), ended.text)

    def test_what_scripts_ask_of_the_module(self):
        ended = self.run_job(
            1,
            "import ctypes, importlib.metadata, os\n"
            "import mpi4py\n"
            "from mpi4py import MPI\n"
            "version = importlib.metadata.version('mpi4py')\n"
            "assert version == mpi4py.__version__, version\n"
            "assert os.path.isfile(MPI.__file__), MPI.__file__\n"
            "size = ctypes.c_int()\n"
            "library = ctypes.CDLL(MPI.__file__)\n"
            "world = ctypes.c_void_p(MPI.COMM_WORLD.handle)\n"
            "assert library.MPI_Comm_size(world, ctypes.byref(size)) == 0\n"
            "assert size.value == 1, size\n"
            "assert MPI.Exception.__module__ == 'phalanx.MPI'\n",
        )
        self.assertEqual(ended.status, 0, ended.text)

    def test_without_the_launcher_there_is_no_door(self):
        code = "import importlib.util as u, sys; print(u.find_spec('mpi4py'), sys.path)"
        env = {k: v for k, v in os.environ.items() if k != "PHALANX_LAUNCHER"}
        env["PHALANX_DOORS"] = "mpi4py,multiprocessing"
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, env=env)
        self.assertNotIn("doors", done.stdout, done.stderr)

    def test_doors_that_are_closed_inside_open_ones(self):
        code = "import importlib.util as u; print('at', u.find_spec('mpi4py'))"
        Path(self.folder, "look.py").write_text(code)
        inner = f"{PHALANX} run --no-doors look.py"
        for flag in ("--doors=mpi4py", "--doors=multiprocessing"):
            done = subprocess.run(
                [PHALANX, "shell", flag, "-c", inner],
                capture_output=True,
                text=True,
                timeout=WATCHDOG,
                cwd=self.folder,
            )
            self.assertIn("at ", done.stdout, done.stderr)
            self.assertNotIn("doors", done.stdout)

    def test_closed_doors_answer_nothing(self):
        ended = self.run_job(
            1,
            "import importlib.util as u, os\n"
            "found = u.find_spec('mpi4py')\n"
            "assert found is None or 'doors' not in str(found.origin), found\n"
            "assert 'doors' not in os.environ['PATH']\n",
            "--no-doors",
        )
        self.assertEqual(ended.status, 0, ended.text)


class TestDoctor(JobCase):
    def ask(self, flag: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PHALANX, "doctor", *filter(None, [flag])],
            capture_output=True,
            text=True,
            timeout=WATCHDOG,
            env={**os.environ, "PHALANX_DOORS": "", **env},
        )

    def findings(self, **env: str) -> dict[str, tuple[str, str, str]]:
        """Verdict, text and advice by what was looked at."""
        listed = json.loads(self.ask("--json", **env).stdout)
        return {
            item["name"]: (item["verdict"], item["text"], item["advice"])
            for item in listed
        }

    def test_it_finds_nothing_wrong(self):
        done = self.ask()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("all is well", done.stdout)
        self.assertIn("embedded engine", " ".join(done.stdout.split()))

    def test_its_lines_fit_eighty_columns_but_for_paths(self):
        for line in self.ask(PHALANX_DOORS="off").stdout.splitlines():
            with self.subTest(line=line):
                alone = re.fullmatch(r"(ok|note|WRONG)? +([a-z ]+ )?/\S+", line)
                self.assertTrue(len(line) <= 80 or alone)

    def test_it_tells_of_pools(self):
        found = self.findings()
        verdict, text, _ = found["pools"]
        self.assertEqual(verdict, "ok")
        self.assertIn("_workers", text)
        self.assertIn("closed", found["pool door"][1])

    def test_it_tells_what_pools_lack(self):
        for name, code, verdict, advice in (
            ("cloudpickle", "raise ImportError('gone')", "note", "pip install"),
            ("cloudpickle", "__version__ = '2.2.1'; __path__ = ['/']", "note", "pip"),
            ("pools", "", "wrong", "install the wheel again"),
        ):
            folder = Path(self.folder, f"{name}{len(code)}")
            folder.mkdir()
            site = "import sys; sys.modules['phalanx._workers'] = None"
            (folder / "sitecustomize.py").write_text("" if code else site)
            if code:
                (folder / "cloudpickle.py").write_text(code)
            with self.subTest(name=name, code=code):
                found = self.findings(PYTHONPATH=str(folder))[name]
                self.assertEqual(found[0], verdict, found)
                self.assertIn(advice, found[2])

    def test_it_tells_which_doors_are_open(self):
        for doors, verdict, says in (
            ("multiprocessing", "ok", "Phalanx's under 'phalanx run'"),
            ("off", "note", "closes every door"),
            ("threading", "wrong", "no door 'threading'"),
        ):
            with self.subTest(doors=doors):
                found = self.findings(PHALANX_DOORS=doors)["pool door"]
                self.assertEqual(found[0], verdict, found)
                self.assertIn(says, found[1])


# Who answers in the script, in its children of every kind, and in a command it runs.
MULTIPROCESSING = """
import multiprocessing, os, subprocess, sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import SpawnContext
import sitecustomize

def answers():
    names = [multiprocessing.Process, multiprocessing.get_context().Process]
    return {name.__module__.partition(".")[0] for name in names}

def report(end):
    end.send(answers())

if __name__ == "__main__":
    seen = answers()
    assert isinstance(multiprocessing.get_context("spawn"), SpawnContext)
    seen.add(ProcessPoolExecutor.__module__.partition(".")[0])
    for method in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context(method)
        mine, other = context.Pipe()
        process = context.Process(target=report, args=(other,))
        process.start()
        seen |= mine.recv()
        process.join()
    command = [sys.executable, "-c", "import multiprocessing as m; print(m.Process)"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seen.add(done.stdout.split("'")[1].partition(".")[0])
    own = sitecustomize.__spec__.origin.startswith(os.getcwd())
    print(sorted(seen), own and getattr(sitecustomize, "MARK", None))
"""


class TestMultiprocessingDoor(JobCase):
    def setUp(self) -> None:
        super().setUp()
        Path(self.folder, "script.py").write_text(MULTIPROCESSING)
        Path(self.folder, "sitecustomize.py").write_text('MARK = "the user\'s own"\n')

    def check(self, *command: str, env: dict[str, str], answers: list[str]) -> None:
        path = os.pathsep.join([self.folder, os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=WATCHDOG,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": path, **env},
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(done.stdout.strip(), f"{answers} the user's own")

    def test_it_is_closed_unless_asked_for(self):
        std = ["concurrent", "multiprocessing"]
        self.check(PHALANX, "run", "script.py", env={}, answers=std)
        closed = {"PHALANX_DOORS": "multiprocessing"}
        command = (PHALANX, "run", "--no-doors", "script.py")
        self.check(*command, env=closed, answers=std)

    def test_it_reaches_the_script_and_its_children(self):
        flag = (PHALANX, "run", "--doors", "multiprocessing", "script.py")
        self.check(*flag, env={}, answers=["phalanx"])
        variable = {"PHALANX_DOORS": "multiprocessing"}
        self.check(PHALANX, "run", "script.py", env=variable, answers=["phalanx"])

    def test_it_is_open_in_a_shell(self):
        shell = (PHALANX, "shell", "--doors=multiprocessing", "-c", "python3 script.py")
        self.check(*shell, env={}, answers=["phalanx"])

    def test_a_shell_can_close_it_again(self):
        inner = "PHALANX_DOORS=off python3 script.py"
        shell = (PHALANX, "shell", "--doors=multiprocessing", "-c", inner)
        self.check(*shell, env={}, answers=["concurrent", "multiprocessing"])

    def test_an_unknown_door_is_refused(self):
        done = subprocess.run(
            [PHALANX, "run", "--doors", "threading", "script.py"],
            capture_output=True,
            text=True,
            timeout=WATCHDOG,
        )
        self.assertEqual(done.returncode, 2)
        self.assertIn("no door 'threading'", done.stderr)
        self.assertLessEqual(len(done.stderr), 81)


if __name__ == "__main__":
    unittest.main()
