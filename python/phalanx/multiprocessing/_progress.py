"""Progress of pool calls: a bar of tqdm, or one plain line on standard error."""

import functools
import sys
import threading
import time
from contextlib import suppress
from typing import Any, Protocol

__all__ = ["Meter", "Watched"]

# How often the display is brought up to date, and how often a plain line is printed
# where lines cannot be overwritten (a log), in seconds.
INTERVAL = 0.1
LOG_INTERVAL = 10.0
COLUMNS = 79


class Watched(Protocol):
    """What can be shown: a job of the supervisor."""

    def ready(self) -> bool:
        """Whether all of it is done."""

    def progress(self) -> tuple[int, int | None]:
        """How many items are done, and of how many, if that is known."""


class Line:
    """A display of one line; it has the methods of tqdm that are used here."""

    def __init__(self, total: int | None, desc: str) -> None:
        self.total = total
        self.n = 0
        self._name = desc
        self._start = time.monotonic()
        self._shown = self._start
        self._last = -1
        self._terminal = bool(sys.stderr) and sys.stderr.isatty()

    def refresh(self) -> None:
        """Show the line, if it changed and, in a log, if it is time."""
        now = time.monotonic()
        if self._terminal:
            if self.n != self._last:
                self._write("\r" + self.text(now).ljust(COLUMNS))
        elif now - self._shown >= LOG_INTERVAL:
            self._write(self.text(now) + "\n")
            self._shown = now
        self._last = self.n

    def close(self) -> None:
        """Show the last state and go to the next line."""
        text = self.text(time.monotonic())
        self._write(f"\r{text.ljust(COLUMNS)}\n" if self._terminal else f"{text}\n")

    def text(self, now: float) -> str:
        """Return the line, at most `COLUMNS` long."""
        seconds = now - self._start
        rate = self.n / seconds if seconds > 0 else 0.0
        if self.total is None:
            facts = f"{self.n} done, {rate:.4g}/s, {_clock(seconds)}"
        else:
            share = 100 * self.n // self.total if self.total else 100
            facts = f"{self.n}/{self.total} ({share}%), {rate:.4g}/s"
            if self.n >= self.total:
                facts += f", {_clock(seconds)}"
            elif rate:
                facts += f", {_clock((self.total - self.n) / rate)} left"
        room = max(4, COLUMNS - len(facts) - 2)
        name = self._name if len(self._name) <= room else self._name[: room - 3] + "..."
        return f"{name}: {facts}"[:COLUMNS]

    @staticmethod
    def _write(text: str) -> None:
        if sys.stderr:
            sys.stderr.write(text)
            sys.stderr.flush()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes:02}:{seconds:02}"
    )


def _open_display(total: int | None, name: str) -> Any:
    try:
        from tqdm.auto import tqdm  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        return Line(total, name)
    return tqdm(total=total, desc=name)


class Display:
    """The display of one call.

    One that cannot be shown (standard error is closed, or its disk full) goes away:
    it must not cost the call its results.
    """

    def __init__(self, job: Watched, name: str) -> None:
        self._job = job
        # Refreshed by the meter, closed by whoever sees the end first.
        self._lock = threading.Lock()
        self._bar: Any = None
        with suppress(Exception):
            self._bar = _open_display(job.progress()[1], name)

    def update(self) -> bool:
        """Bring it up to date; return whether the call has ended."""
        ended = self._job.ready()
        self._show()
        if ended:
            self.close()
        return ended or self._bar is None

    def close(self) -> None:
        """Show the last state and end the display; only the first call counts."""
        self._show()
        with self._lock:
            bar, self._bar = self._bar, None
        if bar is not None:
            with suppress(Exception):
                bar.close()

    def _show(self) -> None:
        with self._lock:
            if self._bar is None:
                return
            try:
                self._bar.n, self._bar.total = self._job.progress()
                self._bar.refresh()
            except Exception:
                self._bar = None


class Meter:
    """Keeps the displays of a pool up to date, from a thread of its own."""

    def __init__(self) -> None:
        self._displays: list[Display] = []
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None

    def follow(self, job: Watched, function: object) -> Display:
        """Open a display for a job."""
        while isinstance(function, functools.partial):
            function = function.func
        name = getattr(function, "__qualname__", None) or type(function).__qualname__
        display = Display(job, name.rpartition("<locals>.")[2])
        with self._wake:
            self._displays.append(display)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="phalanx-progress", daemon=True
                )
                self._thread.start()
        return display

    def stop(self) -> None:
        """Close all displays and end the thread."""
        with self._wake:
            displays, self._displays = self._displays, []
            thread = self._thread
            self._wake.notify()
        for display in displays:
            display.close()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait(INTERVAL)
                current = list(self._displays)
            ended = [display for display in current if display.update()]
            with self._wake:
                for display in ended:
                    if display in self._displays:
                        self._displays.remove(display)
                if not self._displays:
                    self._thread = None
                    return
