"""Small tests and measurements to run under a launcher.

    phalanx run -n 2 python -m mpi4py.bench [options] COMMAND [arguments]

``helloworld`` prints who takes part, ``ringtest`` sends a message round, ``pingpong``
measures messages between two ranks, and ``futures`` executors. Each has ``--help``.
"""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from . import rc

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from .MPI import Intracomm

    Row = tuple[int, float, float]

PROGRAM = "python -m mpi4py.bench"


def _parser(command: str) -> ArgumentParser:
    parser = ArgumentParser(prog=f"{PROGRAM} {command}", allow_abbrev=False)
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing")
    return parser


def _add_iterations(parser: ArgumentParser, loop: int, skip: int) -> None:
    parser.add_argument(
        "-s", "--skip", type=int, default=skip, help="rounds that are not measured"
    )
    parser.add_argument(
        "-l", "--loop", type=int, default=loop, help="rounds that are measured"
    )


def _add_sizes(
    parser: ArgumentParser,
    largest: int,
    large: tuple[int, int, int],
    huge: tuple[int, int, int],
) -> None:
    """The sizes, of which larger ones have fewer rounds: (from size, loop, skip)."""
    number: dict[str, Any] = {"type": int, "metavar": "N"}
    parser.add_argument(
        "-m", "--min-size", default=1, help="smallest size in bytes", **number
    )
    parser.add_argument(
        "-n", "--max-size", default=largest, help="largest size in bytes", **number
    )
    for name, (size, loop, skip) in (("large", large), ("huge", huge)):
        parser.add_argument(f"--skip-{name}", default=skip, **number)
        parser.add_argument(f"--loop-{name}", default=loop, **number)
        parser.add_argument(f"--{name}-size", default=size, **number)
    parser.add_argument("--no-header", action="store_false", dest="header")
    parser.add_argument("--no-stats", action="store_false", dest="stats")


def _sizes(options: Namespace) -> Iterator[tuple[int, int, int]]:
    """Sizes, each twice the one before, with the rounds to skip and to measure."""
    size = max(options.min_size, 1)
    while size <= options.max_size:
        if size >= options.huge_size:
            yield size, options.skip_huge, options.loop_huge
        elif size >= options.large_size:
            yield size, options.skip_large, options.loop_large
        else:
            yield size, options.skip, options.loop
        size *= 2


def _summary(samples: list[float]) -> tuple[float, float]:
    """Mean and standard deviation."""
    from statistics import fmean, pstdev

    mean = fmean(samples)
    return mean, pstdev(samples, mean)


def _print_row(
    options: Namespace, size: int, rate: str, mean: float, deviation: float, n: int
) -> None:
    line = f"{size:10d}{rate}"
    if options.stats:
        line += f" | {mean:.7e} ± {deviation:.4e} {n:8d}"
    print(line, flush=True)


def helloworld(
    comm: "Intracomm", args: Sequence[str] | None = None, verbose: bool = True
) -> str:
    """Print which rank this is, and where; in the order of ranks."""
    from .MPI import Get_processor_name
    from .util.sync import Sequential

    options = _parser("helloworld").parse_args(args)
    rank, size = comm.Get_rank(), comm.Get_size()
    message = (
        f"Hello, World! I am process {rank:{len(str(size - 1))}d} of {size} "
        f"on {Get_processor_name()}."
    )
    if verbose and not options.quiet:
        with Sequential(comm):
            print(message, flush=True)
    return message


def ringtest(
    comm: "Intracomm", args: Sequence[str] | None = None, verbose: bool = True
) -> float:
    """Send a message round all ranks, look at it, and return the seconds it took."""
    parser = _parser("ringtest")
    parser.add_argument(
        "-n", "--size", type=int, default=1, help="bytes of the message"
    )
    _add_iterations(parser, loop=1, skip=0)
    options = parser.parse_args(args)
    rank, size = comm.Get_rank(), comm.Get_size()
    right, left = (rank + 1) % size, (rank - 1) % size
    sent = bytearray(n % 251 for n in range(options.size))
    found = bytearray(options.size)

    def once() -> None:
        if size == 1:
            comm.Sendrecv(sent, 0, 0, found, 0, 0)
        elif rank == 0:
            comm.Send(sent, right)
            comm.Recv(found, left)
        else:
            comm.Recv(found, left)
            comm.Send(found, right)

    for _ in range(options.skip):
        once()
    comm.Barrier()
    start = perf_counter()
    for _ in range(options.loop):
        once()
    seconds = perf_counter() - start
    if found != sent and options.skip + options.loop > 0:
        print(
            f"rank {rank}: the message that came round is not the one that was sent",
            file=sys.stderr,
            flush=True,
        )
        comm.Abort(2)
    if verbose and not options.quiet and rank == 0:
        print(
            f"time for {options.loop} loops = {seconds:g} seconds "
            f"({size} processes, {options.size} bytes)",
            flush=True,
        )
    return seconds


