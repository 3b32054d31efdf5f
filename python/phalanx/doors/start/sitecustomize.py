"""Opens the door ``multiprocessing`` in a Python that Phalanx is not installed for.

(One that it is installed for has ``_phalanx_doors``, which takes this directory off
the path.) It stands first on ``PYTHONPATH`` while that door is open. The module
makes room for the ``sitecustomize`` that it hides. Any Python may get here, so it is
written in what all versions understand.
"""

import os
import sys

_here = os.path.dirname(os.path.abspath(__file__))
_names = [name.strip() for name in os.environ.get("PHALANX_DOORS", "").split(",")]

if "multiprocessing" in _names and sys.version_info >= (3, 11):
    import importlib.util

    _path = os.path.join(_here, os.pardir, os.pardir, "_opening.py")
    _spec = importlib.util.spec_from_file_location(
        "_phalanx_opening", os.path.normpath(_path)
    )
    if _spec is not None and _spec.loader is not None:
        _opening = importlib.util.module_from_spec(_spec)
        _spec.loader.exec_module(_opening)
        _opening.open_door()

_own = sys.modules.pop(__name__)
sys.path[:] = [place for place in sys.path if os.path.abspath(place or ".") != _here]
try:
    __import__("sitecustomize")
except ImportError as error:
    if getattr(error, "name", "sitecustomize") != "sitecustomize":
        raise
finally:
    sys.modules.setdefault("sitecustomize", _own)
