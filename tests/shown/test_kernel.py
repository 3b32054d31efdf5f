"""An engine as a kernel to which Jupyter's front ends connect, beside its tasks."""

import unittest
from typing import Any

import phalanx.ipyparallel as ipp
from home import SECONDS, Home
from jupyter_client import BlockingKernelClient


def connection_file() -> str:
    from ipykernel import get_connection_file

    return str(get_connection_file())


class Kernel(Home):
    def connect(self, path: str) -> Any:
        front = BlockingKernelClient(connection_file=path)
        front.load_connection_file()
        front.start_channels()
        self.addCleanup(front.stop_channels)
        front.wait_for_ready(timeout=SECONDS)
        return front

    def run_cell(self, front: Any, code: str) -> tuple[str, str]:
        """What a cell at a front end prints, and the text of its value."""
        printed, value = [], []

        def take(message: Any) -> None:
            kind, content = message["header"]["msg_type"], message["content"]
            if kind == "stream":
                printed.append(content["text"])
            if kind in ("execute_result", "display_data"):
                value.append(content["data"]["text/plain"])

        reply = front.execute_interactive(code, timeout=SECONDS, output_hook=take)
        self.assertEqual(reply["content"]["status"], "ok", reply)
        return "".join(printed), "".join(value)

    def both(self, rc: ipp.Client) -> None:
        """The names are one, and each side sees what it has printed."""
        rc[:]["a"] = 5
        rc[:].apply_sync(ipp.bind_kernel)
        for number, path in enumerate(rc[:].apply_sync(connection_file)):
            front = self.connect(path)
            self.assertEqual(
                self.run_cell(front, "print('here', a); b = a + 1; b"),
                ("here 5\n", "6"),
            )
            self.assertEqual(rc[number]["b"], 6)
            cell = rc[number].execute("print('there', b); b * 2", silent=False)
            self.assertIn("12", str(cell.get(SECONDS)))
            self.assertEqual(cell.stdout, "there 6\n")
            shown = rc[number].execute(
                "from IPython.display import display; display(b)", silent=False
            )
            shown.get(SECONDS)
            self.assertEqual(
                [one["data"]["text/plain"] for one in shown.outputs], ["6"]
            )
            self.assertEqual(
                self.run_cell(front, "import sys; sys.modules['__main__'].b"),
                ("", "6"),
            )
        # Once more is nothing more.
        rc[:].apply_sync(ipp.bind_kernel)
        self.assertEqual(rc[:].map_sync(abs, [-1, 2]), [1, 2])

    def test_before_any_cell(self) -> None:
        with ipp.Cluster(n=2, log_level=40) as rc:
            self.both(rc)

    def test_after_a_cell(self) -> None:
        with ipp.Cluster(n=1, log_level=40) as rc:
            rc[:].execute("c = 1", silent=False).get(SECONDS)
            self.both(rc)

    def test_only_engines_can(self) -> None:
        with self.assertRaisesRegex(RuntimeError, "for engines"):
            ipp.bind_kernel()

    def test_what_keeps_a_kernel_from_starting_is_told(self) -> None:
        with ipp.Cluster(n=1, log_level=40) as rc:
            with self.assertRaises(ipp.RemoteError):
                rc[0].apply_async(ipp.bind_kernel, transport="no").get(SECONDS)
            self.assertEqual(rc[0].apply_sync(abs, -1), 1)


if __name__ == "__main__":
    unittest.main()
