"""The standard library's module of this name."""

import sys
from multiprocessing import forkserver as _module
from multiprocessing.forkserver import *  # noqa: F403

sys.modules[__name__] = _module
