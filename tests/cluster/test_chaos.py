"""Clusters of which one process is killed or stopped at a random moment.

No result is left waiting, no task without retries runs twice, and nothing stays behind.
`PHALANX_TEST_CLUSTER_CHAOS=300` runs that many clusters and says how far it is.
"""

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
import unittest

from test_far import FarCase
from test_faults import ClusterCase, until

CLUSTERS = int(os.environ.get("PHALANX_TEST_CLUSTER_CHAOS", "12"))
VICTIMS = ("engine", "controller", "client", "stopped engine", "stopped controller")

# Submits tasks of all kinds, each of which leaves a byte in a file of its own when it
# runs, waits for all of them, and prints what came of them.
CLIENT = """
import json, os, random, sys
import numpy as np
from phalanx import ipyparallel as ipp

url_file, folder, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
dice = random.Random(seed)

def work(path, seconds, data=None):
    import os, time
    with open(path, "ab") as file:
        file.write(b"x")
    time.sleep(seconds)
    return data

rc = ipp.Client(url_file=url_file)
rc.wait_for_engines(2, timeout=60)
balanced, direct = rc.load_balanced_view(), rc[:]
once, several = [], []
open(os.path.join(folder, "begun"), "w").close()
try:
    for number in range(60):
        path = os.path.join(folder, f"task {number}")
        seconds = dice.choice([0, 0, 0.001, 0.02])
        data = np.ones(1 << 18) if dice.random() < 0.1 else None
        kind = dice.choice(["balanced", "retried", "direct"])
        if kind == "balanced":
            once.append((path, balanced.apply_async(work, path, seconds, data)))
        elif kind == "retried":
            with balanced.temp_flags(retries=2):
                several.append(balanced.apply_async(work, path, seconds, data))
        else:
            target = rc[dice.choice(rc.ids)]
            once.append((path, target.apply_async(work, path, seconds, data)))
except (OSError, IndexError, ipp.error.IPythonError):
    pass  # the controller, or every engine, is gone already
ends = {"ok": 0, "failed": 0, "pending": 0, "twice": 0, "lost": 0}
def end(result):
    # It counts waits and not the clock: the machine may pause.
    if not any(result.wait(0.1) for _ in range(400)):
        return "pending"
    try:
        result.get()
        return "ok"
    except Exception:
        return "failed"
for path, result in once:
    outcome = end(result)
    ends[outcome] += 1
    runs = os.path.getsize(path) if os.path.exists(path) else 0
    ends["twice"] += runs > 1
    ends["lost"] += outcome == "ok" and runs == 0
for result in several:
    ends[end(result)] += 1
print(json.dumps(ends))
"""


class TestChaos(ClusterCase):
    victims = VICTIMS
    # Those that are stopped for a while, and nothing may be lost.
    patient = ("stopped engine", "stopped controller")

    def setUp(self) -> None:
        # Each round has a cluster of its own.
        pass

    def begin(self) -> None:
        ClusterCase.setUp(self)

    def test_clusters(self) -> None:
        seed = random.randrange(1 << 32)
        dice = random.Random(seed)
        ended = {"ok": 0, "failed": 0}
        for number in range(CLUSTERS):
            victim = dice.choice(self.victims)
            which = f"cluster {number} of seed {seed}, {victim}"
            with self.subTest(which):
                try:
                    self.begin()
                    for kind, count in self.one(dice, victim, which).items():
                        ended[kind] = ended.get(kind, 0) + count
                finally:
                    # Of one that fails, too: the next has nothing to do with it.
                    self.doCleanups()
            if CLUSTERS > 50 and number % 25 == 24:
                print(f"{number + 1} clusters: {ended}", file=sys.stderr, flush=True)
        # A run in which every result failed would show nothing.
        self.assertGreater(ended["ok"], 0)

    def one(self, dice: random.Random, victim: str, which: str) -> dict[str, int]:
        folder = self.place / "ran"
        folder.mkdir()
        words = [str(self.file), str(folder), str(dice.randrange(1 << 32))]
        client = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(CLIENT), *words],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with client:
            try:
                until(lambda: (folder / "begun").exists(), f"{which}: no client")
                time.sleep(dice.uniform(0, 0.15))
                self.hurt(dice, victim, client.pid)
                until(lambda: client.poll() is not None, f"{which}: the client hangs")
                out, errors = client.communicate()
            finally:
                client.kill()
        if victim == "client":
            self.assertIn(client.returncode, (0, -signal.SIGKILL), errors)
            return {}
        self.assertEqual(client.returncode, 0, errors)
        ends: dict[str, int] = json.loads(out)
        wrong = {kind: ends.pop(kind) for kind in ("pending", "twice", "lost")}
        self.assertEqual(set(wrong.values()), {0}, f"{which}: {wrong}")
        if victim in self.patient:
            self.assertEqual(ends["failed"], 0, which)
        return ends

    def hurt(self, dice: random.Random, victim: str, client: int) -> None:
        if victim == "client":
            pid = client
        elif victim.endswith("gateway"):
            pid = dice.choice(self.gateways).pid
        elif victim.endswith("controller"):
            pid = self.pid
        else:
            link = self.link()
            pid = dice.choice(link.welcome["engines"])["pid"]
            link.close()
        if "stopped" in victim:
            os.kill(pid, signal.SIGSTOP)
            # For longer than the heartbeats that may be missed, or not.
            time.sleep(5 if victim.startswith("long") else dice.uniform(0.1, 1.0))
            os.kill(pid, signal.SIGCONT)
        else:
            os.kill(pid, signal.SIGKILL)


class TestFarChaos(TestChaos, FarCase):
    """The same over the network: two gateways with an engine each, and a far client."""

    victims = (
        *VICTIMS,
        *("gateway", "stopped gateway", "long stopped gateway"),
        "long stopped controller",
    )
    patient = ("stopped engine", "stopped controller", "stopped gateway")
    gateways: list[subprocess.Popen[str]] = []  # noqa: RUF012

    def begin(self) -> None:
        FarCase.setUp(self)
        self.gateways = [self.add_engines(), self.add_engines()]


if __name__ == "__main__":
    unittest.main()
