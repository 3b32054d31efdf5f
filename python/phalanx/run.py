"""Run a Python program so that its failure ends the whole job.

    python -m phalanx.run [options] FILE | -m MODULE | -c COMMAND | -  [ARG ...]

An exception that nobody catches, or a nonzero ``sys.exit``, makes the process
end by ``MPI_Abort``. The exception part holds in every program that imports
``phalanx.MPI``; this adds the exit status, and programs that never import it.
"""

import os
import runpy
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

USAGE = """\
usage: python -m {program} [options] FILE [ARG ...]
   or: python -m {program} [options] -m MODULE [ARG ...]
   or: python -m {program} [options] -c COMMAND [ARG ...]
   or: python -m {program} [options] - [ARG ...]
"""

OPTIONS = """\
options:
  -h, --help           show this text
  --prefix             show the directory of the package
  --version            show the version of the package
  --mpi-library        show the path of the MPI library
  --mpi-std-version    show the version of the MPI standard
  --mpi-lib-version    show the library's description of itself
  -rc KEY=VALUE,...    set options of phalanx.rc
"""


def run_command_line(args: list[str] | None = None) -> None:
    """Run ``FILE``, ``-m MODULE``, ``-c COMMAND`` or ``-``, with arguments."""
    sys.argv[:] = sys.argv[1:] if args is None else args
    first = sys.argv[0]
    if first == "-m":
        del sys.argv[0]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    elif first in ("-", "-c"):
        source = sys.stdin.read() if first == "-" else sys.argv.pop(1)
        name = "<stdin>" if first == "-" else "<string>"
        main_module = type(sys)("__main__")
        sys.modules["__main__"] = main_module
        exec(compile(source, name, "exec", dont_inherit=True), main_module.__dict__)
    else:
        if not sys.flags.isolated:
            sys.path[0] = os.path.realpath(os.path.dirname(first))
        runpy.run_path(first, run_name="__main__")


def set_abort_status(status: object) -> None:
    """Make the process end by ``MPI_Abort`` at exit, if MPI is in use.

    ``status`` is an exit status or the exception that ends the program.
    """
    if isinstance(status, SystemExit):
        status = status.code
    elif isinstance(status, KeyboardInterrupt):
        status = 130
    if status is None:
        status = 0
    elif not isinstance(status, int):
        status = 1
    module = sys.modules.get("phalanx.MPI")
    if module is not None and status:
        module._set_abort_status(status)


def _show(text: str) -> "NoReturn":
    print(text)
    sys.exit(0)


def _usage(problem: str | None = None) -> "NoReturn":
    name = __spec__.name if __spec__ is not None else "phalanx.run"
    usage = USAGE.format(program=name.removesuffix(".__main__"))
    if problem is None:
        _show(usage + OPTIONS)
    print(f"{problem}\n{usage}", file=sys.stderr)
    sys.exit(1)


def _library_path() -> str:
    """The file that answers the MPI symbols in this process."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        for line in maps:
            path = line.split(maxsplit=5)[-1].rstrip()
            if os.path.basename(path).startswith("libmpi_abi.so"):
                return path
    return "unknown"


def _inquire(option: str) -> "NoReturn":
    from . import __path__ as path
    from . import rc

    if option == "prefix":
        _show(path[0])
    if option == "version":
        from . import __version__

        _show(f"phalanx {__version__}")
    rc.initialize = rc.finalize = False
    from . import MPI

    if option == "mpi-std-version":
        _show("MPI {}.{}".format(*MPI.Get_version()))
    if option == "mpi-lib-version":
        _show(MPI.Get_library_version())
    _show(_library_path())


INQUIRIES = ("prefix", "version", "mpi-library", "mpi-std-version", "mpi-lib-version")


def _value(text: str) -> object:
    from ast import literal_eval

    try:
        return literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _parse(args: list[str]) -> list[str]:
    """Do what the options say; return the rest."""
    from . import rc

    while args and args[0].startswith("-") and args[0] not in ("-m", "-c", "-"):
        given = args.pop(0)
        option, equals, value = given.lstrip("-").partition("=")
        if option in ("h", "help"):
            _usage()
        if option in INQUIRIES:
            _inquire(option)
        if option != "rc":
            _usage(f"Unknown option: {given}")
        if not equals:
            if not args or args[0].startswith("-"):
                _usage(f"Argument expected for option: {given}")
            value = args.pop(0)
        for entry in value.split(","):
            key, equals, text = entry.partition("=")
            if not key or not equals or not text:
                _usage(f"Cannot parse rc option: {entry}")
            rc(**{key: _value(text)})
    if not args:
        _usage("No path specified for execution")
    if args[0] in ("-m", "-c") and len(args) < 2:
        _usage(f"Argument expected for option: {args[0]}")
    return args


def main() -> None:
    """Entry point of ``python -m phalanx.run``."""
    args = _parse(sys.argv[1:])
    try:
        run_command_line(args)
    except BaseException as error:
        set_abort_status(
            error if isinstance(error, SystemExit | KeyboardInterrupt) else 1
        )
        raise


if __name__ == "__main__":
    main()
