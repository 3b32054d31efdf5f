"""What our `mpi4py` offers is what the original offers, name by name.

``tests/parity/surface.py`` says it for one environment: every public name of the
package, the parameters and defaults of functions, the values of constants.
``parity.txt`` lists what differs, each with its reason; nothing else may.
"""

import json
from fnmatch import fnmatchcase

from .process import PHALANX, TESTS, Counts, run

SURFACE = str(TESTS / "parity" / "surface.py")
LISTED = TESTS / "tiers" / "parity.txt"


def look(python: str, env: dict[str, str], counts: Counts) -> dict[str, str]:
    """The surface under one Python, or nothing when it cannot be had."""
    done = run([PHALANX, "run", "-n", "1", python, SURFACE], 60, env=env)
    try:
        found: dict[str, str] = json.loads(done.output)
    except ValueError:
        counts.fail(f"the surface of mpi4py under {python}", done.output)
        return {}
    return found


def compare(
    original: tuple[str, dict[str, str]], ours: tuple[str, dict[str, str]]
) -> Counts:
    """Compare the surfaces of two environments: Python and variables of each."""
    counts = Counts()
    theirs, own = look(*original, counts), look(*ours, counts)
    if not theirs or not own:
        return counts
    lines = LISTED.read_text().splitlines()
    patterns = {line.split()[0] for line in lines if not line.startswith("#")}
    used = set()
    for name in sorted(theirs.keys() | own.keys()):
        expected, found = theirs.get(name), own.get(name)
        if expected == found or (expected is None and name.endswith(".__init__")):
            # (A compiled class of the original has none to look at.)
            counts.passed += 1
            continue
        allowed = {pattern for pattern in patterns if fnmatchcase(name, pattern)}
        used |= allowed
        counts.expect(
            bool(allowed),
            f"{name}: the original has {expected}, Phalanx has {found}",
        )
    for pattern in sorted(patterns - used):
        print(f"   {LISTED.name}: {pattern} does not differ, the line can go")
    bare = [line for line in lines if line[:1] != "#" and " # " not in line]
    counts.expect(not bare, f"{bare} without a reason")
    return counts
