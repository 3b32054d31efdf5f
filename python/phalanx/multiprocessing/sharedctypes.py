"""The standard library's module of this name."""

import sys
from multiprocessing import sharedctypes as _module
from multiprocessing.sharedctypes import *  # noqa: F403

sys.modules[__name__] = _module
