"""Clusters whose processes are killed or stopped, and strangers at their socket."""

import contextlib
import io
import json
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
import time
import unittest
from pathlib import Path

from phalanx import ipyparallel as ipp
from phalanx._workers import ClusterGone, ClusterLink

SECONDS = 60.0  # until something counts as hung
MARK = "PHALANX_TEST_MARK"  # in the environment of every process of one test
PHALANX = os.environ.get(
    "PHALANX_LAUNCHER", str(Path(sysconfig.get_path("scripts"), "phalanx"))
)


def marked(mark: str) -> list[int]:
    """The living processes that have the mark."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            is_there = wanted in (path / "environ").read_bytes()
            state = (path / "stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            continue
        if is_there and state not in "ZX" and int(path.name) != os.getpid():
            found.append(int(path.name))
    return found


def until(what, why: str):
    """Wait for something to be true. It counts naps and not the clock: after a pause of
    the whole machine, what is waited for has its time as well."""
    for _ in range(int(SECONDS / 0.01)):
        if found := what():
            return found
        time.sleep(0.01)
    raise AssertionError(f"not within {SECONDS:g} s: {why}")


def kill_myself(number=9):
    import os

    os.kill(os.getpid(), number)


def kill_or_sleep(pid):
    import os

    if os.getpid() == pid:
        os.kill(pid, 9)
    sleep_long()


def sleep_long():
    import time

    time.sleep(1000)


# A module whose import waits, once somebody wants it.
LOADS = """
import pathlib, time
here = pathlib.Path(__file__).parent
with open(here / "begun", "a") as file:
    file.write("x")
while (here / "wait").exists():
    time.sleep(0.01)

def for_ever():
    time.sleep(1000)

def answer():
    return 42
