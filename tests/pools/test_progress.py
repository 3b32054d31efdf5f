"""The display of progress: bars, plain lines, and when they end."""

import functools
import io
import os
import pty
import re
import unittest
from unittest import mock

from phalanx.multiprocessing import _progress
from watch import ScriptCase

SCRIPT = """
import sys, time
sys.modules["tqdm"] = sys.modules["tqdm.auto"] = None
import phalanx.multiprocessing as mp

def square(x):
    time.sleep(0.002)
    return x * x

with mp.Pool(2) as pool:
    print(sum(pool.map(square, range(300))))
    print(sum(pool.imap(square, iter(range(10)))))
    print(pool.apply(square, (3,)))
"""


class Lines(unittest.TestCase):
    def test_a_line_fits_in_80_columns(self) -> None:
        for total in (None, 0, 10, 10**12):
            for n in (0, 5, 10**11):
                for seconds in (0.0, 0.001, 5000.0, 10**6):
                    line = _progress.Line(total, "a_function_with_a_name" * 5)
                    line.n = n
                    text = line.text(line._start + seconds)
                    self.assertLess(len(text), 80, text)

    def test_what_a_line_says(self) -> None:
        line = _progress.Line(200, "work")
        line.n = 50
        self.assertEqual(
            line.text(line._start + 10), "work: 50/200 (25%), 5/s, 00:30 left"
        )
        line.n = 200
        self.assertEqual(
            line.text(line._start + 40), "work: 200/200 (100%), 5/s, 00:40"
        )
        line = _progress.Line(None, "work")
        line.n = 7
        self.assertEqual(
            line.text(line._start + 3661), "work: 7 done, 0.001912/s, 1:01:01"
        )

    def test_a_closed_stream_ends_the_display_only(self) -> None:
        class Job:
            def ready(self) -> bool:
                return False

            def progress(self) -> tuple[int, int | None]:
                return 1, 2

        class Closed(io.StringIO):
            def isatty(self) -> bool:
                return True

        stream = Closed()
        with (
            mock.patch.dict("sys.modules", {"tqdm.auto": None}),
            mock.patch("sys.stderr", stream),
        ):
            meter = _progress.Meter()
            meter.follow(Job(), len)
            stream.close()
            meter._thread and meter._thread.join(30)


class Scripts(ScriptCase):
    def test_plain_lines_in_a_log(self) -> None:
        ended = self.run_script(SCRIPT, env={"PHALANX_PROGRESS": "1"})
        self.assertEqual(ended.lines, ["8955050", "285", "9"])
        lines = ended.err.splitlines()
        self.assertRegex(lines[0], r"^square: 300/300 \(100%\), .*/s, 00:0\d$")
        self.assertRegex(lines[1], r"^square: 10(/10 \(100%\)| done), ")
        self.assertEqual(len(lines), 2, ended.err)

    def test_no_display_unless_asked(self) -> None:
        self.assertEqual(self.run_script(SCRIPT).err, "")

    def test_one_line_on_a_terminal(self) -> None:
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        name = os.ttyname(slave)
        self.addCleanup(os.close, slave)
        self.run_script(
            f"import os, sys; sys.stderr = open({name!r}, 'w')\n" + SCRIPT,
            env={"PHALANX_PROGRESS": "1"},
        )
        text = os.read(master, 1 << 16).decode()
        self.assertGreater(text.count("\r"), 2)
        self.assertEqual(text.count("\n"), 2)
        for line in re.split("[\r\n]+", text):
            self.assertLess(len(line), 80)

    def test_tqdm(self) -> None:
        try:
            import tqdm  # type: ignore[import-untyped]  # noqa: F401
        except ImportError:
            self.skipTest("tqdm is not installed")
        ended = self.run_script(
            SCRIPT.replace('sys.modules["tqdm"] = sys.modules["tqdm.auto"] = None', ""),
            env={"PHALANX_PROGRESS": "1"},
        )
        self.assertIn("300/300", ended.err)
        self.assertIn("square: 100%", ended.err)

    def test_a_display_that_cannot_be_shown_costs_no_result(self) -> None:
        try:
            import tqdm  # type: ignore[import-untyped]  # noqa: F401

            scripts = [SCRIPT, SCRIPT.replace('sys.modules["tqdm"]', "unused")]
        except ImportError:
            scripts = [SCRIPT]
        opening = {
            "full disk": "sys.stderr = open('/dev/full', 'w')",
            "closed": "sys.stderr.close(); sys.stderr = None",
            "broken pipe": "r, w = os.pipe(); os.close(r); sys.stderr = open(w, 'w')",
        }
        for script in scripts:
            for name, text in opening.items():
                with self.subTest(name):
                    ended = self.run_script(
                        f"import os, sys\n{text}\n" + script,
                        env={"PHALANX_PROGRESS": "1"},
                        status=None,  # Python itself cannot close the stream either.
                    )
                    self.assertEqual(ended.lines, ["8955050", "285", "9"], ended.text)

    def test_the_name_of_a_partial_function(self) -> None:
        meter = _progress.Meter()
        job = mock.Mock(ready=lambda: True, progress=lambda: (1, 1))
        with (
            mock.patch.dict("sys.modules", {"tqdm.auto": None}),
            mock.patch("sys.stderr", io.StringIO()) as stream,
        ):
            meter.follow(job, functools.partial(functools.partial(int), base=2)).close()
            self.assertIn("int: 1/1", stream.getvalue())
            meter.stop()

    def test_the_display_of_what_nobody_waits_for(self) -> None:
        ended = self.run_script(
            """
            import sys
            sys.modules["tqdm"] = sys.modules["tqdm.auto"] = None
            import phalanx.multiprocessing as mp
            pool = mp.Pool(2, progress=True)
            pool.map_async(abs, range(100), callback=len)
            pool.close()
            pool.join()
            with mp.Pool(2, progress=True) as pool:
                pool.map_async(int, ["x"] * 5)
            """
        )
        self.assertIn("abs: 100/100", ended.err)


if __name__ == "__main__":
    unittest.main()
