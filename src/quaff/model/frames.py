"""Which line of whose code an exception comes from, in few words: what tells kinds of failures apart."""

from __future__ import annotations

import os
import sysconfig
from types import TracebackType

from quaff.model.outcome import clean

#: Where code lies that is not the user's.
_FOREIGN = tuple(
    {os.path.join(path, "") for name, path in sysconfig.get_paths().items() if name in ("stdlib", "platstdlib")}
    | {os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")}
)
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
#: Frames that are looked at; a recursion may have thousands.
_MOST = 200


def frame_of(trace: TracebackType | None) -> str:
    """``mail.py in send``: the innermost frame of the user's own code, else the innermost; empty where there is none.

    Without the line's number, which is another one after each change of the file.
    """
    own = last = ""
    for _ in range(_MOST):
        if trace is None:
            break
        code = trace.tb_frame.f_code
        last = clean(f"{os.path.basename(code.co_filename)} in {code.co_qualname}")
        if not is_foreign(code.co_filename):
            own = last
        trace = trace.tb_next
    return own or last


def is_foreign(path: str) -> bool:
    """Whether a file is not the user's own: of the standard library, of this package, or installed."""
    return path.startswith((*_FOREIGN, "<frozen")) or any(part in path for part in _INSTALLED)
