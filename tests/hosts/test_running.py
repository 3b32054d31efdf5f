"""Jobs on several hosts that run as they should, and those that are refused."""

import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from hosts import ENVIRONMENT, HOSTS, PHALANX, HostsTest, run

HELLO = """
import os, socket, sys
from mpi4py import MPI
comm = MPI.COMM_WORLD
total = comm.allreduce(comm.rank)
near = os.environ["MPI_LOCALRANKID"], os.environ["MPI_LOCALNRANKS"]
sys.stdout.write(
    f"{comm.rank} {comm.size} {socket.gethostname()} {total} {near[0]}/{near[1]}\\n"
)
"""


class Running(HostsTest):
    def hello(self, *words: str, **env: str) -> list[list[str]]:
        out = self.good(run(*words, self.script(HELLO), **env))
        return sorted(
            (line.split() for line in out.splitlines()), key=lambda w: int(w[0])
        )

    def test_hello_on_every_host(self):
        for count in sorted({1, 2, len(HOSTS)}):
            hosts = HOSTS[:count]
            lines = self.hello("--host", ",".join(f"{host}:2" for host in hosts))
            size = 2 * count
            total = str(size * (size - 1) // 2)
            expected = [
                [str(rank), str(size), hosts[rank // 2], total, f"{rank % 2}/2"]
                for rank in range(size)
            ]
            self.assertEqual(lines, expected)

    def test_this_machine_among_the_hosts(self):
        lines = self.hello("--host", "localhost:1,h1:2")
        self.assertEqual([line[2] for line in lines], ["h0", "h1", "h1"])

    def test_files_of_hosts(self):
        for text in ("h1:1\n# no\nh2:2\n", "h1 slots=1\nh2 slots=2 max_slots=4 # x\n"):
            path = self.folder / "hosts"
            path.write_text(text)
            lines = self.hello("--hostfile", str(path))
            self.assertEqual([line[2] for line in lines], ["h1", "h2", "h2"])
        path.write_text("h1\n\nh2\n")
        lines = self.hello("-n", "4", "--hostfile", str(path))
        self.assertEqual([line[2] for line in lines], ["h1", "h1", "h2", "h2"])

    def test_programs_that_need_no_library(self):
        out = self.good(run("--host", "h1:1,h2:1", "hostname"))
        self.assertEqual(sorted(out.split()), ["h1", "h2"])

    def test_several_programs(self):
        words = ["--host", "h1,h2", "-n", "1", "echo", "a", ":", "-n", "1", "echo", "b"]
        self.assertEqual(sorted(self.good(run(*words)).split()), ["a", "b"])

    def test_environment_and_directory(self):
        out = self.good(
            run(
                *("--host", "h1,h2", "--wdir", str(self.folder), "-x", "A=two words"),
                *("sh", "-c", 'echo "$A|$B|$(pwd)|$HOME|$PMI_RANK"'),
                B="inherited",
            )
        )
        home = os.environ.get("HOME", "")
        expected = [
            f"two words|inherited|{self.folder}|{home}|{rank}" for rank in (0, 1)
        ]
        self.assertEqual(sorted(out.splitlines()), expected)

    def test_input_goes_to_rank_0(self):
        text = "".join(f"line {n}\n" for n in range(100_000))
        words = ["--host", "h1,h2", "sh", "-c", "echo $PMI_RANK $(wc -c)"]
        out = self.good(run(*words, stdin=text))
        self.assertEqual(sorted(out.splitlines()), [f"0 {len(text)}", "1 0"])
        out = self.good(run("--host", "h1,h2", "sh", "-c", "exit 0", stdin=text))

    def test_much_output_arrives_whole(self):
        script = self.script(
            "import os\nrank = os.environ['PMI_RANK']\n"
            "for n in range(50_000): print(rank, n, 'x' * 60)\n"
        )
        out = self.good(run("--host", "h1:2,h2:2", "-l", script))
        lines = out.splitlines()
        self.assertEqual(len(lines), 200_000)
        self.assertTrue(all(re.fullmatch(r"\[(\d)\] \1 \d+ x{60}", x) for x in lines))
        for rank in "0123":
            mine = [int(x.split()[2]) for x in lines if x[1] == rank]
            self.assertEqual(mine, list(range(50_000)))

    def test_output_to_files(self):
        base = self.folder / "out"
        words = ["--output-filename", str(base), "--host", "h1,h2", "hostname"]
        self.assertEqual(self.good(run(*words)), "")
        self.assertEqual((self.folder / "out.1.out").read_text(), "h2\n")

    def test_the_wrong_reader_does_not_hold_the_job(self):
        # The reader of our output takes a little and goes.
        script = self.script("while True: print('x' * 100)\n")
        command = " ".join(["phalanx run --host h1,h2", script, "| head -n 5"])
        env = {**os.environ, "PHALANX_SSH": os.environ["RSH"]}
        env["PATH"] = f"{os.path.dirname(sys.executable)}:{env['PATH']}"
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {command}"],
            env=env,
            capture_output=True,
            text=True,
            timeout=90,
        )
        self.assertEqual((done.returncode, done.stdout.count("\n")), (141, 5), done)
        self.nothing_is_left()

    def test_leftovers_are_ended(self):
        script = self.script(
            "import subprocess\n"
            f"subprocess.Popen(['sleep', '1000', {str(self.folder)!r}][:2], "
            f"cwd={str(self.folder)!r}, start_new_session=True)\n"
        )
        out = run("--host", "h1,h2", script)
        self.assertEqual(out.status, 0, out)
        self.nothing_is_left()
        done = subprocess.run(["pgrep", "-fx", "sleep 1000"], capture_output=True)
        self.assertEqual(done.stdout, b"")

    def test_verbose_and_map(self):
        ended = run("--host", "h1,h2", "--display-map", "-v", "true")
        self.assertEqual(ended.status, 0, ended)
        self.says(ended, r"started rank 0 on h1 \(pid \d+, true\)", "rank 1 on h2")


class Operations(HostsTest):
    """One program for each kind of operation, on four ranks of two hosts."""

    def works(self, body: str) -> None:
        script = self.script(
            "import numpy as np\nfrom mpi4py import MPI\ncomm = MPI.COMM_WORLD\n"
            "rank, size = comm.rank, comm.size\n"
            f"{body}\ncomm.Barrier()\nif rank == 0: print('well')\n"
        )
        out = self.good(run("--host", "h1:2,h2:2", script))
        self.assertEqual(out, "well\n")

    def test_messages(self):
        self.works(
            "a = np.full(300_000, rank, 'd'); b = np.empty_like(a)\n"
            "comm.Sendrecv(a, (rank + 1) % size, 0, b, (rank - 1) % size, 0)\n"
            "assert (b == (rank - 1) % size).all()\n"
            "request = comm.isend({'rank': rank}, (rank + 2) % size)\n"
            "assert comm.recv()['rank'] == (rank + 2) % size\nrequest.wait()"
        )

    def test_objects_with_arrays(self):
        self.works(
            "x = comm.bcast([np.arange(1e6), 'a'] if rank == 3 else None, root=3)\n"
            "assert x[0][-1] == 999_999\n"
            "assert comm.gather(rank) in (None, [0, 1, 2, 3])\n"
            "assert comm.alltoall([rank] * size) == [0, 1, 2, 3]"
        )

    def test_collectives(self):
        self.works(
            "total = comm.allreduce(np.ones(1000))\nassert (total == size).all()\n"
            "b = np.empty(size, 'i'); comm.Allgather(np.array([rank], 'i'), b)\n"
            "assert list(b) == list(range(size))\n"
            "r = comm.Iallreduce(MPI.IN_PLACE, b); r.Wait()\n"
            "assert list(b) == [size * n for n in range(size)]\n"
            "assert comm.exscan(1) in (None, rank)"
        )

    def test_communicators(self):
        self.works(
            "half = comm.Split(rank % 2)\nassert half.size == 2\n"
            "node = comm.Split_type(MPI.COMM_TYPE_SHARED)\n"
            "assert (node.size, node.rank) == (2, rank % 2)\n"
            "grid = comm.Create_cart([2, 2])\nassert len(grid.coords) == 2\n"
            "for c in (half, node, grid): c.Free()"
        )

    def test_windows(self):
        self.works(
            "w = MPI.Win.Allocate(8 * size, 8, comm=comm)\n"
            "m = np.frombuffer(w, 'd'); m[:] = -1\ncomm.Barrier()\n"
            "w.Fence()\nfor n in range(size): w.Put(np.array([float(rank)]), n, rank)\n"
            "w.Fence()\nassert list(m) == [0, 1, 2, 3]\nw.Free()"
        )

    def test_shared_windows_of_a_host(self):
        self.works(
            "node = comm.Split_type(MPI.COMM_TYPE_SHARED)\n"
            "w = MPI.Win.Allocate_shared(8, comm=node)\n"
            "m, _ = w.Shared_query(0)\nm = np.frombuffer(m, 'i')\n"
            "node.Barrier()\nm[node.rank] = rank\nnode.Barrier()\n"
            "assert m[1] - m[0] == 1\nnode.Barrier()\nw.Free()"
        )

    def test_files(self):
        name = self.folder / "data"
        self.works(
            f"mode = MPI.MODE_CREATE | MPI.MODE_RDWR\n"
            f"f = MPI.File.Open(comm, {str(name)!r}, mode)\n"
            "f.Write_at_all(rank * 8, np.array([rank], 'l'))\n"
            "f.Sync(); comm.Barrier()\n"
            "b = np.empty(size, 'l'); f.Read_at_all(0, b)\n"
            "assert list(b) == list(range(size))\nf.Close()"
        )

    def test_spawned_ranks(self):
        child = self.script(
            "from mpi4py import MPI\nimport socket\n"
            "parent = MPI.Comm.Get_parent()\n"
            "parent.gather(socket.gethostname(), root=0)\nparent.Disconnect()\n",
            "child.py",
        )
        self.works(
            "import sys\n"
            f"c = comm.Spawn(sys.executable, [{child!r}], maxprocs=4)\n"
            "names = c.gather(None, root=MPI.ROOT if rank == 0 else MPI.PROC_NULL)\n"
            "assert rank or names == ['h1', 'h1', 'h2', 'h2'], names\nc.Disconnect()"
        )

    def test_a_session_before_ranks_that_come_late(self):
        # Who begins by a session does not wait for the other ranks of its host, which
        # have yet to find the library's shared memory by its name.
        script = self.script(
            "import os, time\nimport mpi4py\nmpi4py.rc.initialize = False\n"
            "from mpi4py import MPI\n"
            "time.sleep(int(os.environ['PMI_RANK']) / 2)\n"
            "session = MPI.Session.Init()\nMPI.Init()\n"
            "total = MPI.COMM_WORLD.allreduce(1)\nMPI.Finalize()\n"
            "session.Finalize()\nif os.environ['PMI_RANK'] == '0': print(total)\n"
        )
        self.assertEqual(self.good(run("--host", "h1:2,h2:2", script)), "4\n")


class Pools(HostsTest):
    """The executors of `mpi4py.futures`, whose workers are on all hosts."""

    program = str(Path(__file__).resolve().parents[1] / "libraries" / "executor.py")

    def test_pool(self):
        words = ["-m", "mpi4py.futures", self.program, "pool"]
        out = self.good(run("--host", "h1:2,h2:2", *words))
        self.assertEqual(out, "done pool\n")

    def test_communicator(self):
        words = [self.program, "comm"]
        out = self.good(run("--host", "h1:2,h2:1", *words))
        self.assertEqual(out.count("done comm"), 1)

    def test_a_killed_worker_ends_the_job(self):
        words = ["-m", "mpi4py.futures", self.program, "killed"]
        ended = run("--host", "h1:2,h2:2", *words)
        self.assertEqual(ended.status, 137, ended)
        self.says(ended, r"rank \d on h\d .*killed by SIGKILL")
        self.nothing_is_left()

    def test_workers_are_on_all_hosts(self):
        script = self.script(
            "import socket, time\n"
            "from mpi4py.futures import MPIPoolExecutor\n"
            "def where(n):\n    time.sleep(0.1)\n    return socket.gethostname()\n"
            "if __name__ == '__main__':\n"
            "    with MPIPoolExecutor() as pool:\n"
            "        print(sorted(set(pool.map(where, range(12)))))\n"
        )
        out = self.good(run("--host", "h1:2,h2:2", "-m", "mpi4py.futures", script))
        self.assertEqual(out, "['h1', 'h2']\n")


class Terminal(HostsTest):
    """What is typed in the job's terminal goes to one rank, wherever it runs."""

    def test_input_and_breakpoint(self):
        script = self.script(
            "import sys\nfrom mpi4py import MPI\ncomm = MPI.COMM_WORLD\n"
            "if comm.rank == int(sys.argv[1]):\n"
            "    print('hello,', input('name? '), flush=True)\n"
            "    x = 41\n    breakpoint()\n    print('after', x)\n"
            "else:\n"
            "    try: input()\n"
            "    except EOFError as error: print(error)\n"
            "comm.Barrier()\n"
        )
        for rank in "01":
            child, terminal = pty.fork()
            if child == 0:
                words = ["--stdin", rank, "--host", "h1,h2", script, rank]
                os.execve(PHALANX, [PHALANX, "run", *words], ENVIRONMENT)
            said, deadline = b"", time.monotonic() + 60
            steps = [(b"name? ", b"you\n"), (b"(Pdb) ", b"p x + 1\n"), (b"42", b"c\n")]
            while time.monotonic() < deadline:
                if select.select([terminal], [], [], 0.1)[0]:
                    try:
                        piece = os.read(terminal, 4096)
                    except OSError:
                        break
                    said += piece
                if steps and steps[0][0] in said:
                    os.write(terminal, steps.pop(0)[1])
            os.close(terminal)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            self.assertEqual((status, steps), (0, []), said)
            self.assertIn(b"hello, you", said)
            self.assertIn(b"after 41", said)
            self.assertRegex(said, rb"has nothing to read: .*--stdin RANK")
            self.nothing_is_left()


class Checks(HostsTest):
    """What is wrong is said before anything runs, of the host where it is so."""

    def refused(self, *words: str, says: tuple[str, ...], status: int = 1, **env: str):
        ended = run(*words, **env)
        self.assertEqual((ended.status, ended.out), (status, ""), ended)
        self.says(ended, *says)
        self.nothing_is_left()

    def test_unknown_host(self):
        self.refused("--host", "h1,h77", "hostname", says=("host h77: ",))

    def test_no_remote_shell(self):
        self.refused(
            *("--ssh", "no-such-shell", "--host", "h1,h2", "true"),
            says=("no-such-shell", "PHALANX_SSH"),
            status=127,
        )

    def test_a_remote_shell_that_says_nonsense(self):
        self.refused(
            *("--ssh", "echo", "--host", "h1,h2", "true"),
            says=("host h1: ", "host h2: "),
        )

    def test_a_script_that_differs(self):
        script = self.script("print('here')")
        wrapper = self.folder / "rsh"
        # On h2, another file lies where the script is.
        wrapper.write_text(
            f"#!/bin/sh\nhost=$1; shift\nif [ $host = h2 ]; then set -- "
            f'"mount --bind /etc/hostname {script};" "$@"; fi\n'
            'exec "$RSH" $host "$@"\n'
        )
        wrapper.chmod(0o755)
        try:
            self.refused(
                *("--ssh", str(wrapper), "--host", "h1,h2", script),
                says=(f"host h2: {script} has .* there",),
            )
        finally:
            subprocess.run([os.environ["RSH"], "h2", f"umount {script}"], timeout=30)

    def test_a_directory_that_is_not_there(self):
        done = subprocess.run(
            ["phalanx", "run", "--host", "h1,h2", "true"],
            env={
                **os.environ,
                "PHALANX_SSH": os.environ["RSH"],
                "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}",
            },
            cwd=self.enterContext(tempfile.TemporaryDirectory()),
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertEqual(done.returncode, 1, done)
        self.assertRegex(
            done.stderr, "host h1: the directory /tmp/.* cannot be entered"
        )

    def test_no_library(self):
        self.refused(
            *("--host", "h1,h2", self.script("pass")),
            says=("phalanx\\[mpich\\]|no such file",),
            status=2,
            PHALANX_MPI="/nonexistent/libmpi_abi.so.1",
        )
        self.refused(
            *("--host", "h1,h2", self.script("pass")),
            says=("embedded engine runs on one machine",),
            status=2,
            PHALANX_MPI="embedded",
        )

    def test_the_doctor_looks_at_hosts(self):
        done = subprocess.run(
            [PHALANX, "doctor", "--hosts", "h1,h77"],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=90,
        )
        self.assertEqual((done.returncode, done.stderr), (1, ""), done)
        self.assertRegex(done.stdout, r"(?m)^ok    library +/\S*libmpi_abi.so.1$")
        self.assertRegex(done.stdout, r"(?m)^ok    host +h1: \d+ CPUs?, Phalanx ")
        self.assertRegex(done.stdout, r"(?m)^WRONG host +h77: ")
        self.nothing_is_left()

    def test_what_works_on_one_machine_only(self):
        for flag in ("--check", "--pdb", "--trace=x"):
            self.refused(
                *(flag, "--host", "h1,h2", "true"), says=("one machine only",), status=2
            )


if __name__ == "__main__":
    unittest.main()
