"""What these tests have in common: a home of their own, and notebooks that are run."""

import os
import shutil
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path
from typing import Any

from phalanx.ipyparallel.cluster.commands import binary

SECONDS = 120  # until something counts as hung
EXAMPLES = Path(__file__).parents[2] / "examples"


class Home(unittest.TestCase):
    """A directory of its own for profiles, so that no cluster of the user's is met."""

    def setUp(self) -> None:
        self.home = tempfile.mkdtemp(prefix="phx")
        self.addCleanup(shutil.rmtree, self.home, True)
        before = os.environ.get("IPYTHONDIR")
        os.environ["IPYTHONDIR"] = self.home
        self.addCleanup(self.put_back, before)
        signal.alarm(SECONDS)
        self.addCleanup(signal.alarm, 0)

    @staticmethod
    def put_back(before: str | None) -> None:
        if before is None:
            os.environ.pop("IPYTHONDIR", None)
        else:
            os.environ["IPYTHONDIR"] = before

    def shell(self, text: str) -> str:
        """What a shell with the door open prints."""
        command = [binary(), "shell", "--doors", "ipyparallel", "-c", text]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, cwd=self.home
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout


def text_of(output: Any) -> str:
    """An output of a cell as text."""
    if output.output_type == "stream":
        return str(output.text)
    if output.output_type == "error":
        return "\n".join(output.traceback)
    return str(output.data.get("text/plain", ""))


def outputs(notebook: Any) -> list[str]:
    """What each cell of code shows."""
    return [
        "".join(text_of(output) for output in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
