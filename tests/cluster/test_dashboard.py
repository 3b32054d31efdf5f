"""The dashboard, over HTTP: what it tells, to whom, and when it ends."""

import http.client
import json
import re
import select
import signal
import socket
import subprocess
import time
import unittest
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import phalanx.ipyparallel as ipp
from phalanx.ipyparallel.cluster.commands import binary
from test_sessions import SECONDS, Home


class Dashboard(Home):
    def start(self, n: int) -> ipp.Client:
        self.cluster = ipp.Cluster(n=n, log_level=40)
        self.addCleanup(self.cluster.stop_cluster_sync)
        return self.cluster.start_and_connect_sync()

    def open(self) -> str:
        """Start the command; the address that it prints."""
        self.process = subprocess.Popen(
            [
                *(binary(), "cluster", "dashboard"),
                f"--cluster-id={self.cluster.cluster_id}",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(self.process.communicate)
        self.addCleanup(self.process.kill)
        assert self.process.stdout is not None
        self.assertTrue(select.select([self.process.stdout], [], [], SECONDS)[0])
        address = self.process.stdout.readline().strip()
        self.assertRegex(address, r"^http://127\.0\.0\.1:\d+/[0-9a-f]{64}/$")
        return address

    def ask(
        self,
        address: str,
        method: str = "GET",
        path: str | None = None,
        host: str | None = None,
    ) -> http.client.HTTPResponse:
        parts = urlsplit(address)
        connection = http.client.HTTPConnection(parts.netloc, timeout=SECONDS)
        self.addCleanup(connection.close)
        headers = {} if host is None else {"Host": host}
        connection.request(method, parts.path if path is None else path, None, headers)
        return connection.getresponse()

    def event(self, response: http.client.HTTPResponse) -> tuple[str, Any]:
        """The next event."""
        name = ""
        while True:
            line = response.readline().decode()
            self.assertTrue(line, "the events have ended")
            kind, _, rest = line.rstrip("\n").partition(": ")
            if kind == "event":
                name = rest
            if kind == "data":
                return name, json.loads(rest)

    def test_what_happens_is_told(self) -> None:
        rc = self.start(2)
        address = self.open()
        events = self.ask(f"{address}events")
        self.assertEqual(events.getheader("content-type"), "text/event-stream")
        name, seen = self.event(events)
        self.assertEqual(name, "seen")
        view = rc.load_balanced_view()
        view.map_sync(abs, range(50))
        with self.assertRaises(ipp.RemoteError):
            rc[0].apply_sync(int, "<b>x</b>")
        end = time.monotonic() + SECONDS
        while seen["ended"] != [50, 1, 0]:
            self.assertLess(time.monotonic(), end, seen)
            name, seen = self.event(events)
        self.assertEqual([one["state"] for one in seen["engines"]], ["idle"] * 2)
        self.assertIn("<b>x</b>", seen["mishaps"][0]["evalue"])
        self.assertGreater(seen["controller"]["resident"], 1 << 20)

    def test_the_page_needs_nothing_from_elsewhere(self) -> None:
        self.start(0)
        address = self.open()
        response = self.ask(address)
        page = response.read().decode()
        self.assertEqual(response.status, 200)
        policy = response.getheader("content-security-policy") or ""
        self.assertIn("default-src 'none'", policy)
        nonce = re.search(r"script-src 'nonce-([0-9a-f]{32})'", policy)
        assert nonce is not None
        self.assertEqual(page.count(f'nonce="{nonce[1]}"'), 2)
        self.assertNotIn("NONCE", page)
        self.assertEqual(
            set(re.findall(r"https?://[^\"' ]+", page)), {"http://www.w3.org/2000/svg"}
        )
        again = self.ask(address).getheader("content-security-policy")
        self.assertNotEqual(again, policy)

    def test_who_does_not_know_the_address_gets_nothing(self) -> None:
        self.start(0)
        address = self.open()
        token = urlsplit(address).path.strip("/")
        port = urlsplit(address).port
        wrong = token[:-1] + ("0" if token[-1] != "0" else "1")
        for path in ("/", f"/{token}", f"/{wrong}/", f"/{wrong}/events", "/%2e%2e/"):
            response = self.ask(address, path=path)
            self.assertEqual(response.status, 404, path)
            self.assertNotIn(token.encode(), response.read())
        for host in ("rebound.example", f"rebound.example:{port}", "127.0.0.1", ""):
            response = self.ask(address, host=host)
            self.assertEqual(response.status, 421, host)
            self.assertNotIn(b"<html", response.read())
        for method in ("POST", "PUT", "DELETE", "HEAD", "OPTIONS"):
            self.assertEqual(self.ask(address, method).status, 405, method)
        self.assertEqual(self.ask(address, host=f"localhost:{port}").status, 200)

    def test_nonsense_ends_a_connection_and_nothing_else(self) -> None:
        self.start(0)
        address = self.open()
        place = (urlsplit(address).hostname, urlsplit(address).port)
        for nonsense in (
            b"\0" * 1000,
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET " + b"/a" * 100_000 + b" HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 10_000,
            b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
        ):
            with socket.create_connection(place, SECONDS) as connection:
                try:
                    connection.sendall(nonsense)
                    connection.shutdown(socket.SHUT_WR)
                    answer = connection.recv(4096)
                except OSError:
                    continue
                self.assertNotIn(b" 200 ", answer)
        # Some that say nothing keep nobody out.
        idle = [socket.create_connection(place, SECONDS) for _ in range(40)]
        self.assertEqual(self.ask(address).status, 200)
        for connection in idle:
            connection.close()

    def test_it_ends_with_the_cluster(self) -> None:
        self.start(1)
        events = self.ask(f"{self.open()}events")
        self.assertEqual(self.event(events)[0], "seen")
        self.cluster.stop_cluster_sync()
        name = ""
        while name != "gone":
            name, said = self.event(events)
        self.assertTrue(said)
        _, errors = self.process.communicate(timeout=SECONDS)
        self.assertEqual(self.process.returncode, 1)
        self.assertIn("has ended", errors)

    def test_the_port_is_closed_with_the_command(self) -> None:
        self.start(0)
        before = listening()
        address = self.open()
        port = urlsplit(address).port
        self.assertEqual(listening() - before, {("0100007F", port)})
        self.process.send_signal(signal.SIGINT)
        self.process.wait(SECONDS)
        self.assertNotIn(("0100007F", port), listening())

    def test_a_port_that_is_taken(self) -> None:
        self.start(0)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            done = subprocess.run(
                [
                    *(binary(), "cluster", "dashboard"),
                    f"--cluster-id={self.cluster.cluster_id}",
                    f"--port={taken.getsockname()[1]}",
                ],
                capture_output=True,
                text=True,
                timeout=SECONDS,
            )
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("in use", done.stderr)


def listening() -> set[tuple[str, int]]:
    """Where this machine listens at TCP, addresses as the kernel writes them."""
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path("/proc/net", name).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A":
                address, _, port = words[1].partition(":")
                found.add((address, int(port, 16)))
    return found


if __name__ == "__main__":
    unittest.main()