"""


class ClusterCase(unittest.TestCase):
    """A cluster in a profile of its own, of which nothing is left in the end."""

    engines = 2
    args: tuple[str, ...] = ()

    def setUp(self) -> None:
        place = tempfile.TemporaryDirectory(prefix="cluster-")
        self.addCleanup(place.cleanup)
        self.place = Path(place.name)
        self.mark = f"{os.getpid()}-{id(self)}"
        self.environment = {
            **os.environ,
            MARK: self.mark,
            "IPYTHONDIR": str(self.place / "ipython"),
            "PHALANX_RUNTIME_DIR": str(self.place / "run"),
            "PHALANX_CLUSTER_PYTHON": sys.executable,
            # Engines run elsewhere, and call functions of this module.
            "PYTHONPATH": str(Path(__file__).parent),
        }
        for name in ("IPP_PROFILE_DIR", "IPP_CLUSTER_ID"):
            self.environment.pop(name, None)
        self.security = self.place / "ipython" / "profile_default" / "security"
        self.file = self.security / "ipcontroller-client.json"
        self.addCleanup(self.end)
        self.phalanx("cluster", "start", "-n", self.engines, "--daemonize", *self.args)
        self.pid = json.loads(self.file.read_text())["pid"]

    def phalanx(self, *args, status: int = 0) -> str:
        line = [PHALANX, *(str(arg) for arg in args)]
        ran = subprocess.run(
            line,
            cwd=self.place,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        self.assertEqual(ran.returncode, status, f"{line}: {ran.stdout}{ran.stderr}")
        return ran.stdout + ran.stderr

    def end(self) -> None:
        if self.pid in marked(self.mark):
            os.kill(self.pid, signal.SIGCONT)
            self.phalanx("cluster", "stop")
        until(lambda: not marked(self.mark), f"processes are left: {marked(self.mark)}")

    def client(self, engines: int | None = None) -> ipp.Client:
        client = ipp.Client(url_file=str(self.file), timeout=SECONDS)
        self.addCleanup(client.close)
        wanted = self.engines if engines is None else engines
        client.wait_for_engines(wanted, timeout=SECONDS)
        return client

    def link(self, **other) -> ClusterLink:
        about = {**json.loads(self.file.read_text()), **other}
        address, token = f"unix:{about['socket']}", about["token"]
        return ClusterLink.connect(address, token, "command", {}, SECONDS)

    def ask(self, kind: str, **fields) -> dict:
        link = self.link()
        try:
            link.send(kind, {"request": 1, **fields})
            while True:
                told = link.receive(SECONDS)
                assert told is not None, f"no answer to {kind}"
                if told[0] == "reply":
                    return told[1]
        finally:
            link.close()


class TestEnds(ClusterCase):
    def test_a_killed_engine_costs_its_task_only(self):
        client = self.client()
        view = client.load_balanced_view()
        lost = view.apply_async(kill_myself)
        with self.assertRaises(Exception) as caught:
            lost.get(timeout=SECONDS)
        self.assertIn("SIGKILL", str(caught.exception))
        until(lambda: len(client.ids) == 1, "the engine is still listed")
        self.assertEqual(view.map_sync(abs, range(100)), list(range(100)))

    def test_what_waits_for_a_killed_engine_goes_elsewhere_or_ends(self):
        client = self.client()
        first = client[0].apply_async(sleep_long)
        behind = client[0].apply_async(os.getpid)
        balanced = client.load_balanced_view().map_async(abs, range(50), chunksize=1)
        victim = self.engine_pid(client, 0)
        os.kill(victim, signal.SIGKILL)
        for one in (first, behind):
            with self.assertRaises(Exception) as caught:
                one.get(timeout=SECONDS)
            self.assertIn("SIGKILL", str(caught.exception))
        self.assertEqual(list(balanced.get(timeout=SECONDS)), list(range(50)))

    def test_what_c_code_has_printed_is_of_its_task(self):
        def printed(text):
            import ctypes

            ctypes.CDLL(None).printf(text)

        client = self.client()
        for text in (b"one\n", b"two", b"three"):
            result = client[:].apply_async(printed, text)
            result.get(SECONDS)
            self.assertEqual(result.stdout, [text.decode()] * 2)

    def test_a_call_on_several_says_that_an_engine_has_ended(self):
        client = self.client()
        result = client[:].apply_async(kill_or_sleep, self.engine_pid(client, 0))
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.assertFalse(result.wait(6))
        told = r"kill_or_sleep: .*engine 0 .*SIGKILL.*; 1 other runs on"
        self.assertRegex(said.getvalue(), told)
        client.send_signal("SIGINT", block=True)
        with self.assertRaisesRegex(ipp.CompositeError, "KeyboardInterrupt"):
            result.get(SECONDS)

    def test_an_engine_that_is_told_of_its_cluster_by_the_environment(self):
        client = self.client()
        about = (self.security / "ipcontroller-engine.json").read_text()
        elsewhere = {"IPYTHONDIR": str(self.place / "nothing")}
        told = {**self.environment, **elsewhere, "IPP_CONNECTION_INFO": about}
        engine = subprocess.Popen(
            [PHALANX, "ipengine"], cwd=self.place, env=told, stdout=subprocess.DEVNULL
        )
        self.addCleanup(engine.wait, SECONDS)
        self.addCleanup(engine.kill)
        client.wait_for_engines(3, timeout=SECONDS)
        # The secret goes no further.
        names = client[2].apply_sync(lambda: sorted(__import__("os").environ))
        self.assertIn("IPYTHONDIR", names)
        self.assertNotIn("IPP_CONNECTION_INFO", names)
        self.environment["IPP_CONNECTION_INFO"] = "{"
        said = self.phalanx("ipengine", status=1)
        del self.environment["IPP_CONNECTION_INFO"]
        self.assertIn("IPP_CONNECTION_INFO: EOF while parsing", said)

    def test_an_interrupt_leaves_no_half_of_a_module(self):
        """It waits until what a call needs is imported; another one does not."""
        (self.place / "loads.py").write_text(LOADS)
        (self.place / "begun").touch()
        sys.path.insert(0, str(self.place))
        self.addCleanup(sys.path.remove, str(self.place))
        self.addCleanup(sys.modules.pop, "loads")
        import loads

        client = self.client()
        client[:].apply_sync(sys.path.insert, 0, str(self.place))
        wait, begun = self.place / "wait", self.place / "begun"

        def interrupted(engine: int):
            wait.touch()
            result = client[engine].apply_async(loads.for_ever)
            until(lambda: begun.read_text() == "x" * (engine + 2), "it is imported")
            client.send_signal(signal.SIGINT, engine, block=True)
            return result

        first = interrupted(0)
        self.assertFalse(first.wait(0.2))
        wait.unlink()
        with self.assertRaisesRegex(ipp.error.RemoteError, "KeyboardInterrupt"):
            first.get(timeout=SECONDS)
        self.assertEqual(client[0].apply_sync(loads.answer), 42)
        self.assertEqual(begun.read_text(), "xx", "imported once here, once there")
        second = interrupted(1)

        def another() -> bool:
            client.send_signal(signal.SIGINT, 1, block=True)
            return second.wait(0.1)

        until(another, "the task is interrupted in the middle of an import")
        with self.assertRaisesRegex(ipp.error.RemoteError, "KeyboardInterrupt"):
            second.get(timeout=SECONDS)
        wait.unlink()
        self.assertEqual(client[1].apply_sync(loads.answer), 42)

    def engine_pid(self, client: ipp.Client, number: int) -> int:
        link = self.link()
        try:
            return {one["id"]: one["pid"] for one in link.welcome["engines"]}[number]
        finally:
            link.close()

    def test_without_its_controller_everything_ends(self):
        client = self.client()
        pending = client[:].apply_async(sleep_long)
        os.kill(self.pid, signal.SIGKILL)
        with self.assertRaises(Exception) as caught:
            pending.get(timeout=SECONDS)
        self.assertNotIsInstance(caught.exception, TimeoutError)
        with self.assertRaises(OSError):
            client[:].apply_sync(os.getpid)
        until(lambda: not marked(self.mark), "engines survive their controller")
        self.assertNotIn("Local", self.phalanx("cluster", "list"))
        self.phalanx("cluster", "start", "-n", 1, "--daemonize")
        self.pid = json.loads(self.file.read_text())["pid"]
        self.assertEqual(len(self.client(1)[:].apply_sync(os.getpid)), 1)

    def test_what_a_killed_client_has_queued_is_dropped(self):
        script = textwrap.dedent(
            f"""
            import os, signal, time
            import numpy
            from phalanx import ipyparallel as ipp
            client = ipp.Client(url_file={str(self.file)!r})
            client.wait_for_engines(2)
            view = client.load_balanced_view()
            large = numpy.ones(1 << 20)
            busy = [view.apply_async(time.sleep, 1) for _ in range(2)]
            more = [view.apply_async(len, large) for _ in range(20)]
            client[:].apply_async(abs, 1)
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGKILL)
            """
        )
        before = self.settled()
        ran = subprocess.run(
            [sys.executable, "-c", script],
            env=self.environment,
            timeout=SECONDS,
        )
        self.assertEqual(ran.returncode, -signal.SIGKILL)
        until(lambda: self.nothing_waits(), "what it has queued is still there")
        until(lambda: self.settled() <= before, "memory of its objects is still held")

    def nothing_waits(self) -> bool:
        told = self.ask("queue_status")
        waiting = told["unassigned"]
        return not waiting and not any(
            queue["queue"] or queue["tasks"] for queue in told["engines"].values()
        )

    def settled(self) -> int:
        """Bytes that are held in the cluster's memory."""
        link = self.link()
        try:
            return link.used
        finally:
            link.close()

    def test_no_block_is_lost_to_killed_engines(self):
        client = self.client()
        before = self.settled()
        for _ in range(5):
            result = client[1].apply_async(bytes, 3 << 20)
            self.assertEqual(len(result.get(timeout=SECONDS)), 3 << 20)
            del result
        doomed = client[0].apply_async(lambda data: kill_myself(), bytes(2 << 20))
        with self.assertRaises(ipp.error.EngineError):
            doomed.get(timeout=SECONDS)
        del doomed
        client.close()
        until(lambda: self.settled() <= before, f"more than {before} bytes are held")

    def test_a_stopped_controller_goes_on(self):
        client = self.client()
        os.kill(self.pid, signal.SIGSTOP)
        later = client[:].apply_async(abs, -1)
        with self.assertRaises(TimeoutError):
            later.get(timeout=0.2)
        os.kill(self.pid, signal.SIGCONT)
        self.assertEqual(later.get(timeout=SECONDS), [1, 1])


