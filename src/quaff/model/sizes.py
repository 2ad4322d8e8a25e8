"""Bytes as people read them."""

from __future__ import annotations

_UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def told(count: float) -> str:
    """Bytes in few characters: ``340 B``, ``1.2 KiB``, ``34 MiB``."""
    for unit, name in _UNITS:
        if count >= unit:
            return f"{count / unit:.{1 if count < 9.95 * unit else 0}f} {name}"
    return f"{count:.0f} B"
