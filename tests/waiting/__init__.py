"""Small programs that wait in vain, and right ones that look alike.

Each file has one subject and holds its programs as rows: a wrong one is named by its
class, with the ranks and lines that wait; of a right one nothing is said.
`python tests/run.py waiting` runs them all (`tests/tiers/waiting.py`).
"""

from . import (
    arguments,
    checked,
    collectives,
    ended,
    farms,
    groups,
    moving,
    outside,
    receives,
    requests,
    sends,
    windows,
)
from .program import Found, Program, Right, Wrong

SUBJECTS = (
    receives,
    sends,
    requests,
    collectives,
    groups,
    windows,
    farms,
    outside,
    moving,
    ended,
    arguments,
    checked,
)
PROGRAMS: tuple[Program, ...] = tuple(
    program for subject in SUBJECTS for program in subject.PROGRAMS
)

__all__ = ["PROGRAMS", "Found", "Program", "Right", "Wrong"]
