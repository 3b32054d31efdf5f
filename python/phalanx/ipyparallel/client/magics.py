"""The magics ``%px``, ``%%px``, ``%autopx``, ``%pxresult`` and ``%pxconfig``."""

import argparse
import shlex
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError  # type: ignore[import-not-found,unused-ignore]
from IPython.core.magic import Magics  # type: ignore[import-not-found,unused-ignore]

from ..error import AlreadyDisplayedError, Remote
from .asyncresult import AsyncResult

if TYPE_CHECKING:
    from .view import DirectView

__all__ = ["ParallelMagics", "exec_args", "output_args"]

# Seconds that a cell waits for what engines say to an interrupt.
INTERRUPT_PATIENCE = 2.0

GROUPS = ("engine", "order", "type", "collate")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong instead of ending the process."""

    def error(self, message: str) -> Any:
        raise UsageError(f"{self.prog}: {message}")


def exec_args(f: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a magic as one that takes the options about where and how code runs."""
    f._exec_args = True  # type: ignore[attr-defined]
    return f


def output_args(f: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a magic as one that takes the options about output."""
    f._output_args = True  # type: ignore[attr-defined]
    return f


def _add_exec(parser: argparse.ArgumentParser) -> None:
    block = parser.add_mutually_exclusive_group()
    block.add_argument("-b", "--block", action="store_const", const=True, dest="block")
    block.add_argument(
        "-a", "--noblock", action="store_const", const=False, dest="block"
    )
    stream = parser.add_mutually_exclusive_group()
    stream.add_argument("--stream", action="store_const", const=True, dest="stream")
    stream.add_argument("--no-stream", action="store_const", const=False, dest="stream")
    verbose = parser.add_mutually_exclusive_group()
    verbose.add_argument(
        "--verbose", action="store_const", const=True, dest="set_verbose"
    )
    verbose.add_argument(
        "--no-verbose", action="store_const", const=False, dest="set_verbose"
    )
    parser.add_argument("-t", "--targets")
    parser.add_argument("--progress-after", type=float, dest="progress_after_seconds")
    parser.add_argument("--signal-on-interrupt")
    parser.add_argument("--local", action="store_const", const=True)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-r", action="store_const", const="order", dest="groupby")
    parser.add_argument("-e", action="store_const", const="engine", dest="groupby")
    parser.add_argument("--group-outputs", choices=GROUPS, dest="groupby")
    parser.add_argument("-o", "--out", dest="save_name")


def _number_or_slice(text: str) -> Any:
    """Engines as typed after ``-t``: ``all``, ``1``, ``0,2``, ``::2``."""
    if text == "all":
        return text
    try:
        if ":" in text:
            return slice(
                *(int(part) if part.strip() else None for part in text.split(":"))
            )
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(
            "targets are 'all', a number, several with commas, or a slice, not "
            f"{text!r}"
        ) from None
    return numbers if "," in text else numbers[0]


def _signal_number(text: str) -> int:
    """A signal by its name or its number."""
    if text.lstrip("-").isdigit():
        return int(text)
    found = getattr(signal, text, None)
    if not isinstance(found, signal.Signals):
        raise UsageError(f"no signal {text!r}")
    return int(found)


class ParallelMagics(Magics):  # type: ignore[misc,unused-ignore]
    """The magics of one view. With a suffix they are ``%px_suffix`` and so on."""

    registered = True
    magics: dict[str, dict[str, Any]] = {"line": {}, "cell": {}}  # noqa: RUF012

    view: "DirectView"
    last_result: AsyncResult | None = None
    progress_after_seconds: float = 2.0
    signal_on_interrupt: str | None = None
    stream_output: bool = True
    suffix: str = ""
    verbose: bool = False

    def __init__(self, shell: Any, view: "DirectView", suffix: str = "") -> None:
        super().__init__(shell=shell)
        self.view = view
        self.suffix = suffix
        self._autopx = False
        self._original_run: Any = None
        self.magics = {
            "cell": {f"px{suffix}": self.cell_px},
            "line": {
                f"px{suffix}": self.px,
                f"autopx{suffix}": self.autopx,
                f"pxconfig{suffix}": self.pxconfig,
                f"pxresult{suffix}": self.result,
                f"result{suffix}": self.result,
            },
        }

    # --- options ----------------------------------------------------------------------

    def _parse(self, name: str, line: str, execute: bool, output: bool) -> Any:
        parser = _Parser(prog=f"%{name}{self.suffix}", add_help=False)
        if execute:
            _add_exec(parser)
        if output:
            _add_output(parser)
        return parser.parse_args(shlex.split(line))

    @exec_args
    def pxconfig(self, line: str) -> None:
        """Set for this view: -t TARGETS, --block, --noblock, --verbose, --stream,
        ..."""
        options = self._parse("pxconfig", line, True, False)
        if options.targets:
            self.view.targets = self._resolve(options.targets)
        if options.block is not None:
            self.view.block = options.block
        if options.set_verbose is not None:
            self.verbose = options.set_verbose
        if options.stream is not None:
            self.stream_output = options.stream
        if options.progress_after_seconds is not None:
            self.progress_after_seconds = options.progress_after_seconds
        if options.signal_on_interrupt is not None:
            _signal_number(options.signal_on_interrupt)
            self.signal_on_interrupt = options.signal_on_interrupt

    def _resolve(self, text: str) -> Any:
        chosen = _number_or_slice(text)
        if chosen == "all":
            return chosen
        return self.view.client.direct_view(chosen).targets

    # --- execution --------------------------------------------------------------------

    def px(self, line: str = "") -> Any:
        """Execute a line on the engines: ``%px a = 5``."""
        line = line.strip()
        if not line:
            raise UsageError("%px executes a statement on the engines: give one")
        # (As in a cell, the caller's `{names}` are not filled in.)
        return self.parallel_execute(line)

    # IPython looks at this: names in braces are the engines', not this shell's.
    px._ipython_magic_no_var_expand = True  # type: ignore[attr-defined]

    @exec_args
    @output_args
    def cell_px(self, line: str = "", cell: str | None = None) -> Any:
        """Execute a cell on the engines: ``%%px --targets 0,2``; ``--local`` here
        too."""
        options = self._parse("%px", line, True, True)
        name = options.save_name
        if options.targets:
            targets = self._resolve(options.targets)
        else:
            targets = self.view.targets
        if options.set_verbose is not None:
            before_verbose, self.verbose = self.verbose, options.set_verbose
        else:
            before_verbose = self.verbose
        before = self.view.targets
        self.view.targets = targets
        try:
            if options.local:
                # First there, so that both run at the same time.
                result = self.parallel_execute(cell or "", block=False, save_name=name)
                self.shell.run_cell(cell)
                block = self.view.block if options.block is None else options.block
                if block:
                    self._show(result, options.groupby or "type", None, None, None)
                    return None
                return result
            return self.parallel_execute(
                cell or "",
                block=options.block,
                groupby=options.groupby or "type",
                save_name=name,
                stream_output=options.stream,
                progress_after=options.progress_after_seconds,
                signal_on_interrupt=options.signal_on_interrupt,
            )
        finally:
            self.view.targets = before
            self.verbose = before_verbose

    def parallel_execute(
        self,
        cell: str,
        block: bool | None = None,
        groupby: str = "type",
        save_name: str | None = None,
        stream_output: bool | None = None,
        progress_after: float | None = None,
        signal_on_interrupt: str | None = None,
    ) -> Any:
        """Execute code on the engines of the view, and show what comes of it."""
        block = self.view.block if block is None else block
        kind = "Parallel" if block else "Async parallel"
        if self.verbose:
            print(f"{kind} execution on engine(s): {self.view.targets}")
        if signal_on_interrupt is None:
            signal_on_interrupt = self.signal_on_interrupt
        number = _signal_number(signal_on_interrupt or "SIGINT")
        result = self.view.execute(cell, silent=False, block=False)
        self.last_result = result
        if save_name:
            self.shell.user_ns[save_name] = result
        if not block:
            return result
        self._show(
            result,
            groupby,
            stream_output,
            progress_after,
            (number, signal_on_interrupt or "SIGINT"),
        )
        # The cell's value would be shown a second time.
        return None

    def _show(
        self,
        result: AsyncResult,
        groupby: str,
        stream: bool | None,
        progress_after: float | None,
        on_interrupt: tuple[int, str] | None,
    ) -> None:
        stream = self.stream_output if stream is None else stream
        if progress_after is None:
            progress_after = self.progress_after_seconds
        groupby = "type" if groupby == "collate" else groupby
        try:
            if stream:
                with result.stream_output():
                    ended = self._wait(result, progress_after, on_interrupt)
            else:
                ended = self._wait(result, progress_after, on_interrupt)
            if not ended:
                return
            result.get()
        except Remote as problem:
            if stream:
                # It was shown as it came.
                raise AlreadyDisplayedError(problem) from None
            result.display_outputs(groupby)
            raise
        if not stream:
            result.display_outputs(groupby)

    def _wait(
        self,
        result: AsyncResult,
        progress_after: float,
        on_interrupt: tuple[int, str] | None,
    ) -> bool:
        """Whether it has ended by itself. An interrupt here interrupts the engines."""
        try:
            if progress_after < 0:
                result.wait()
            elif not result.wait(progress_after):
                result.wait_interactive()
            return True
        except KeyboardInterrupt:
            if on_interrupt is None:
                raise
            number, name = on_interrupt
            print(
                f"Received Keyboard Interrupt. Sending signal {name} to engines...",
                file=sys.stderr,
            )
            targets = [one["engine_id"] for one in result._metadata]
            self.view.client.send_signal(number, targets=targets, block=True)
            if number:
                # What they say to it is part of the cell's output.
                result.wait(INTERRUPT_PATIENCE)
            return False

    def result(self, line: str = "") -> None:
        """Show the output of the last ``%px`` once more (``-r``, ``-e``, ``-o
        NAME``)."""
        if self.last_result is None:
            raise UsageError("there is no result yet: use %px first")
        options = self._parse("pxresult", line, False, True)
        if options.save_name:
            self.shell.user_ns[options.save_name] = self.last_result
        groupby = options.groupby or "type"
        self.last_result.display_outputs("type" if groupby == "collate" else groupby)

    # --- %autopx ----------------------------------------------------------------------

    def autopx(self, line: str = "") -> None:
        """Send every cell to the engines, until it is given again."""
        if self._autopx:
            del self.shell.run_cell
            self._autopx = False
            print("%autopx disabled")
            return
        self._original_run = self.shell.run_cell
        self.shell.run_cell = self.pxrun_cell
        self._autopx = True
        print("%autopx enabled")

    def pxrun_cell(self, raw_cell: str, *args: Any, **kwargs: Any) -> Any:
        """Take the place of the shell's `run_cell` while ``%autopx`` is on."""
        if raw_cell.strip().lstrip("%").split(" ")[0] in (
            f"autopx{self.suffix}",
            f"pxconfig{self.suffix}",
        ) or raw_cell.lstrip().startswith(
            f"get_ipython().run_line_magic('autopx{self.suffix}'"
        ):
            return self._original_run(raw_cell, *args, **kwargs)
        try:
            result = self.view.execute(raw_cell, silent=False, block=False)
        except Exception:
            self.shell.showtraceback()
            return True
        self.last_result = result
        if self.view.block:
            try:
                result.get()
            except Remote:
                self.shell.showtraceback()
                return True
            else:
                result.display_outputs()
        return False

    def pxrun_nodes(self, *args: Any, **kwargs: Any) -> Any:
        """(Cells go to the engines whole: see `pxrun_cell`.)"""
        return self.shell.run_ast_nodes(*args, **kwargs)
