"""The standard library's module of this name."""

import sys
from multiprocessing import heap as _module
from multiprocessing.heap import *  # noqa: F403

sys.modules[__name__] = _module
