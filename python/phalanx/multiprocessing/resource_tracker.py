"""The standard library's module of this name."""

import sys
from multiprocessing import resource_tracker as _module
from multiprocessing.resource_tracker import *  # noqa: F403

sys.modules[__name__] = _module
