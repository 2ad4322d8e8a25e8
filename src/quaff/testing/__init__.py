"""Tests of applications that use Quaff: the same engine on a server of their own, jobs run in the test's own thread.

``kit`` is the core; ``plugin`` makes fixtures of it for pytest, ``JobsMixin`` a TestCase for unittest. Nothing below is
imported before it is used: pytest loads the plugin in every project where Quaff is installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quaff.testing.jobs import Kit as Kit
    from quaff.testing.jobs import kit as kit
    from quaff.testing.unit import JobsMixin as JobsMixin

_HOME = {"JobsMixin": "unit", "Kit": "jobs", "kit": "jobs"}

__all__ = sorted(_HOME)  # noqa: PLE0605  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'quaff.testing' has no attribute {name!r}")
    value = getattr(import_module(f"quaff.testing.{_HOME[name]}"), name)
    globals()[name] = value
    return value
