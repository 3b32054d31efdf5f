"""A browser without a screen, by its own protocol for tools (CDP)."""

import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import websocket

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
SECONDS = 60


def find() -> str | None:
    """A browser that is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of a browser."""

    def __init__(self, program: str) -> None:
        self.folder = tempfile.mkdtemp(prefix="phx-browser")
        self.process = subprocess.Popen(
            [
                program,
                *("--headless=new", "--no-sandbox", "--disable-gpu"),
                *("--remote-debugging-port=0", "--remote-allow-origins=*"),
                *("--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars"),
                f"--user-data-dir={self.folder}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []
        port = self._port()
        with urlopen(f"http://127.0.0.1:{port}/json", timeout=SECONDS) as answer:
            page = next(one for one in json.load(answer) if one["type"] == "page")
        self.socket = websocket.create_connection(
            page["webSocketDebuggerUrl"], timeout=SECONDS
        )
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def _port(self) -> int:
        end = time.monotonic() + SECONDS
        place = Path(self.folder, "DevToolsActivePort")
        while time.monotonic() < end:
            if place.exists() and (lines := place.read_text().splitlines()):
                return int(lines[0])
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError("the browser did not start")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params}
        self.socket.send(json.dumps(message))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            if "method" in answer:
                self.events.append(answer)

    def eval(self, expression: str) -> Any:
        """The value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(str(found["exceptionDetails"]))
        return found["result"].get("value")

    def until(self, expression: str) -> Any:
        """The first value of an expression that is true."""
        end = time.monotonic() + SECONDS
        while not (value := self.eval(expression)):
            if time.monotonic() > end:
                page = self.eval("document.body.innerText")
                raise AssertionError(f"never true: {expression}; the page: {page}")
            time.sleep(0.1)
        return value

    def picture(self) -> bytes:
        """The page as PNG."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(found["data"])

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.socket.close()
        shutil.rmtree(self.folder, ignore_errors=True)
