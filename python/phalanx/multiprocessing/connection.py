"""The standard library's module of this name."""

import sys
from multiprocessing import connection as _module
from multiprocessing.connection import *  # noqa: F403

sys.modules[__name__] = _module
