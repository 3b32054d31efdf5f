"""The standard library's module of this name."""

import sys
from multiprocessing import spawn as _module
from multiprocessing.spawn import *  # noqa: F403

sys.modules[__name__] = _module