def _arrays(library: str) -> Callable[[int], Any]:
    """What makes an array of so many bytes."""
    if library == "numpy":
        import numpy

        return lambda size: numpy.zeros(size, "B")
    if library == "cupy":
        import cupy  # type: ignore[import-not-found,unused-ignore]

        def on_gpu(size: int) -> Any:
            array = cupy.zeros(size, "B")
            # MPI knows nothing of the stream that fills it.
            cupy.cuda.get_current_stream().synchronize()
            return array

        return on_gpu
    if library == "numba":
        import numpy
        from numba import cuda  # type: ignore[import-not-found,unused-ignore]

        return lambda size: cuda.to_device(numpy.zeros(size, "B"))
    return bytearray


def pingpong(
    comm: "Intracomm", args: Sequence[str] | None = None, verbose: bool = True
) -> "list[Row]":
    """Measure messages between ranks 0 and 1: half of the time there and back.

    Returns a row for each size: bytes, mean and standard deviation in seconds.
    """
    parser = _parser("pingpong")
    _add_iterations(parser, loop=10000, skip=100)
    _add_sizes(parser, 1 << 27, (1 << 14, 1000, 10), (1 << 20, 100, 1))
    libraries = ("numpy", "cupy", "numba", "none")
    parser.add_argument(
        "-a", "--array", choices=libraries, default="numpy", help="whose arrays to send"
    )
    parser.add_argument(
        "-p", "--pickle", action="store_true", help="send objects, not buffers"
    )
    parser.add_argument("--protocol", type=int, help="version of the pickle protocol")
    parser.add_argument(
        "-o", "--outband", action="store_true", help="send objects by util.pkl5"
    )
    parser.add_argument(
        "--threshold", type=int, help="from so many bytes on beside the stream"
    )
    options = parser.parse_args(args)
    if comm.Get_size() < 2:
        if verbose and not options.quiet:
            print("pingpong needs two ranks: run it with -n 2", file=sys.stderr)
        return []
    rank = comm.Get_rank()
    exchange = _exchange(comm, options)
    try:
        make = _arrays(options.array)
    except ImportError:
        if options.array != "numpy":
            raise
        make = bytearray
    loud = verbose and not options.quiet and rank == 0
    if loud and options.header:
        print("# MPI PingPong Test")
        columns = " | Time Mean [s] ± StdDev [s]  Samples" if options.stats else ""
        print(f"# Size [B]  Bandwidth [MB/s]{columns}", flush=True)
    rows = []
    for size, skip, loop in _sizes(options):
        sent, room = make(size), make(size)
        samples = []
        comm.Barrier()
        for n in range(skip + loop):
            start = perf_counter()
            if rank == 0:
                exchange(sent, room, 1)
            elif rank == 1:
                exchange(sent, room, 0)
            if n >= skip:
                samples.append((perf_counter() - start) / 2)
        mean, deviation = _summary(samples) if samples else (0.0, 0.0)
        rows.append((size, mean, deviation))
        if loud:
            rate = size / mean * 1e-6 if mean else 0.0
            _print_row(options, size, f"{rate:18.2f}", mean, deviation, loop)
    return rows


def _exchange(comm: "Intracomm", options: Namespace) -> Callable[[Any, Any, int], None]:
    """One message there and one back, as rank 0 or as the other."""
    first = comm.Get_rank() == 0
    if options.outband:
        from .util import pkl5

        pkl5.pickle = pkl5.Pickle(None, None, options.protocol, options.threshold)
        comm = pkl5.Intracomm(comm)
    elif options.pickle:
        from . import MPI

        if options.protocol is not None:
            MPI.pickle.PROTOCOL = options.protocol
        if options.threshold is not None:
            MPI.pickle.THRESHOLD = options.threshold

    def objects(sent: Any, room: Any, peer: int) -> None:
        if first:
            comm.send(sent, peer)
            comm.recv(None, peer)
        else:
            comm.recv(None, peer)
            comm.send(sent, peer)

    def buffers(sent: Any, room: Any, peer: int) -> None:
        if first:
            comm.Send(sent, peer)
            comm.Recv(room, peer)
        else:
            comm.Recv(room, peer)
            comm.Send(sent, peer)

    return objects if options.pickle or options.outband else buffers


def _same(data: Any) -> Any:
    return data


