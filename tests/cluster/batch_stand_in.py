"""Batch systems that cannot be had: what stands in for `qsub`, `bsub` and their like.

Directives are read as the real commands read them, with the options that their sources
and manuals list; a job's tasks start at once, as processes of this machine. Links to
this file, named as the commands are, are the system; `STAND_IN` says which one.
"""

import getopt
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

# What begins a directive, and the options that take a value, and none.
SYSTEMS = {
    # OpenPBS and PBS Professional: src/cmds/qsub.c
    "openpbs": ("#PBS", "a:A:c:C:e:fhIj:J:k:l:m:M:N:o:p:q:r:R:S:u:v:VW:XzP:"),
    # Torque: qsub(1B)
    "torque": (
        "#PBS",
        "a:A:b:c:C:d:D:e:fhIj:k:l:m:M:N:o:p:P:q:r:S:t:T:u:v:Vw:W:xXz",
    ),
    # LSF: bsub(1)
    "lsf": ("#BSUB", "hVHxrNBIKT:X:w:q:m:n:R:J:b:t:i:o:e:u:f:E:c:W:F:M:D:S:C:k:L:P:G:"),
}
QUEUES = ("short",)


def refuse(words: str, status: int = 2) -> "None":
    print(f"{Path(sys.argv[0]).name}: {words}", file=sys.stderr)
    sys.exit(status)


def options(system: str, text: str) -> dict[str, str]:
    prefix, grammar = SYSTEMS[system]
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith(prefix):
            words = shlex.split(line[len(prefix) :])
            try:
                pairs, rest = getopt.getopt(words, grammar)
            except getopt.GetoptError as problem:
                refuse(f"invalid option -- '{problem.opt}'")
            if rest:
                refuse(f"no directive: {line}")
            found |= dict(pairs)
        elif line and not line.startswith("#"):
            break
    return found


def indices(system: str, said: dict[str, str]) -> list[int]:
    """The numbers of an array's tasks; none of an ordinary job."""
    if system == "lsf":
        found = re.fullmatch(r"[\w.-]+\[(\d+)-(\d+)\]", said.get("-J", ""))
    else:
        option = "-J" if system == "openpbs" else "-t"
        if option not in said:
            return []
        found = re.fullmatch(r"(\d+)-(\d+)", said[option])
        if not found or (option == "-J" and int(found[2]) <= int(found[1])):
            refuse(f"illegal {option} value")
    return list(range(int(found[1]), int(found[2]) + 1)) if found else []


def slots(system: str, said: dict[str, str], path: Path) -> dict[str, str]:
    """Of a job in several slots: where it finds their hosts."""
    if system == "lsf":
        wanted = re.fullmatch(r"(\d+)", said.get("-n", ""))
    else:
        name = "select" if system == "openpbs" else "nodes"
        asked = said.get("-l", "")
        wanted = re.fullmatch(rf"{name}=(\d+)", asked)
        if asked and not wanted:
            refuse(f"Unknown resource type  Resource_List.{asked.partition('=')[0]}")
    if not wanted:
        return {}
    path.write_text("localhost\n" * int(wanted[1]))
    return {"LSB_DJOB_HOSTFILE" if system == "lsf" else "PBS_NODEFILE": str(path)}


def submit(system: str, place: Path) -> None:
    text = sys.stdin.read() if system == "lsf" else Path(sys.argv[1]).read_text()
    said = options(system, text)
    if said.get("-q", "short") not in QUEUES:
        refuse("Unknown queue", 170)
    job = 1 + len(list(place.glob("job-*")))
    script = place / f"script-{job}"
    script.write_text(text)
    env = {**os.environ, **slots(system, said, place / f"hosts-{job}")}
    # A job of PBS begins in the home directory.
    cwd = os.getcwd() if system == "lsf" else "/"
    if system != "lsf":
        env["PBS_O_WORKDIR"] = os.getcwd()
    pids = []
    for index in indices(system, said) or [0]:
        output = said.get("-o", f"/dev/null/{index}")
        for name, value in (("%J", job), ("%I", index)):
            output = output.replace(name, str(value)) if system == "lsf" else output
        if system == "openpbs" and index:
            output = output.replace("^array_index^", str(index))
        if system == "torque" and index:
            output += f"-{index}"
        with open(output, "ab") as file:
            started = subprocess.Popen(
                ["/bin/sh", str(script)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                start_new_session=True,
            )
        pids.append(started.pid)
    (place / f"job-{job}").write_text(" ".join(map(str, pids)))
    array = "[]" if "-J" in said or "-t" in said else ""
    if system == "lsf":
        print(f"Job <{job}> is submitted to default queue <short>.")
    else:
        print(f"{job}{array}.server")


def runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def main() -> None:
    system, place = os.environ["STAND_IN"], Path(sys.argv[0]).parent
    command = Path(sys.argv[0]).name
    if command in ("qsub", "bsub"):
        submit(system, place)
        return
    number = re.match(r"\d+", sys.argv[-1])[0]
    job = place / f"job-{number}"
    alive = [pid for pid in map(int, job.read_text().split()) if runs(pid)]
    if command in ("qdel", "bkill"):
        for pid in alive:
            os.killpg(pid, signal.SIGTERM)
    elif command == "bjobs":
        print("JOBID   USER    STAT  QUEUE      FROM_HOST   EXEC_HOST   JOB_NAME")
        for pid in map(int, job.read_text().split()):
            state = "RUN " if pid in alive else "EXIT"
            print(
                f"{number}       me      {state}  short      h0          h1   ipengine"
            )
    elif not alive:
        refuse(f"{number}[].server Job has finished, use -x or -H", 35)
    else:
        print("Job id            Name             User              Time Use S Queue")
        print("----------------  ---------------- ----------------  -------- - -----")
        print(f"{number}[].server      ipengine         me                0 B short")


if __name__ == "__main__":
    main()
