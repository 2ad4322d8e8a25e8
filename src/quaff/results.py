"""Where results go that are too large for the server: what such a store has to do, and one in a directory."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol, runtime_checkable

from quaff.errors import ConfigurationError, ResultExpired
from quaff.model.stored import Stored


@runtime_checkable
class ResultStore(Protocol):
    """Keeps bytes under names: ``Quaff(results=...)``. A bucket, a table or a directory of one application alone.

    Called by workers, and by whoever reads results, in any process and in many threads at once; never in an event loop.
    A name is made by a worker and never comes twice: up to 220 of the characters ``A-Z a-z 0-9 . _ -``, of which the
    first 16 are hex digits as good as random. What a method raises comes to whoever wanted the result. In a worker, a
    job whose result cannot be put has failed and is tried again as its task says; so is one that cannot be given its
    arguments, if ``get`` raises OSError: that is taken for trouble that passes.
    """

    def put(self, name: str, data: bytes, seconds: float) -> None:
        """Keep ``data`` for so long, at least; whole or not at all for whoever reads, also where this process dies."""
        ...

    def get(self, name: str) -> bytes | None:
        """The bytes; None if they are gone."""
        ...

    def delete(self, name: str) -> None:
        """Drop them; nothing happens if they are gone."""
        ...

    def keep(self, name: str, seconds: float) -> None:
        """Keep what is there for so long from now on; nothing happens if it is gone. For results of a long flow."""
        ...

    def overdue(self, most: int) -> list[str]:
        """Up to ``most`` names whose time is over: workers ask each minute and delete or keep them.

        A store that drops them by itself gives none, and had better leave them longer than any flow takes.
        """
        ...


class FileResults:
    """Results as files, for workers and readers who see the same directory and are the same user.

    The directory is made when first needed, for this user alone. A file stays until its modification time, which lies
    in the future.

    Args:
        directory: of one application alone; a relative one is made absolute at once.
    """

    #: Files that one call of ``overdue`` looks at.
    _LOOK_AT = 20_000
    #: Seconds after which nobody writes a file any more that is not whole.
    _ABANDONED = 24 * 3600.0
    _PART = ".part"
    _NAME = re.compile(r"[A-Za-z0-9]{2}[A-Za-z0-9._-]{1,218}")

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = Path(directory).absolute()

    def put(self, name: str, data: bytes, seconds: float) -> None:
        """Write a file beside it and give that its name. Raises OSError."""
        path = self._path(name)
        part = path.with_name(f"{name}{self._PART}")
        try:
            file = self._create(part)
        except FileNotFoundError:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            file = self._create(part)
        try:
            with open(file, "wb") as written:
                written.write(data)
            self._set_time(part, seconds)
            part.rename(path)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise

    def get(self, name: str) -> bytes | None:
        """Read it. Raises OSError."""
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            return None

    def delete(self, name: str) -> None:
        """Delete it. Raises OSError."""
        self._path(name).unlink(missing_ok=True)

    def keep(self, name: str, seconds: float) -> None:
        """Set its time. Raises OSError."""
        with suppress(FileNotFoundError):
            self._set_time(self._path(name), seconds)

    def overdue(self, most: int) -> list[str]:
        """Names whose time is over, from here and there: of many files it looks at some in each call."""
        found: list[str] = []
        left = self._LOOK_AT
        for folder in self._folders():
            for name, at in _files(folder):
                whole = name.removesuffix(self._PART)
                if whole != name and at + self._ABANDONED < time.time():
                    (folder / name).unlink(missing_ok=True)
                elif whole == name and at < time.time():
                    found.append(name)
                left -= 1
                if len(found) == most or not left:
                    return found
        return found

    def _folders(self) -> list[Path]:
        """In another order each time: many workers look, and none of them may begin with the same files always."""
        try:
            folders = [each for each in self._directory.iterdir() if len(each.name) == 2]
        except FileNotFoundError:
            return []
        random.shuffle(folders)
        return folders

    def _path(self, name: str) -> Path:
        if not self._NAME.fullmatch(name) or name.endswith(self._PART):
            raise ValueError(f"{name!r} is no name of a result")
        return self._directory / name[:2] / name

    @staticmethod
    def _create(path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    @staticmethod
    def _set_time(path: Path, seconds: float) -> None:
        now = time.time()
        os.utime(path, (now, now + seconds))

    def __repr__(self) -> str:
        return f"FileResults({str(self._directory)!r})"


def _files(folder: Path) -> Iterator[tuple[str, float]]:
    """What is in a folder, with its times; who else clears it may be faster."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                yield entry.name, entry.stat(follow_symlinks=False).st_mtime


def checked(results: object) -> ResultStore | None:
    """What was given as ``results=``. Raises ConfigurationError for what is no such store."""
    if results is None or (isinstance(results, ResultStore) and not isinstance(results, type)):
        return results
    hint = f" FileResults({results!r}) keeps them in a directory." if isinstance(results, (str, os.PathLike)) else ""
    raise ConfigurationError(
        f"Quaff(results={results!r}): give something that has put, get, delete, keep and overdue "
        f"(quaff.ResultStore).{hint}"
    )


def fetch(results: ResultStore | None, stored: Stored, job: str) -> bytes:
    """The bytes of a result that is kept elsewhere.

    Args:
        job: the id of the job that gave it, as far as it is known.

    Raises:
        ConfigurationError: nobody said where.
        ResultExpired: it is gone.
    """
    if results is None:
        raise ConfigurationError(
            f"the result of job {job} is {stored.size:,} bytes and kept outside the server, and this application does "
            "not say where: give it the same Quaff(results=...) as its workers have."
        )
    data = results.get(stored.name)
    if data is None or len(data) != stored.size:
        what = "gone" if data is None else f"damaged ({len(data):,} bytes of {stored.size:,})"
        raise ResultExpired(
            f"job {job} succeeded; its result, {stored.name} in {results!r}, is {what}. Does every process see the "
            "same place, and does nobody else clear it?",
            job,
        )
    return data
