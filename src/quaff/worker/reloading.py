"""Noticing that the code has changed."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable
from pathlib import Path

from quaff.errors import ConfigurationError

#: For programs that are started anew on a change: a .pyc counts as that of a file saved again within the same second,
#: with the same length.
NO_BYTECODE = {"PYTHONDONTWRITEBYTECODE": "1"}


def check_installed(otherwise: str) -> None:
    """Raise ConfigurationError if there is no watchfiles; ``otherwise`` says what to do without it."""
    if importlib.util.find_spec("watchfiles") is None:
        raise ConfigurationError(f'reloading needs watchfiles: pip install "quaff[dev]", or {otherwise}')


def watch(directory: Path, changed: Callable[[], object]) -> None:
    """Call ``changed``, from a thread of its own, each time Python files below ``directory`` have changed."""
    threading.Thread(target=_watch, args=(directory, changed), name="quaff-reload", daemon=True).start()


def _watch(directory: Path, changed: Callable[[], object]) -> None:
    from watchfiles import PythonFilter
    from watchfiles import watch as changes

    for _ in changes(directory, watch_filter=PythonFilter(), raise_interrupt=False):
        changed()
