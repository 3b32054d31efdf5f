"""Executors whose workers are ranks of any MPI library.

mpiexec -n 4 python -m phalanx.futures tests/libraries/executor.py pool
mpiexec -n 4 python tests/libraries/executor.py comm
"""

import os
import signal
import sys

from phalanx import MPI
from phalanx.futures import MPICommExecutor, MPIPoolExecutor, get_comm_workers


def square(x):
    return x * x


def workers(_):
    comm = get_comm_workers()
    comm.Barrier()
    return comm.allreduce(1)


def fails(x):
    raise ValueError(f"told to fail with {x}")


def dies(x):
    os.kill(os.getpid(), signal.SIGKILL)


def use(executor, expected):
    assert executor.num_workers == expected, executor.num_workers
    assert list(executor.map(square, range(200))) == [x * x for x in range(200)]
    assert sorted(executor.map(square, range(9), unordered=True, chunksize=2)) == [
        x * x for x in range(9)
    ]
    text = "x" * 1_000_000
    assert executor.submit(str.upper, text).result() == text.upper()
    assert executor.submit(lambda x: x + 1, 1).result() == 2
    calls = [executor.submit(workers, i) for i in range(expected)]
    assert [call.result() for call in calls] == [expected] * expected
    error = executor.submit(fails, 7).exception()
    assert isinstance(error, ValueError) and "with 7" in str(error), error


def main():
    size = MPI.COMM_WORLD.size
    expected = max(size - 1, 1)
    if sys.argv[1] == "comm":
        with MPICommExecutor(MPI.COMM_WORLD, root=0) as executor:
            if executor is not None:
                if size > 1:
                    use(executor, expected)
                print("done comm", flush=True)
        return
    with MPIPoolExecutor() as executor:
        if sys.argv[1] == "killed":
            executor.submit(dies, 1).result()
        if size > 1 or sys.argv[1] == "pool":
            use(executor, expected)
    with MPIPoolExecutor() as executor:  # a second one, on the same workers
        assert executor.submit(square, 3).result() == 9
    print("done pool", flush=True)


if __name__ == "__main__":
    main()
