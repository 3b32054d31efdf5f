"""The course's session at a prompt in a terminal: IPython, and Python without it."""

import os
import sys
import unittest

import pexpect
from home import Home
from phalanx.ipyparallel.cluster.commands import binary

# A Python without IPython, in which Phalanx is installed.
PLAIN = os.environ.get("PHALANX_TEST_PLAIN", "")

# What is typed, and what is shown then.
SESSION = (
    ("import ipyparallel as ipp; c = ipp.Client(); dview = c[:]", None),
    ("print('ids', c.ids)", r"ids \[0, 1\]"),
    ("print('squares', dview.map_sync(lambda x: x**2, range(4)))", r"\[0, 1, 4, 9\]"),
    ("dview['const1'] = 12.1", None),
    ("def add(x):\n    return x + const1\n", None),
    ("print('sum', dview.apply_sync(add, 1))", r"sum \[13\.1, 13\.1\]"),
    ("dview.execute('print(const1 * 2)').stream_output()", None),
    ("print(dview.apply_sync(lambda: 1 / 0))", "ZeroDivisionError"),
    ("print('still', dview['const1'])", r"still \[12\.1, 12\.1\]"),
)


class Prompts(Home):
    def typed(self, python: str, prompt: str) -> None:
        """Type the session at a prompt, and read what is shown."""
        cluster = pexpect.spawn(
            binary(), ["shell", "--doors", "ipyparallel", "-c", "ipcluster start -n 2"]
        )
        self.addCleanup(cluster.close, True)
        shell = pexpect.spawn(
            binary(),
            ["shell", "--doors", "ipyparallel", "-c", python],
            encoding="utf-8",
            timeout=60,
            dimensions=(50, 200),
            env={**os.environ, "TERM": "dumb", "PYTHON_BASIC_REPL": "1"},
            cwd=self.home,
        )
        self.addCleanup(shell.close, True)
        shell.expect(prompt)
        for line, shown in SESSION:
            shell.sendline(line)
            if shown is not None:
                shell.expect(shown)
            shell.expect(prompt)
        shell.sendline("exit()")
        shell.expect(pexpect.EOF)
        self.shell("ipcluster stop")
        cluster.expect(pexpect.EOF)

    def test_ipython(self) -> None:
        start = (
            f"{sys.executable} -m IPython --simple-prompt --colors=NoColor --no-banner"
        )
        self.typed(start, r"In \[\d+\]: ")

    @unittest.skipUnless(PLAIN, "PHALANX_TEST_PLAIN names no Python without IPython")
    def test_plain_python(self) -> None:
        self.typed(f"{PLAIN} -i -q", ">>> ")


if __name__ == "__main__":
    sys.exit(unittest.main())
