"""Answers ``ipyparallel.tests`` from the downloaded release, in every Python of the
suite.

Everything else of that name is Phalanx's, by its door. Only the suite has this
directory on its PYTHONPATH.
"""

import importlib.util
import os
import sys

SUITE = os.environ.get("PHALANX_TEST_SUITE", "")
NAME = "ipyparallel.tests"


class Finder:
    """Finds the modules of the suite, and no others."""

    @staticmethod
    def find_spec(name, path=None, target=None):  # type: ignore[no-untyped-def]
        if name == NAME:
            return importlib.util.spec_from_file_location(
                name,
                os.path.join(SUITE, "__init__.py"),
                submodule_search_locations=[SUITE],
            )
        if name.startswith(f"{NAME}."):
            file = os.path.join(SUITE, *name.split(".")[2:]) + ".py"
            return importlib.util.spec_from_file_location(name, file)
        return None


if SUITE:
    sys.meta_path.insert(0, Finder)
