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
from test_faults import PHALANX, ClusterCase, marked, until

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
            "pbs": ["#PBS -J 1-4", "#PBS -q short", 'cd "${PBS_O_WORKDIR:-.}"'],
            "lsf": ['#BSUB -J "ipengine[1-4]"', "#BSUB -q short"],
            "sge": ["#$ -t 1-4", "#$ -q short"],
        }.items():
            text = self.script(name, queue="short")
            self.assertTrue(text.startswith("#!/bin/sh\n"), text)
            for line in [*lines, command, "--cluster-id=id", "--first 7"]:
                self.assertIn(line, text, name)
            # What is printed comes into the profile.
            self.assertIn(f" {self.place}/profile/log/", text)
        # An array of one task is none.
        self.assertNotIn("-J", self.script("pbs", n=1))
        text = self.script("htcondor", engine_args=["--with 'a' \"word\" of $HOME"])
        self.assertIn("queue 4", text)
        self.assertIn(f"executable = {sys.executable}\n", text)
        word = "'--with ''a'' \"\"word\"\" of $(DOLLAR)HOME'"
        self.assertIn(word, text)

    def test_ranks_are_one_job(self) -> None:
        run = f"{PHALANX} run --keep-going --on-deadlock raise"
        for name, lines, hosts in (
            ("pbs", ["#PBS -l select=4"], "$PBS_NODEFILE"),
            ("lsf", ["#BSUB -J ipengine", "#BSUB -n 4"], "$LSB_DJOB_HOSTFILE"),
            ("sge", ["#$ -pe round 4"], "$PE_HOSTFILE"),
        ):
            options = {"parallel_environment": "round"} if name == "sge" else {}
            text = self.script(name, ranks=True, **options)
            start = f'{run} --hostfile "{hosts}" {sys.executable} -m'
            for line in [*lines, start]:
                self.assertIn(f"\n{line}", text, name)
            for option in ("[1-", " -t ", " -J 1"):
                self.assertNotIn(option, text, "no array")
            # What the user says stands.
            own = text.replace("4", "2").replace("round", "others")
            options |= {"batch_template": own, "ssh_cmd": ["rsh", "-n"]}
            self.assertEqual(self.script(name, ranks=True, **options), own)
        text = self.script("lsf", ranks=True, ssh_cmd="blaunch -z")
        self.assertIn(f"{run} --ssh 'blaunch -z' --hostfile", text)
        with self.assertRaisesRegex(LauncherError, "parallel_environment .* not set"):
            self.script("sge", ranks=True)
        text = self.script("htcondor", ranks=True)
        start = "'run' '--keep-going' '--on-deadlock' 'raise'"
        for line in (
            "universe = vanilla\n",
            f"executable = {PHALANX}\n",
            f"arguments = \"{start} '-n' '4' '{sys.executable}' '-m' 'phalanx.ipy",
            "request_cpus = 4\n",
            "queue 1\n",
        ):
            self.assertIn(line, text)
        several = {"universe": "parallel", "ssh_cmd": "rsh -n"}
        text = self.script("htcondor", ranks=True, **several)
        for line in (
            "universe = parallel\n",
            "executable = /bin/sh\n",
            "--ssh ''rsh -n'' --hostfile \"\"$(DOLLAR)hosts\"\" ",
            "machine_count = 4\n",
            "queue 1\n",
        ):
            self.assertIn(line, text)

    def test_a_template_keeps_what_it_says(self) -> None:
        text = self.script(
            "slurm",
            queue="short",
            timelimit="1:00:00",
            batch_template=(
                "#!/bin/bash\n#SBATCH -p long\n"
                "X=${X:-${n}}; {extra} {n:03d} {{n}} ${a[0]} {unknown}\n"
            ),
            namespace={"extra": "more"},
        )
        self.assertNotIn("short", text)
        self.assertIn("#SBATCH --time=1:00:00\n", text)
        self.assertIn("\n#SBATCH -p long\n", text)
        self.assertIn("\nX=${X:-$4}; more 004 {n} ${a[0]} {unknown}\n", text)
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
        warned = "4 job(s) submitted to cluster 13.\nWARNING: the rest is not for us.\n"
        made = find_launcher_class("htcondor", "engine")(work_dir=str(self.place))
        self.assertEqual(made.parse_job_id(warned), "13")
        with self.assertRaisesRegex(LauncherError, r"sbatch did not say .*: no$"):
            batch.SlurmEngineSetLauncher().parse_job_id("no")

    def test_a_job_knows_what_it_has_printed(self) -> None:
        """And takes away nothing of other jobs, nor of other clusters."""
        log = self.place / "profile" / "log"
        log.mkdir(parents=True)
        for name, mine, others in (
            ("slurm", ["slurm_engine.sbatch--7.out"], ["-id-7.out", "--17.out"]),
            ("sge", ["sge_engines--7.1.out"], ["-id-7.1.out", "--8.1.out"]),
            ("lsf", ["lsf_engines--7.1.out"], ["-id-7.1.out", "--8.1.out"]),
            ("htcondor", ["htcondor_engines--7.0.out"], ["-id-7.0.out", "--8.0.out"]),
            # OpenPBS replaces the field, Torque does not and adds the number.
            (
                "pbs",
                ["pbs_engines--4-2.out", "pbs_engines--4-^array_index^.out-1"],
                ["-id-4-1.out", "--0-1.out"],
            ),
        ):
            made = find_launcher_class(name, "engine")(
                work_dir=str(self.place), profile_dir=str(self.place / "profile")
            )
            made.n, made._first, made.job_id = 2, 4, "7"
            made.delete_command = []
            stem = made.batch_file_name
            kept = [f"{stem}{end}" for end in others]
            for file in (*mine, *kept):
                (log / file).touch()
            (log / mine[0]).write_text("said")
            self.assertEqual([path.name for path in made._output_files()], mine)
            self.assertEqual(made._printed()[log / mine[0]], "said", name)
            made._stop_jobs(asked=False)
            left = sorted(path.name for path in log.glob(f"{stem}*"))
            self.assertEqual(left, sorted([mine[0], *kept]))

    def test_what_is_said_of_a_job(self) -> None:
        """As the systems have printed it; LSF and PBS as their manuals show it."""
        sge = (
            "job-ID  prior   name       user         state submit/start at     queue\n"
            "-----------------------------------------------------------------------\n"
            "     17 0.50000 ipengine   me           r     11/30/2026 11:19:56 all.q@h1"
            "                           1 1\n"
            "     17 0.50000 ipengine   me           Eqw   11/30/2026 11:19:56         "
            "                           1 2\n"
            "    171 0.50000 ipengine   me           qw    11/30/2026 11:19:56         "
            "                           1 2\n"
        )
        pbs = (
            "Job id            Name             User              Time Use S Queue\n"
            "----------------  ---------------- ----------------  -------- - -----\n"
            "17[].server       ipengine         me                       0 {} short\n"
        )
        lsf = (
            "JOBID   USER    STAT  QUEUE      FROM_HOST   EXEC_HOST   JOB_NAME\n"
            "17      me      PEND  short      h0                      ipengine[1]\n"
            "17      me      EXIT  short      h0          h1          ipengine[2]\n"
        )
        for name, status, said, states in (
            ("sge", 0, sge, ["r", "Eqw"]),
            ("sge", 0, "", []),
            ("sge", 1, "error: unable to send message to qmaster", None),
            ("pbs", 0, pbs.format("Q"), ["Q"]),
            ("pbs", 0, pbs.format("C"), []),
            ("pbs", 153, "qstat: Unknown Job Id Error 17[].server", []),
            ("pbs", 35, "qstat: 17[].server Job has finished, use -x or -H", []),
            ("pbs", 111, "Connection refused", None),
            ("lsf", 0, lsf, ["PEND"]),
            ("lsf", 255, "Job <17> is not found", []),
            ("lsf", 255, "LSF is down. Please wait ...", None),
            ("slurm", 0, "PENDING (Resources)\n", ["PENDING (Resources)"]),
            ("slurm", 0, "COMPLETING (None)\n", []),
            ("slurm", 1, "slurm_load_jobs error: Invalid job id specified", []),
            ("slurm", 1, "slurm_load_jobs error: Unable to contact", None),
            ("htcondor", 0, "idle\nheld: no file\n", ["idle", "held: no file"]),
            ("htcondor", 0, "removed\n", []),
            ("htcondor", 0, "", []),
        ):
            script = self.place / "status"
            script.write_text(
                f"#!/bin/sh\ncat >&{1 + (status > 0)} <<'E'\n{said}\nE\nexit {status}\n"
            )
            script.chmod(0o700)
            made = find_launcher_class(name, "engine")(
                work_dir=str(self.place), status_command=[str(script)]
            )
            self.assertIsNone(made.states())
            made.job_id = "17[]" if name == "pbs" else "17"
            self.assertEqual(made.states(), states, (name, status, said))
        made.status_command = [str(self.place / "nowhere")]
        self.assertIsNone(made.states())


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
