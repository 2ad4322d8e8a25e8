"""What pages load: a fixed list of packaged files, under a URL that changes with any of them."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import NamedTuple

_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "txt": "text/plain; charset=utf-8"}
NAMES = ("dashboard.css", "dashboard.js", "idiomorph.js", "uplot.js", "uplot.css", "LICENSES.txt")


class Asset(NamedTuple):
    """A file as it is sent."""

    data: bytes
    type: str


@cache
def assets() -> dict[str, Asset]:
    """All of them by name."""
    folder = files("quaff.dashboard") / "static"
    return {name: Asset((folder / name).read_bytes(), _TYPES[name.rpartition(".")[2]]) for name in NAMES}


@cache
def version() -> str:
    """Another one as soon as one of them changes: what a browser has kept of the old ones it asks for no more."""
    digest = hashlib.blake2b(digest_size=6)
    for name, asset in assets().items():
        digest.update(name.encode() + b"\0" + asset.data)
    return digest.hexdigest()
