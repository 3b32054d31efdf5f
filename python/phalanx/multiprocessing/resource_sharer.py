"""The standard library's module of this name."""

import sys
from multiprocessing import resource_sharer as _module
from multiprocessing.resource_sharer import *  # noqa: F403

sys.modules[__name__] = _module
