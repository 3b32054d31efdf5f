"""Opens the doors of Phalanx when Python starts, where a launcher asks for it.

``phalanx_doors.pth`` imports this module in processes that ``phalanx run`` or
``phalanx shell`` has marked, and in no other. That holds with any ``PYTHONPATH``
and with ``python -I``; only ``python -S`` does not come here.
"""

import os
import sys

_DOORS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "phalanx", "doors")


def _open() -> None:
    named = [name.strip() for name in os.environ.get("PHALANX_DOORS", "").split(",")]
    # PYTHONPATH brings these directories as well, for a Python that Phalanx is not
    # installed for. Here the start-up file in the second one is not needed, and
    # would stand before the user's own sitecustomize.
    ours = ("/phalanx/doors", "/phalanx/doors/start", "/phalanx/doors/cluster")
    sys.path[:] = [place for place in sys.path if not place.endswith(ours)]
    if not os.path.isdir(_DOORS):
        return
    if "mpi4py" in named:
        sys.path.insert(0, _DOORS)
    if "ipyparallel" in named:
        sys.path.insert(0, os.path.join(_DOORS, "cluster"))
    if "multiprocessing" in named:
        from _frozen_importlib_external import SourceFileLoader

        # By its path: a process that imports nothing of Phalanx loads no more of it,
        # and what `importlib.util` would bring is more than all the rest.
        path = os.path.join(os.path.dirname(_DOORS), "_opening.py")
        opening = type(sys)("_phalanx_opening")
        opening.__file__ = path
        SourceFileLoader(opening.__name__, path).exec_module(opening)
        opening.open_door()


def _give_terminal() -> None:
    """Make `input()` ask for the terminal of the job, the first time it is called."""
    import builtins

    builtin = builtins.input

    def input(prompt: object = "", /) -> str:
        try:
            from phalanx import _terminal
        except ImportError:
            return builtin(prompt)
        return _terminal.ask(builtin, prompt)

    input.__doc__ = builtin.__doc__
    builtins.input = input


_open()
if "PHALANX_DESK" in os.environ:
    _give_terminal()
