"""``python -m phalanx.ipyparallel.controller`` is ``ipcontroller``."""

import sys

from ..cluster.commands import run_command

if __name__ == "__main__":
    sys.exit(run_command("ipcontroller", sys.argv[1:]))
