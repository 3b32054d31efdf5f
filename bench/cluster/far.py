"""What an engine costs that is reached over TLS, beside a plain socket, by loopback.

    cd bench && python -m cluster.far [--rounds N]

The client is on the controller's machine, as a notebook on a cluster's front end is,
and the engine beyond a gateway. Turn by turn: a call; an array of 64 MiB to the
engine, and one from it; the same bytes from one process to another over a plain TCP
socket, read into memory that is used again. Medians over all rounds.
"""

import argparse
import json
import multiprocessing
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from phalanx import ipyparallel as ipp
from phalanx.ipyparallel.cluster.commands import binary

BYTES = 64 << 20
CALLS = 200


def nothing() -> None:
    return None


def receive(stream: socket.socket) -> None:
    """Read arrays, and say of each that it is here."""
    room = memoryview(bytearray(BYTES))
    while True:
        got = 0
        while got < BYTES:
            count = stream.recv_into(room[got:])
            if count == 0:
                return
            got += count
        stream.sendall(b"1")


def timed(action: Callable[[], object], times: int = 1) -> float:
    begin = time.perf_counter()
    for _ in range(times):
        action()
    return (time.perf_counter() - begin) / times


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as place:
        cluster = ipp.Cluster(
            profile_dir=place, controller_ip="127.0.0.2", log_level=40
        )
        cluster.start_controller_sync()
        client = cluster.connect_client_sync()
        info = json.loads(
            Path(cluster.controller.connection_files["engine"]).read_text()
        )
        info["socket"] = "/not/here"
        far = Path(place) / "far.json"
        far.write_text(json.dumps(info))
        engine = subprocess.Popen([binary(), "ipengine", "--quiet", f"--file={far}"])
        client.wait_for_engines(1, timeout=60)
        view = client[0]
        view.execute(
            f"import numpy; whole = numpy.arange({BYTES // 8}, dtype='d')"
        ).get()
        array = np.arange(BYTES // 8, dtype="d")
        ours, theirs = socket.create_server(("127.0.0.1", 0)), socket.socket()
        theirs.connect(ours.getsockname())
        stream, _ = ours.accept()
        reader = multiprocessing.get_context("fork").Process(
            target=receive, args=(stream,), daemon=True
        )
        reader.start()

        def plain() -> None:
            theirs.sendall(array)
            theirs.recv(1)

        what = {
            "call": lambda: timed(lambda: view.apply_sync(nothing), CALLS),
            "push": lambda: timed(lambda: view.push({"it": array}, block=True)),
            "pull": lambda: timed(lambda: view.pull("whole", block=True)),
            "plain socket": lambda: timed(plain),
        }
        for measure in what.values():
            measure()
        taken: dict[str, list[float]] = {name: [] for name in what}
        for _ in range(rounds):
            for name, measure in what.items():
                taken[name].append(measure())
        medians = {name: statistics.median(times) for name, times in taken.items()}
        for name, median in medians.items():
            ratio = median / medians["plain socket"]
            beside = f"{ratio:6.2f} times a plain socket" if name[0] == "p" else ""
            print(f"{name:14}{median * 1e3:9.3f} ms {beside}")
        client.close()
        cluster.stop_cluster_sync()
        engine.wait(30)


if __name__ == "__main__":
    sys.exit(main())
