"""Interactive clusters as jobs of batch systems, on hosts of namespaces.

No system package is installed for it. What is not there is unpacked into
``build/batch/NAME``, where the hosts see it: Debian's packages, from where apt gets
them.
"""

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .hosts import (
    FOLDER,
    SLURM,
    HostsFile,
    library,
    missing,
    no_slurm,
    run_files,
    skipped,
)
from .process import ROOT, Counts, run, timed

UNPACKED = ROOT / "build" / "batch"


@dataclass(frozen=True)
class _System:
    """A batch system: what starts it, a program of it, and Debian's packages."""

    name: str
    starts: str
    program: str
    packages: tuple[str, ...]
    slurm: bool = False

    def unpacked(self) -> dict[str, str]:
        """What has hosts see it, if it is not installed."""
        there = Path(self.program).exists()
        return {} if there else {"UNPACKED": str(UNPACKED / self.name)}

    def file(self) -> HostsFile:
        env = {"BATCH": self.name, **self.unpacked()}
        return HostsFile("test_cluster_batch", 2, (self.starts,), env, self.name)


SYSTEMS = (
    _System(
        "sge",
        str(FOLDER / "sge.sh"),
        "/usr/lib/gridengine/sge_qmaster",
        ("gridengine-master", "gridengine-exec", "gridengine-client"),
    ),
    _System(
        "htcondor", str(FOLDER / "condor.sh"), "/usr/sbin/condor_master", ("condor",)
    ),
    # The commands of PBS, in front of Slurm.
    _System("pbs", SLURM, "/usr/bin/qsub", ("slurm-wlm-torque",), slurm=True),
)


def _unpack(system: _System) -> str:
    """Have its packages and what they need and lack; why not, if that cannot be."""
    folder = UNPACKED / system.name
    if Path(system.program).exists() or folder.is_dir():
        return ""
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            return f"there is no {Path(system.program).name} and no {tool}"
    apt = ["apt-get", "-qq", "--no-install-recommends"]
    planned = run([*apt, "--simulate", "install", *system.packages], 60)
    wanted = re.findall(r"^Inst (\S+)", planned.output, re.MULTILINE)
    if planned.code != 0 or not wanted:
        last = planned.output.strip().splitlines()[-1:] or ["no reason given"]
        return f"apt has no {' '.join(system.packages)} here: {last[0]}"
    UNPACKED.mkdir(parents=True, exist_ok=True)
    with (
        timed(f"{len(wanted)} packages for {system.name}"),
        tempfile.TemporaryDirectory(dir=UNPACKED) as place,
    ):
        got = run([*apt, "download", *wanted], 120, cwd=Path(place))
        files = sorted(Path(place).glob("*.deb"))
        if got.code != 0 or len(files) != len(wanted):
            return f"packages of {system.name}: {got.output.strip()[-200:]}"
        whole = Path(place) / "whole"
        for file in files:
            done = run(["dpkg", "-x", str(file), str(whole)], 60)
            if done.code != 0:
                return f"{file.name}: {done.output.strip()[-200:]}"
        whole.rename(folder)
    return ""


def run_all() -> Counts:
    """The systems side by side: most of the time they wait for their daemons."""
    if why := missing() or library():
        return skipped(why)
    counts, files = Counts(), []
    for system in SYSTEMS:
        why = (no_slurm() if system.slurm else "") or _unpack(system)
        why = why or missing(system.unpacked())
        if why:
            counts += skipped(f"{system.name}: {why}")
        else:
            files.append(system.file())
    counts += run_files(files)
    return counts
