"""A cluster whose engines and clients reach it over the network: here, over loopback.

Of the connection file, the socket is taken away; so nothing is as it is on one
machine. (Hosts that are hosts: tests/hosts/test_cluster.py.)
"""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time

import numpy as np
from phalanx import ipyparallel as ipp
from phalanx._workers import ClusterGone
from test_faults import PHALANX, ClusterCase, marked, until


def pid_of():
    import os

    return os.getpid()


def sleep_for(seconds):
    import time

    time.sleep(seconds)
    return "slept"


class FarCase(ClusterCase):
    """A controller that listens at a port of loopback, and far engines."""

    engines = 0
    args = ("--ip=127.0.0.2",)

    def setUp(self) -> None:
        super().setUp()
        self.near = self.file
        info = json.loads(self.near.read_text())
        self.assertEqual(len(info["addresses"]), 1)
        self.file = self.place / "far.json"
        # As it is on a machine that the controller does not run on.
        info["socket"] = str(self.place / "not-here")
        info["location"] = "elsewhere"
        self.file.write_text(json.dumps(info))

    def link(self, **other):
        near = json.loads(self.near.read_text())["socket"]
        return super().link(**{"socket": near, **other})

    def near_client(self) -> ipp.Client:
        client = ipp.Client(str(self.near), timeout=20)
        self.addCleanup(client.close)
        return client

    def add_engines(self, n: int = 1, *args: str) -> subprocess.Popen:
        """The command `ipengine` on another machine."""
        process = subprocess.Popen(
            [PHALANX, "ipengine", "--file", str(self.file), "-n", str(n), *args],
            env=self.environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def far_client(self, n: int = 0) -> ipp.Client:
        client = ipp.Client(str(self.file), timeout=20)
        self.addCleanup(client.close)
        if n:
            client.wait_for_engines(n, timeout=60)
        return client


class TestFar(FarCase):
    def test_calls_names_and_text(self) -> None:
        self.add_engines(2)
        client = self.far_client(2)
        self.assertEqual(client.ids, [0, 1])
        view = client[:]
        self.assertEqual(view.apply_sync(lambda x: x + 1, 4), [5, 5])
        view["name"] = "value"
        self.assertEqual(view["name"], ["value"] * 2)
        result = view.execute("print('printed ' + name)")
        result.get(30)
        result.wait_for_output(30)
        self.assertEqual(result.stdout, ["printed value\n"] * 2)
        with self.assertRaisesRegex(ipp.error.CompositeError, "ZeroDivisionError"):
            view.apply_sync(lambda: 1 / 0)
        balanced = client.load_balanced_view()
        squares = balanced.map_sync(lambda x: x * x, range(200))
        self.assertEqual(squares, [x * x for x in range(200)])

    def test_objects_of_every_shape(self) -> None:
        self.add_engines(2)
        client = self.far_client(2)
        view = client[:]
        rng = np.random.default_rng(1)
        objects = [
            b"",
            b"x" * 5_000,
            "ä" * 300_000,
            rng.random(1_000_003),
            {"a": rng.random(10), "b": [rng.random(70_000), "text"]},
            # More blocks than the bytes of a message name, and a few of no length.
            [rng.random(40_000 + i) for i in range(300)] + [np.zeros(0)] * 3,
            np.asfortranarray(rng.random((500, 300))),
        ]
        for sent in objects:
            view["it"] = sent
            for got in view["it"]:
                same = str(type(got)) == str(type(sent))
                self.assertTrue(same and self.equal(got, sent), type(sent))
        parts = rng.random(100_001)
        view.scatter("part", parts, block=True)
        np.testing.assert_array_equal(view.gather("part", block=True), parts)

    def equal(self, one, other) -> bool:
        if isinstance(one, dict):
            pairs = [(one[key], other[key]) for key in other]
        elif isinstance(one, list):
            pairs = list(zip(one, other, strict=True))
        else:
            return bool(np.array_equal(one, other))
        return all(self.equal(a, b) for a, b in pairs)

    def test_near_and_far_engines_and_clients_together(self) -> None:
        self.add_engines(1)
        near = self.near_client()
        near.wait_for_engines(1, timeout=60)
        self.run_engine_here()
        far = self.far_client(2)
        near.wait_for_engines(2, timeout=60)
        for client in (near, far):
            self.assertEqual(client[:].apply_sync(abs, -3), [3, 3])
        array = np.arange(1_000_000.0)
        near[:].push({"array": array}, block=True)
        for got in far[:]["array"]:
            np.testing.assert_array_equal(got, array)

    def run_engine_here(self) -> None:
        process = subprocess.Popen(
            [PHALANX, "ipengine", "--file", str(self.near)],
            env=self.environment,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

    def test_interrupting_and_restarting(self) -> None:
        self.add_engines(1)
        client = self.far_client(1)
        view = client[0]
        result = view.apply_async(sleep_for, 1000)
        until(lambda: client.queue_status(0)["tasks"], "the task has begun")
        time.sleep(0.2)
        client.send_signal(signal.SIGINT, 0, block=True)
        with self.assertRaisesRegex(ipp.error.RemoteError, "KeyboardInterrupt"):
            result.get(30)
        first = view.apply_sync(pid_of)
        client.shutdown(0, restart=True, block=True)
        until(lambda: 0 in client.ids, "it is there again")
        self.assertNotEqual(client[0].apply_sync(pid_of), first)

    def test_a_task_that_takes_long_holds_up_no_other(self) -> None:
        self.add_engines(2)
        client = self.far_client(2)
        view = client.load_balanced_view()
        view.map_sync(abs, range(50))
        long = view.apply_async(sleep_for, 1000)
        short = [view.apply_async(abs, -i) for i in range(50)]
        self.assertEqual([one.get(30) for one in short], list(range(50)))
        self.assertFalse(long.ready())
        client.send_signal(signal.SIGINT, long.engine_id, block=True)


class TestFarFaults(FarCase):
    def test_engine_killed(self) -> None:
        self.add_engines(2)
        client = self.far_client(2)
        victim = client[0].apply_sync(pid_of)
        result = client[0].apply_async(sleep_for, 1000)
        until(lambda: client.queue_status(0)["tasks"], "the task has begun")
        os.kill(victim, signal.SIGKILL)
        with self.assertRaisesRegex(ipp.error.EngineError, "SIGKILL"):
            result.get(30)
        self.assertEqual(client.ids, [1])
        self.assertEqual(client[:].apply_sync(abs, -1), [1])

    def test_gateway_of_engines_killed(self) -> None:
        gateway = self.add_engines(1)
        client = self.far_client(1)
        result = client[0].apply_async(sleep_for, 1000)
        until(lambda: client.queue_status(0)["tasks"], "the task has begun")
        gateway.kill()
        with self.assertRaisesRegex(ipp.error.EngineError, "cannot be reached"):
            result.get(30)
        until(lambda: not client.ids, "the engine is gone")

    def test_gateway_of_engines_stopped_and_continued(self) -> None:
        gateway = self.add_engines(1)
        client = self.far_client(1)
        client[0]["kept"] = 5
        pid = client[0].apply_sync(pid_of)
        result = client[0].apply_async(sleep_for, 6)
        until(lambda: client.queue_status(0)["tasks"], "the task has begun")
        os.kill(gateway.pid, signal.SIGSTOP)
        try:
            with self.assertRaisesRegex(ipp.error.EngineError, "not been heard from"):
                result.get(30)
        finally:
            os.kill(gateway.pid, signal.SIGCONT)
        until(lambda: client.ids == [0], "the engine is back")
        # The same one, with what it held; what it did for the lost task is nobody's.
        self.assertEqual(client[0]["kept"], 5)
        self.assertEqual(client[0].apply_sync(pid_of), pid)

    def test_controller_killed(self) -> None:
        gateway = self.add_engines(1)
        client = self.far_client(1)
        result = client[0].apply_async(sleep_for, 1000)
        until(lambda: client.queue_status(0)["tasks"], "the task has begun")
        os.kill(self.pid, signal.SIGKILL)
        with self.assertRaises((ipp.error.EngineError, OSError)):
            result.get(30)
        self.assertNotEqual(gateway.wait(60), 0)
        self.assertIn("controller", gateway.stderr.read())

    def test_client_killed(self) -> None:
        self.add_engines(1)
        code = (
            "import sys, time\nfrom phalanx import ipyparallel as ipp\n"
            "rc = ipp.Client(sys.argv[1], timeout=20)\n"
            "rc.wait_for_engines(1, timeout=60)\n"
            "rc[0].apply_async(time.sleep, 3); rc[0].execute('never = 1')\n"
            "print('there', flush=True); time.sleep(1000)"
        )
        script = subprocess.Popen(
            [sys.executable, "-c", code, str(self.file)],
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(script.stdout.close)
        self.assertEqual(script.stdout.readline(), "there\n")
        script.kill()
        script.wait()
        client = self.far_client(1)
        with self.assertRaisesRegex(ipp.error.RemoteError, "never"):
            client[0].pull("never", block=True)

    def test_shutting_down_ends_everything(self) -> None:
        gateway = self.add_engines(2)
        client = self.far_client(2)
        client.shutdown(hub=True, block=True)
        self.assertEqual(gateway.wait(30), 0)
        until(lambda: self.pid not in marked(self.mark), "the controller has ended")


class TestStrangers(FarCase):
    """Who is not of the cluster is refused, and nothing of his is done."""

    def address(self) -> tuple[str, int]:
        host, _, port = json.loads(self.file.read_text())["addresses"][0].partition(":")
        return host, int(port)

    def encrypted(self) -> ssl.SSLSocket:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        plain = socket.create_connection(self.address(), 20)
        sock = context.wrap_socket(plain)
        self.addCleanup(sock.close)
        return sock

    def hung_up(self, sock: socket.socket) -> bytes:
        sock.settimeout(30)
        said = b""
        while True:
            try:
                more = sock.recv(65536)
            except (ConnectionError, ssl.SSLError):
                return said
            if not more:
                return said
            said += more

    def assert_alive(self) -> None:
        near = self.near_client()
        self.assertEqual(near.ids, [])
        near.close()

    def test_the_file_is_the_users_alone(self) -> None:
        self.assertEqual(self.near.stat().st_mode & 0o777, 0o600)

    def test_another_token(self) -> None:
        info = json.loads(self.file.read_text())
        info["token"] = "0" * 64
        with self.assertRaisesRegex(ClusterGone, "token is not that of this cluster"):
            ipp.Client(info, timeout=20)
        self.file.write_text(json.dumps(info))
        engines = self.add_engines(1)
        self.assertEqual(engines.wait(60), 1)
        self.assertIn("token is not that of this cluster", engines.stderr.read())
        self.assert_alive()

    def test_another_certificate(self) -> None:
        info = json.loads(self.file.read_text())
        digits = info["certificate"]
        info["certificate"] = digits[:-2] + ("00" if digits[-2:] != "00" else "11")
        with self.assertRaisesRegex(ClusterGone, "not the controller of the"):
            ipp.Client(info, timeout=20)
        self.assert_alive()

    def test_nobody_there(self) -> None:
        info = json.loads(self.file.read_text())
        info["addresses"] = ["127.0.0.3:9"]
        with self.assertRaisesRegex(ClusterGone, r"127\.0\.0\.3:9.*refused"):
            ipp.Client(info, timeout=2)

    def test_no_encryption(self) -> None:
        with socket.create_connection(self.address(), 20) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)
            self.hung_up(sock)
        self.assert_alive()

    def test_older_tls(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with (
            socket.create_connection(self.address(), 20) as plain,
            self.assertRaises(ssl.SSLError),
        ):
            context.wrap_socket(plain)
        self.assert_alive()

    def test_nonsense_over_tls(self) -> None:
        for said in (b"\x00" * 100_000, os.urandom(100_000), b"\x93PHLNX\x0d\x0a"):
            sock = self.encrypted()
            try:
                sock.sendall(said)
                if len(said) > 1000:
                    self.hung_up(sock)
            except OSError:
                pass
        self.assert_alive()

    def test_a_chunk_before_the_token(self) -> None:
        sock = self.encrypted()
        greeting = b"\x93PHLNX\x0d\x0a" + (2).to_bytes(4, "little") + b"\x010"
        chunk = (1 << 31 | 12).to_bytes(4, "little") + b"\x01\0\0\0" + b"x" * 8
        sock.sendall(greeting + chunk)
        self.assertIn(b"belong to nothing", self.hung_up(sock))
        self.assert_alive()

    def test_a_recording_is_of_no_use(self) -> None:
        """What a client has sent is sent again, byte for byte."""
        host, port = self.address()
        info = json.loads(self.file.read_text())
        recorded = bytearray()
        with socket.create_server(("127.0.0.4", 0)) as between:
            info["addresses"] = [f"127.0.0.4:{between.getsockname()[1]}"]
            self.file.write_text(json.dumps(info))
            engines = self.add_engines(1)
            between.settimeout(30)
            inner, _ = between.accept()
            with inner, socket.create_connection((host, port), 20) as outer:
                import select

                end = time.monotonic() + 60
                near = self.near_client()
                while not near.ids and time.monotonic() < end:
                    for ready in select.select([inner, outer], [], [], 0.1)[0]:
                        said = ready.recv(65536)
                        if ready is inner:
                            recorded += said
                        (outer if ready is inner else inner).sendall(said)
                self.assertEqual(near.ids, [0])
            engines.kill()
        until(lambda: not near.ids, "the engine is gone")
        with socket.create_connection((host, port), 20) as sock:
            try:
                sock.sendall(recorded)
            except OSError:
                pass
            self.hung_up(sock)
        self.assertEqual(near.ids, [])
        near.close()
        self.assert_alive()
