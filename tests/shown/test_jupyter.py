"""Jupyter's server with the extension: clusters over ``/ipyparallel/clusters``."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import phalanx.ipyparallel as ipp
from home import SECONDS, Home

TOKEN = "a-secret-of-this-test"
PATH = "/ipyparallel/clusters"


class Server(Home):
    """A server of Jupyter's, as its command starts it."""

    def start(self, module: str = "phalanx.ipyparallel") -> None:
        command = [
            *(sys.executable, "-m", "jupyter_server", "--no-browser", "--port=0"),
            *("--ip=127.0.0.1", "--allow-root", f"--IdentityProvider.token={TOKEN}"),
            f"--ServerApp.jpserver_extensions={module}=True",
        ]
        self.said = tempfile.TemporaryFile("w+")
        self.addCleanup(self.said.close)
        self.server = subprocess.Popen(
            command,
            stderr=self.said,
            text=True,
            cwd=self.home,
            env={**os.environ, "HOME": self.home, "JUPYTER_RUNTIME_DIR": self.home},
        )
        self.addCleanup(self.server.wait)
        self.addCleanup(self.server.kill)
        # It says where it listens in a file, before it does.
        file = Path(self.home, f"jpserver-{self.server.pid}.json")
        end = time.monotonic() + SECONDS / 2
        while True:
            try:
                self.port = int(json.loads(file.read_text())["port"])
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except (OSError, ValueError):
                if self.server.poll() is not None or time.monotonic() > end:
                    self.said.seek(0)
                    self.fail(self.said.read())
                time.sleep(0.05)

    def ask(
        self, method: str, path: str = "", body: Any = None, token: str = TOKEN
    ) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        self.addCleanup(connection.close)
        headers = {"Authorization": f"token {token}"} if token else {}
        text = None if body is None else json.dumps(body)
        connection.request(method, PATH + path, text, headers)
        answer = connection.getresponse()
        content = answer.read().decode()
        return answer.status, json.loads(content) if content else None

    def test_a_cluster_from_its_making_to_its_end(self) -> None:
        self.start()
        status, found = self.ask("GET")
        self.assertEqual((status, found), (200, []))
        status, made = self.ask("POST", body={"profile": "default", "n": 2})
        self.assertEqual(status, 200)
        self.assertEqual((made["id"], made["cluster"]["n"]), ("default:", 2))
        self.assertFalse(made["controller"])
        other = {"profile": "default", "cluster_id": "other", "n": None}
        self.assertEqual(self.ask("POST", body=other)[0], 200)
        status, started = self.ask("POST", "/default:", {"n": 3})
        self.assertEqual((status, started["engines"]["n"]), (200, 3))
        self.assertEqual(started["controller"]["state"]["state"], "running")
        with ipp.Client(cluster_id="") as rc:
            rc.wait_for_engines(3, timeout=SECONDS)
            self.assertEqual(rc[:].map_sync(abs, [-1, 2, -3]), [1, 2, 3])
        status, found = self.ask("GET")
        self.assertEqual([one["id"] for one in found], ["default:", "default:other"])
        self.assertEqual(self.ask("GET", "/default:")[1]["id"], "default:")
        self.assertEqual(self.ask("POST", "/default:", {})[0], 409)
        self.assertEqual(self.ask("DELETE", "/default:")[0], 204)
        with self.assertRaises(OSError):
            ipp.Client(cluster_id="", timeout=0.1)

    def test_who_may_not_ask_gets_nothing(self) -> None:
        self.start()
        for method, path in (("GET", ""), ("POST", ""), ("DELETE", "/default:")):
            for token in ("", "wrong"):
                status, _ = self.ask(method, path, token=token)
                self.assertIn(status, (401, 403), (method, path))

    def test_bad_requests_are_told(self) -> None:
        self.start()
        self.ask("POST", body={"profile": "default"})
        for method, path, body, expected in (
            ("GET", "/none:", None, 404),
            ("POST", "/none:", None, 404),
            ("DELETE", "/none:", None, 404),
            ("POST", "/default:", {"n": "many"}, 400),
            ("POST", "/default:", {"n": True}, 400),
            ("POST", "", {"n": -1}, 400),
            ("POST", "", [1], 400),
            ("POST", "", {"controller_launcher_class": "os.system"}, 400),
            ("POST", "", {"profile": 3}, 400),
            ("POST", "", {"profile": "default", "cluster_id": "a/b"}, 400),
        ):
            status, said = self.ask(method, path, body)
            self.assertEqual(status, expected, (method, path, body, said))
            self.assertTrue(said["message"])
        self.assertEqual(
            self.ask("POST", body={"profile": "default", "cluster_id": "x"})[0], 200
        )
        self.assertEqual(
            self.ask("POST", body={"profile": "default", "cluster_id": "x"})[0], 409
        )


if __name__ == "__main__":
    unittest.main()
