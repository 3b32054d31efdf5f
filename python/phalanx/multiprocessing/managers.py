"""The standard library's module of this name."""

import sys
from multiprocessing import managers as _module
from multiprocessing.managers import *  # noqa: F403

sys.modules[__name__] = _module
