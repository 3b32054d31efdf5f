"""The standard library's module of this name."""

import sys
from multiprocessing import process as _module
from multiprocessing.process import *  # noqa: F403

sys.modules[__name__] = _module
