"""``python -m quaff``."""

import os
import signal
import sys

# ``python -m`` puts the working directory first; a file there must not hide a module of the standard library.
if not sys.flags.safe_path and sys.path and sys.path[0] in ("", os.getcwd()):
    del sys.path[0]

_plan = os.environ.pop("_QUAFF_PLAN", None)
if _plan is None:
    from quaff.cli import main

    main()
else:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until there is a worker: a start that is called off has no traceback
    from quaff.worker import program

    program.main(_plan)
