"""Python reads this at its start, wherever this directory is on its path: its clock is wrong by CLOCK_SKEW seconds.

For machines without libfaketime, which also fools what is no Python.
"""

import os
import time

_skew = float(os.environ.get("CLOCK_SKEW", "0"))
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + _skew
time.time_ns = lambda: _time_ns() + int(_skew * 1e9)
