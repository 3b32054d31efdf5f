"""Notebooks, run by nbclient: the example, and the course's session."""

import re
import subprocess
import sys
import unittest
from pathlib import Path

import nbformat
from home import EXAMPLES, SECONDS, Home, outputs
from nbclient import NotebookClient

COURSE = (
    "import ipyparallel as ipp\nc = ipp.Client()\ndview = c[:]\nc.ids",
    "dview.map_sync(lambda x: x**2, range(8))",
    "dview['const1'] = 12.1\ndview.push(dict(const2=3, name='n'))\n"
    "print(dview['const1'], dview.pull(['const2', 'name'], block=True)[0])",
    "dview.scatter('part', list(range(10)))\ndview.gather('part').get()",
    "with dview.sync_imports():\n    import numpy as np",
    "def mean(n):\n    return float(np.mean(np.arange(n)) + const1)\n"
    "dview.apply_sync(mean, 5)",
    "@ipp.require('math')\ndef root(x):\n    return math.sqrt(x)\n"
    "c.load_balanced_view().map_sync(root, [1, 4, 9])",
    "%px print('here', const2)",
    "%%px --targets 1\nconst2 * 2",
    "%px 1 / 0",
    "ipp.__name__, type(c).__module__",
)
EXPECTED = (
    r"^\[0, 1, 2, 3\]$",
    r"^\[0, 1, 4, 9, 16, 25, 36, 49\]$",
    r"^\[12\.1, 12\.1, 12\.1, 12\.1\] \[3, 'n'\]$",
    r"^\[0, 1, 2, 3, 4, 5, 6, 7, 8, 9\]$",
    r"importing numpy as np on engine",
    r"^\[14\.1, 14\.1, 14\.1, 14\.1\]$",
    r"^\[1\.0, 2\.0, 3\.0\]$",
    r"(?s)(?=.*stdout:0.*here 3)(?=.*stdout:3.*here 3)",
    r"Out\[1:\d+\].*6",
    r"(?s)ZeroDivisionError.*engine",
    r"'ipyparallel', 'phalanx\.ipyparallel\.client\.client'",
)
# Run in a process of its own, whose kernel has the door open as well.
RUN = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=60, allow_errors=True).execute()
nbformat.write(notebook, sys.argv[1])
"""


class Course(Home):
    def test_the_courses_session(self) -> None:
        notebook = nbformat.v4.new_notebook()
        notebook.cells = [nbformat.v4.new_code_cell(source) for source in COURSE]
        path = Path(self.home, "course.ipynb")
        nbformat.write(notebook, path)
        Path(self.home, "run.py").write_text(RUN)
        self.shell(
            "ipcluster start -n 4 >log 2>&1 & "
            f"{sys.executable} run.py course.ipynb; s=$?; "
            "ipcluster stop >>log 2>&1; wait; [ $s = 0 ] || { cat log; exit $s; }"
        )
        shown = outputs(nbformat.read(path, as_version=4))
        self.assertEqual(len(shown), len(EXPECTED))
        for source, text, pattern in zip(COURSE, shown, EXPECTED, strict=True):
            with self.subTest(cell=source):
                plain = re.sub(r"\x1b\[[\d;]*m", "", text)
                self.assertRegex(plain, re.compile(pattern, re.MULTILINE))


class Example(Home):
    def test_interactive_mpi(self) -> None:
        notebook = nbformat.read(EXAMPLES / "interactive_mpi.ipynb", as_version=4)
        self.assertEqual(
            [cell.outputs for cell in notebook.cells if cell.cell_type == "code"],
            [[]] * sum(cell.cell_type == "code" for cell in notebook.cells),
            "the notebook is kept without outputs",
        )
        NotebookClient(
            notebook, timeout=SECONDS, resources={"metadata": {"path": self.home}}
        ).execute()
        shown = [re.sub(r"\x1b\[[\d;]*m", "", text) for text in outputs(notebook)]
        self.assertTrue(shown[0].endswith("[0, 1, 2, 3]"), shown[0])
        for rank in range(4):
            self.assertIn(f"rank {rank} of 4", shown[1])
            self.assertRegex(shown[2], rf"Out\[{rank}:\d+\].*10")
        self.assertIn("heat that is left: 100.0", shown[4])
        figure = [
            output.data["image/svg+xml"]
            for cell in notebook.cells
            if cell.cell_type == "code"
            for output in cell.outputs
            if "image/svg+xml" in output.get("data", {})
        ]
        self.assertEqual([svg.count("<polyline") for svg in figure], [5])
        deadlock = shown[6]
        self.assertIn("deadlock", deadlock)
        for rank in range(4):
            self.assertRegex(
                " ".join(deadlock.split()),
                rf"rank {rank}: .*from rank {(rank + 1) % 4}, tag 7",
            )
        self.assertRegex(shown[7], r"Out\[0:\d+\].*(100\.0|99\.99)")
        self.assertEqual(shown[8].strip(), "ended by KeyboardInterrupt")
        self.assertEqual(shown[9], "'here it is'")
        left = subprocess.run(
            ["pgrep", "-f", self.home], capture_output=True, text=True
        )
        self.assertEqual(left.stdout, "")


if __name__ == "__main__":
    unittest.main()
