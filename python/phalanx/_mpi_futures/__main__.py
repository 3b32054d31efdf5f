"""Run a program whose executors share the ranks of the job.

    mpiexec -n N python -m mpi4py.futures FILE | -m MODULE | -c COMMAND | - [ARG ...]

Rank 0 runs the program; the others work for its executors. An exception that nobody
catches ends the job.
"""

import sys


def main() -> None:
    """Entry point of ``python -m mpi4py.futures``."""
    from phalanx import run

    args = run._parse(sys.argv[1:])
    try:
        _run(args)
    except BaseException as error:
        is_end = isinstance(error, SystemExit | KeyboardInterrupt)
        run.set_abort_status(error if is_end else 1)
        raise


def _run(args: list[str]) -> None:
    from phalanx import MPI
    from phalanx.run import run_command_line

    from . import _core
    from ._options import Options

    comm = MPI.COMM_WORLD
    if comm.Get_rank() != 0:
        _core.work(comm, 0)
        return
    crew = None
    if comm.Get_size() == 1:
        _core.SharedPool = lambda options: _core.threads(options, 1)
    else:
        crew = _core.ranks(comm, 0, Options(None, None, (), {}))
        _core.SharedPool = crew
    try:
        run_command_line(args)
    except SystemExit as error:
        if crew is not None and error.code not in (None, 0):
            crew.abandoned = True
        raise
    except KeyboardInterrupt:
        raise  # The workers have heard it, and end in good order.
    except BaseException:
        if crew is not None:
            crew.abandoned = True
        raise


if __name__ == "__main__":
    main()
