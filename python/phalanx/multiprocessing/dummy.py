"""The standard library's module of this name."""

import sys
from multiprocessing import dummy as _module
from multiprocessing.dummy import *  # noqa: F403

sys.modules[__name__] = _module