class TestRestart(ClusterCase):
    engines = 1
    args = ("--restart",)

    def test_an_engine_that_dies_is_started_again(self):
        client = self.client()
        time.sleep(2.5)  # one that dies at once is not
        with self.assertRaises(ipp.error.EngineError):
            client[0].apply_sync(kill_myself)
        until(lambda: client.ids == [0], "the engine does not come back")
        self.assertEqual(client[0].apply_sync(abs, -2), 2)


class TestStrangers(ClusterCase):
    engines = 1

    def test_files_and_sockets_are_the_users_alone(self):
        about = json.loads(self.file.read_text())
        modes = {
            self.file: 0o600,
            self.security: 0o700,
            Path(about["socket"]).parent: 0o700,
            Path(about["socket"]).parent.parent: 0o700,
        }
        for path, mode in modes.items():
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), mode, path)

    @unittest.skipUnless(os.geteuid() == 0, "only root can be another user")
    def test_another_user_does_not_get_in(self):
        about = json.loads(self.file.read_text())

        def connect() -> None:
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.connect(about["socket"])

        def reach() -> str:
            met = []
            for attempt in (self.file.read_text, connect):
                try:
                    attempt()
                    met.append("in")
                except OSError as error:
                    met.append(type(error).__name__)
            return " ".join(met)

        self.assertEqual(self.as_nobody(reach), "PermissionError PermissionError")

        # All doors opened by mistake, and the token in hand.
        for path in (Path(about["socket"]), *Path(about["socket"]).parents):
            if path.is_relative_to(self.place):
                path.chmod(0o777)

        def knock() -> str:
            try:
                address = f"unix:{about['socket']}"
                ClusterLink.connect(address, about["token"], "command", {}, SECONDS)
                return "in"
            except (ClusterGone, OSError) as error:
                return type(error).__name__

        self.assertEqual(self.as_nobody(knock), "ClusterGone")

        def logged() -> bool:
            logs = [path.read_text() for path in self.place.rglob("*.log")]
            return any("user 65534" in log for log in logs)

        # It is shut out first.
        until(logged, "the controller's log says who knocked")
        self.assertEqual(self.client()[0].apply_sync(abs, -1), 1)

    def as_nobody(self, does) -> str:
        """What a function returns in a process of another user's."""
        reads, writes = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                signal.alarm(int(SECONDS))
                os.setgroups([])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
                os.write(writes, does().encode())
            finally:
                os._exit(0)
        os.close(writes)
        with os.fdopen(reads) as answer:
            text = answer.read()
        os.waitpid(child, 0)
        return text

    def test_a_wrong_token_is_refused(self):
        with self.assertRaises(ClusterGone) as caught:
            self.link(token="0" * 64)
        self.assertIn("token", str(caught.exception))
        self.assertEqual(self.client()[0].apply_sync(abs, -1), 1)

    def test_garbage_is_refused_without_harm(self):
        about = json.loads(self.file.read_text())
        greeting = b"\x93PHLNX\r\n" + struct.pack("<I", 1) + b"\x01" + b"0"
        for sent in (
            b"GET / HTTP/1.0\r\n\r\n" * 8000,
            os.urandom(1 << 18),
            greeting + struct.pack("<I", 0xFFFFFFFF),
            greeting + struct.pack("<I", 64) + os.urandom(64),
            greeting + struct.pack("<I", 15 << 20) + bytes(1 << 20),
        ):
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.settimeout(SECONDS)
                stranger.connect(about["socket"])
                try:
                    stranger.sendall(sent)
                    while stranger.recv(4096):
                        pass
                except ConnectionError:
                    pass
        self.assertEqual(self.client()[0].apply_sync(abs, -1), 1)

    def test_fields_that_are_wrong_are_named(self):
        link = self.link()
        self.addCleanup(link.close)
        for kind, fields, says in (
            ("submit", {"tasks": [{"id": "a", "retries": "x"}]}, "tasks[0].retries"),
            ("submit", {"tasks": [{"id": "a", "nonsense": 1}]}, "nonsense"),
            ("submit", {"tasks": [{"id": "a", "payload": 3}]}, "no payload 3"),
            ("signal", {"targets": [-1], "signal": 2}, "targets"),
            ("nonsense", {}, "nonsense"),
        ):
            with (
                self.subTest(kind=kind),
                self.assertRaises((TypeError, ValueError)) as c,
            ):
                link.send(kind, fields)
            self.assertIn(says, str(c.exception))

    def test_commands_say_what_is_there(self):
        self.client()
        self.assertIn("engine 0: has nothing to do", self.phalanx("cluster", "why"))
        again = self.phalanx("cluster", "start", "-n", 1, status=2)
        self.assertIn("running already", again)
        self.phalanx("cluster", "engines", "-n", 1)
        self.assertEqual(self.client(2).ids, [0, 1])
        self.phalanx("cluster", "stop")
        self.assertEqual(list(self.security.iterdir()), [])
        self.assertIn("no cluster", self.phalanx("cluster", "stop", status=1))

    def test_an_engine_by_hand_ends_with_its_command(self):
        command = subprocess.Popen(
            [PHALANX, "ipengine"],
            env=self.environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(command.wait, SECONDS)
        assert command.stderr is not None
        self.addCleanup(command.stderr.close)
        self.assertIn("registration with id 1", command.stderr.readline())
        client = self.client(2)
        result = client[1].execute("print('here')")
        result.get(timeout=SECONDS)
        self.assertIn("here", result.stdout)
        command.terminate()
        until(lambda: client.ids == [0], "the engine does not end")


if __name__ == "__main__":
    unittest.main()
