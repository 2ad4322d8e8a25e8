"""``python -m quaff.worker PLAN``: what ``quaff worker`` becomes, without what it has read its command line with.

All that is loaded here is in its processes, too, and in their memory.
"""

import sys

import msgspec

from quaff.errors import ConfigurationError
from quaff.worker.control import HOPELESS
from quaff.worker.logs import printable
from quaff.worker.plan import Plan
from quaff.worker.serve import serve

plan, reload = msgspec.json.decode(sys.argv[1], type=tuple[Plan, bool])
try:
    sys.exit(serve(plan, reload=reload, clean=True))
except ConfigurationError as error:
    sys.stderr.write("".join(f"{printable(line)}\n" for line in f"Error: {error}".split("\n")))
    sys.exit(HOPELESS)
