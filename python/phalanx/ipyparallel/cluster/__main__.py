"""``python -m phalanx.ipyparallel.cluster`` is ``ipcluster``."""

import sys

from .commands import run_command

if __name__ == "__main__":
    sys.exit(run_command("ipcluster", sys.argv[1:]))
