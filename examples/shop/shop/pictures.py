"""Pictures, large and small, as files in two folders."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from flask import current_app
from PIL import Image, ImageOps
from werkzeug.datastructures import FileStorage

SIZE = (320, 240)


def folder(kind: str) -> Path:
    """Where ``large`` or ``small`` ones are."""
    path = Path(current_app.config["DATA"]) / kind
    path.mkdir(exist_ok=True)
    return path


def keep(upload: FileStorage) -> str:
    """Keep what somebody has handed in; its name here, which is ours and never theirs."""
    name = uuid4().hex
    upload.save(folder("large") / name)
    return name


def shrink(name: str) -> bool:
    """Make the small one; False if the large one is no picture. To do it twice does no harm."""
    try:
        with Image.open(folder("large") / name, formats=["JPEG", "PNG", "WEBP"]) as large:
            small = ImageOps.fit(ImageOps.exif_transpose(large).convert("RGB"), SIZE)
    except (OSError, ValueError, Image.DecompressionBombError):
        return False
    small.save(folder("small") / f"{name}.jpg", quality=85)
    return True
