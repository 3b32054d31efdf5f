"""Workers that are a job of their own.

    mpiexec -n 8 python -m mpi4py.futures.server [--service NAME | --host H --port P]

The ranks work for one `MPIPoolExecutor(service=...)` of another job, then end.
"""

import sys

USAGE = """\
usage: python -m {program} [options]

options:
  -h, --help        show this text
  --service NAME    publish the server under this name
  --host HOST       listen at the address of this host, and tell the port of MPI there
  --bind ADDRESS    listen at this address (an empty one: at all)
  --port PORT       listen at this port (31415)
  --info K=V,...    hints for MPI
"""


def _parse(args: list[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    while args:
        option, equals, value = args.pop(0).partition("=")
        name = option.removeprefix("--")
        if option in ("-h", "--help"):
            print(_usage())
            sys.exit(0)
        if option == f"--{name}" and name in (
            "service",
            "host",
            "bind",
            "port",
            "info",
        ):
            if not equals and not args:
                sys.exit(f"Argument expected for option: {option}\n{_usage()}")
            given[name] = value if equals else args.pop(0)
        else:
            sys.exit(f"Unknown option: {option}\n{_usage()}")
    if "port" in given and not given["port"].isdigit():
        sys.exit(f"--port {given['port']}: expected a number\n{_usage()}")
    return given


def _usage() -> str:
    name = __spec__.name if __spec__ is not None else "mpi4py.futures.server"
    return USAGE.format(program=name)


def main() -> None:
    """Entry point of ``python -m mpi4py.futures.server``."""
    from phalanx.run import set_abort_status

    from . import _core

    try:
        if sys.argv[1:] == ["--worker"]:
            _core.work_for_parent()
            return
        given = _parse(sys.argv[1:])
        service: _core.Service = given.get("service", _core.SERVICE)
        if "host" in given or "bind" in given or "port" in given:
            service = (given.get("bind", given.get("host")), given.get("port"))
        entries = (entry.partition("=") for entry in given.get("info", "").split(","))
        _core.accept(service, {key: value for key, _, value in entries if key})
    except BaseException as error:
        is_end = isinstance(error, SystemExit | KeyboardInterrupt)
        set_abort_status(error if is_end else 1)
        raise


if __name__ == "__main__":
    main()