def futures(
    comm: "Intracomm", args: Sequence[str] | None = None, verbose: bool = True
) -> "list[Row]":
    """Measure tasks of an executor, each of which gives its argument back.

    Returns a row for each size: bytes, mean and standard deviation in seconds of one
    `map` with all tasks.
    """
    parser = _parser("futures")
    kinds = ("mpi", "process", "thread", "interpreter")
    parser.add_argument(
        "-e", "--executor", choices=kinds, default="mpi", help="which executor"
    )
    parser.add_argument("-w", "--num-workers", type=int, help="how many workers")
    parser.add_argument(
        "-t", "--num-tasks", type=int, default=50, help="tasks for each worker"
    )
    parser.add_argument(
        "-a",
        "--allocator",
        choices=("numpy", "array", "bytes"),
        default="numpy",
        help="what the argument of a task is",
    )
    parser.add_argument(
        "-c", "--chunksize", type=int, default=1, help="tasks that travel together"
    )
    parser.add_argument(
        "-b", "--backoff", type=float, default=0.0, help="seconds an idle side sleeps"
    )
    parser.add_argument(
        "-o", "--outband", action="store_true", help="large buffers beside the stream"
    )
    _add_iterations(parser, loop=10, skip=2)
    _add_sizes(parser, 1 << 20, (1 << 14, 5, 1), (1 << 20, 2, 1))
    options = parser.parse_args(args)
    with _executor(comm, options) as executor:
        if executor is None:
            return []
        return _measure_tasks(executor, options, verbose and not options.quiet)


def _executor(comm: "Intracomm", options: Namespace) -> Any:
    """A context whose value is the executor, or None on the ranks that are workers."""
    workers = options.num_workers
    if options.executor == "mpi":
        from phalanx._mpi_futures import MPICommExecutor, MPIPoolExecutor

        more = {"backoff": options.backoff, "use_pkl5": options.outband}
        if comm.Get_size() > 1:
            return MPICommExecutor(comm, max_workers=workers, **more)
        return MPIPoolExecutor(workers, **more)
    if comm.Get_rank() > 0:
        from contextlib import nullcontext

        return nullcontext()
    import concurrent.futures

    names = {
        "process": "ProcessPoolExecutor",
        "thread": "ThreadPoolExecutor",
        "interpreter": "InterpreterPoolExecutor",
    }
    name = names[options.executor]
    make = getattr(concurrent.futures, name, None)
    if make is None:
        raise SystemExit(f"this Python has no concurrent.futures.{name}")
    return make(workers)


def _measure_tasks(executor: "Executor", options: Namespace, loud: bool) -> "list[Row]":
    workers = getattr(executor, "_max_workers", None) or 1
    workers = getattr(executor, "num_workers", workers)
    if loud and options.header:
        name = type(executor).__name__.lstrip("_")
        if options.executor == "mpi":
            name = "MPIPoolExecutor"
        print(f"# {name} - {workers} workers, {options.num_tasks} tasks/worker")
        columns = " | Time Mean [s] ± StdDev [s]  Samples" if options.stats else ""
        print(f"# Size [B]  Tasks/s{columns}", flush=True)
    tasks = workers * options.num_tasks
    rows = []
    for size, skip, loop in _sizes(options):
        data = _task_data(options.allocator, size)
        samples = []
        for n in range(skip + loop):
            start = perf_counter()
            results = executor.map(_same, [data] * tasks, chunksize=options.chunksize)
            for _ in results:
                pass
            if n >= skip:
                samples.append(perf_counter() - start)
        mean, deviation = _summary(samples) if samples else (0.0, 0.0)
        rows.append((size, mean, deviation))
        if loud:
            rate = f"{tasks / mean if mean else 0:9.0f}"
            _print_row(options, size, rate, mean, deviation, loop)
    return rows


def _task_data(allocator: str, size: int) -> Any:
    if allocator == "numpy":
        try:
            import numpy
        except ImportError:
            allocator = "array"
        else:
            return numpy.zeros(size, "B")
    if allocator == "array":
        from array import array

        return array("B", bytes(size))
    return bytes(size)


COMMANDS: dict[str, Callable[..., Any]] = {
    "helloworld": helloworld,
    "ringtest": ringtest,
    "pingpong": pingpong,
    "futures": futures,
}


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of ``python -m mpi4py.bench``."""
    parser = ArgumentParser(
        prog=PROGRAM,
        usage="%(prog)s [options] <command> [args]",
        allow_abbrev=False,
    )
    parser.add_argument("--threads", action="store_true", help="ask for thread support")
    parser.add_argument(
        "--no-threads", action="store_false", dest="threads", help="do not"
    )
    parser.add_argument(
        "--thread-level",
        type=str.lower,
        choices=("single", "funneled", "serialized", "multiple"),
        help="the level of thread support to ask for",
    )
    parser.add_argument("command", metavar="<command>", help=", ".join(COMMANDS))
    parser.add_argument(
        "args", metavar="[args]", nargs="...", help="arguments of the command"
    )
    parser.set_defaults(threads=rc.threads)
    options = parser.parse_args(args)
    if options.command not in COMMANDS:
        parser.error(f"unknown command {options.command!r}")
    rc.threads = options.threads
    if options.thread_level is not None:
        rc.threads = True
        rc.thread_level = options.thread_level
    from . import MPI

    COMMANDS[options.command](MPI.COMM_WORLD, options.args)


if __name__ == "__main__":
    main()
