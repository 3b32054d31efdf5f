"""The standard library's module of this name."""

import sys
from multiprocessing import reduction as _module
from multiprocessing.reduction import *  # noqa: F403

sys.modules[__name__] = _module
