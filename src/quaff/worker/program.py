"""What ``quaff worker`` becomes, without what it has read its command line with.

All that is loaded here is in its processes, too, and in their memory.
"""

from __future__ import annotations

import sys
import traceback

import msgspec

from quaff.errors import BUG, BUG_TEXT, ConfigurationError
from quaff.worker.control import HOPELESS
from quaff.worker.logs import printable
from quaff.worker.plan import Plan
from quaff.worker.serve import serve


def main(given: str) -> None:
    """Run a worker; ``given``: its plan, and whether it reloads, as JSON. Returns never."""
    plan, reload = msgspec.json.decode(given, type=tuple[Plan, bool])
    try:
        sys.exit(serve(plan, reload=reload, clean=True))
    except ConfigurationError as error:
        sys.stderr.write("".join(f"{printable(line)}\n" for line in f"Error: {error}".split("\n")))
        sys.exit(HOPELESS)
    except OSError:
        raise
    except Exception:  # noqa: BLE001  as in ``cli``
        traceback.print_exc()
        sys.stderr.write(f"Error: {BUG_TEXT}\n")
        sys.exit(BUG)
