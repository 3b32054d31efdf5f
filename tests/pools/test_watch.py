"""The helper itself: what hangs is noticed, with stacks; leftovers are found."""

import unittest

from watch import ScriptCase

HANG = """
import multiprocessing, time
def sleep_for_ever():
    time.sleep(1000)
if __name__ == "__main__":
    multiprocessing.get_context({method!r}).Process(target=sleep_for_ever).start()
    print("started")
    {then}
"""


class Watch(ScriptCase):
    def test_a_script_ends_with_its_output_and_status(self) -> None:
        ended = self.run_script("import sys; print(1); sys.exit(3)", status=3)
        self.assertEqual(ended.lines, ["1"])
        for way in ("-c", "-m"):
            self.assertEqual(self.run_script("print(7)", way=way).lines, ["7"])

    def test_a_hang_fails_with_the_stacks_of_all_processes(self) -> None:
        for method in ("fork", "spawn"):
            script = self.start(HANG.format(method=method, then="time.sleep(1000)"))
            script.wait_for("started")
            with self.assertRaises(AssertionError) as caught:
                script.end(1.5)
            text = str(caught.exception)
            self.assertIn("in sleep_for_ever", text)
            self.assertIn("in <module>", text)

    def test_a_process_that_stays_is_found(self) -> None:
        leave = HANG.format(method="fork", then="import os; os._exit(0)")
        self.run_script(leave)
        with self.assertRaisesRegex(AssertionError, "processes left"):
            self.assert_nothing_left(0.3)

    def test_a_file_that_stays_is_found(self) -> None:
        self.run_script("import tempfile; tempfile.mkstemp()")
        with self.assertRaisesRegex(AssertionError, "temporary files left"):
            self.assert_nothing_left(0.3)
        for path in (self.scripts[0].folder / "tmp").iterdir():
            path.unlink()


if __name__ == "__main__":
    unittest.main()
