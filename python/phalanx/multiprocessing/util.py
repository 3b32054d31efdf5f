"""The standard library's module of this name."""

import sys
from multiprocessing import util as _module
from multiprocessing.util import *  # noqa: F403

sys.modules[__name__] = _module
