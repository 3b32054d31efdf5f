"""``python -m phalanx.ipyparallel.engine``: an engine.

A controller starts it, with its connection as the descriptor that
``PHALANX_CLUSTER_FD`` names. Started by hand it is the command ``ipengine``, which
asks a controller for that.
"""

import os
import sys


def main() -> int:
    named = os.environ.pop("PHALANX_CLUSTER_FD", "")
    if not named:
        from ..cluster.commands import run_command

        return run_command("ipengine", sys.argv[1:])
    from ..._workers import ClusterLink  # type: ignore[attr-defined,unused-ignore]
    from .._hello import hello

    # Lines of text leave as they are complete, though nobody looks at a terminal, and
    # not in pieces, though PYTHONUNBUFFERED is set.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, write_through=False)  # type: ignore[union-attr]
    # What tasks import from where they are: the directory that the engine was started
    # in.
    if "" not in sys.path:
        sys.path.insert(0, "")
    told = hello()
    rank = os.environ.get("PMI_RANK") or os.environ.get("SLURM_PROCID", "")
    if named == "-1" and rank.isdecimal():
        # One of the ranks of a job has the number of its rank, if that is free.
        first = os.environ.pop("PHALANX_CLUSTER_FIRST", "0")
        told["number"] = int(first) + int(rank)
    link = ClusterLink.inherited(int(named), told)
    from .engine import Engine
    from .startup import run_startup

    engine = Engine(link)
    run_startup(engine, sys.argv[1:])
    sys.argv[:] = [""]
    engine.run()
    return 0


if __name__ == "__main__":
    from phalanx.ipyparallel.engine import __main__ as this

    sys.exit(this.main())
