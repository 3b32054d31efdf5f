"""Engines as jobs of a batch system: the scripts that are written, and a small system
of two commands, which starts jobs at once."""

import json
import os
import re
import sys
import tempfile
import unittest
from pathlib import Path

from phalanx.ipyparallel.cluster import batch
from phalanx.ipyparallel.cluster.launcher import LauncherError, find_launcher_class
from test_faults import ClusterCase, marked, until

SUBMIT = """\
#!/bin/sh
setsid "$1" >job.out 2>&1 &
echo "Your job $! was submitted"
"""
DELETE = """\
#!/bin/sh
kill -- "-$1"
"""
TEMPLATE = """\
#!/bin/sh
for i in $(seq {n}); do {program_and_args} & done
wait
"""


class TestScripts(unittest.TestCase):
    def setUp(self) -> None:
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.place = Path(place.name)

    def script(self, name: str, n: int = 4, **options) -> str:
        found = find_launcher_class(name, "engine")
        made = found(
            work_dir=str(self.place),
            profile_dir=str(self.place / "profile"),
            cluster_id="id",
            **options,
        )
        text = made.write_batch_script(n, 7)
        path = self.place / made.batch_file_name
        self.assertEqual(path.read_text(), text)
        self.assertEqual(path.stat().st_mode & 0o777, 0o700)
        return text

    def test_each_system_has_its_lines(self) -> None:
        command = f"{sys.executable} -m phalanx.ipyparallel.engine"
        for name, lines in {
            "slurm": ["#SBATCH --ntasks=4", "#SBATCH --partition=short", "srun "],
            "pbs": ["#PBS -t 1-4", "#PBS -q short"],
            "lsf": ["#BSUB -J ipengine[1-4]", "#BSUB -q short"],
            "sge": ["#$ -t 1-4", "#$ -q short"],
        }.items():
            text = self.script(name, queue="short")
            self.assertTrue(text.startswith("#!/bin/sh\n"), text)
            for line in [*lines, command, "--cluster-id=id", "--first 7"]:
                self.assertIn(line, text, name)
        text = self.script("htcondor")
        self.assertIn("queue 4", text)
        self.assertIn(f"executable = {sys.executable}", text)

    def test_a_template_keeps_what_it_says(self) -> None:
        text = self.script(
            "slurm",
            queue="short",
            timelimit="1:00:00",
            batch_template="#!/bin/bash\n#SBATCH -p long\nX=${X}; {extra} {n}\n",
            namespace={"extra": "more"},
        )
        self.assertNotIn("short", text)
        self.assertIn("#SBATCH --time=1:00:00\n#SBATCH -p long\nX=${X}; more 4", text)
        path = self.place / "template"
        path.write_text("of a file {n}")
        self.assertIn("of a file 4", self.script("pbs", batch_template_file=str(path)))

    def test_names_of_jobs(self) -> None:
        for name, said, job in (
            ("slurm", "Submitted batch job 77\n", "77"),
            ("pbs", "88[].server\n", "88[]"),
            ("lsf", "Job <99> is submitted to queue <q>.\n", "99"),
            ("htcondor", "4 job(s) submitted to cluster 12.", "12"),
        ):
            made = find_launcher_class(name, "engine")(work_dir=str(self.place))
            self.assertEqual(made.parse_job_id(said), job)
        with self.assertRaisesRegex(LauncherError, r"sbatch did not say .*: no$"):
            batch.SlurmEngineSetLauncher().parse_job_id("no")


class TestJobs(ClusterCase):
    """`ipcluster start --engines=batch`, in the background."""

    engines = 2

    def setUp(self) -> None:
        work = tempfile.TemporaryDirectory(prefix="batch-")
        self.addCleanup(work.cleanup)
        self.work = Path(work.name)
        for name, text in (("submit", SUBMIT), ("delete", DELETE)):
            path = self.work / name
            path.write_text(text)
            path.chmod(0o700)
        (self.work / "template").write_text(TEMPLATE)
        options = {
            "submit_command": ["./submit"],
            "delete_command": ["./delete"],
            "batch_template_file": str(self.work / "template"),
        }
        self.args = (
            "--engines=batch",
            f"--work-dir={self.work}",
            *(f"--BatchSystemLauncher.{k}={v!r}" for k, v in options.items()),
        )
        super().setUp()

    def test_engines_come_and_go(self) -> None:
        client = self.client()
        self.assertEqual(client.ids, [0, 1])
        folders = client[:].apply_sync(os.getcwd)
        self.assertEqual(folders, [str(self.work)] * 2)
        listed = json.loads(self.phalanx("cluster", "list", "-o", "json"))
        self.assertEqual(len(listed), 1, listed)
        client.close()
        self.phalanx("cluster", "stop")
        until(lambda: not marked(self.mark), "everything has ended")


class TestMistakes(ClusterCase):
    engines = 0

    def test_what_keeps_it_from_starting_is_said(self) -> None:
        for args, says in (
            (["--engines=nothing"], "no engine launcher 'nothing'; there are batch"),
            (["--engines=batch"], "submit_command"),
            (["--engines=ssh"], "SSHEngineSetLauncher.engines"),
            (
                ["--engines=slurm", "--BatchSystemLauncher.submit_command=['nowhere']"],
                "nowhere|sbatch",
            ),
        ):
            for more in ([], ["--daemonize"]):
                line = ["cluster", "start", "-n", "1", "--cluster-id=other", *args]
                said = self.phalanx(*line, *more, status=1)
                self.assertRegex(said, re.compile(says), line)
        until(lambda: len(marked(self.mark)) == 1, "nothing is left but the cluster")


if __name__ == "__main__":
    unittest.main()
