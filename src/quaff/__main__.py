"""``python -m quaff``."""

import os
import sys

# ``python -m`` puts the working directory first; a file there must not hide a module of the standard library.
if sys.path and sys.path[0] in ("", os.getcwd()):
    del sys.path[0]

from quaff.cli import main

main()
