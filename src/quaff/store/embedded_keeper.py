"""The keeper of one embedded server: starts it, and stops it once its last user has gone.

Run by ``quaff.store.embedded`` as ``python -I -S embedded_keeper.py DIR KEEPER_FD SERVER_FD BINARY ARGUMENT...``, which
starts the server, or as ``... DIR KEEPER_FD PID`` for a living server whose keeper was killed. Standard library only.

It sleeps in ``flock`` for as long as anyone uses the server and ends when the server does, whatever ended it.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
import time
from typing import NoReturn

GRACE = 3.0
"""Seconds without any user before the server is stopped, so that a script run after a script finds it running."""

PATIENCE = 5.0
"""Seconds the server has to write its data and leave before it is killed. With GRACE, less than 10 s in all."""


def start(server_lock: int, command: list[str]) -> int:
    """Run the server in a session of its own, holding `server_lock` for as long as it lives; returns its pid."""
    pid = os.fork()
    if pid:
        os.close(server_lock)
        return pid
    try:
        os.setsid()
        os.execv(command[0], command)
    except OSError as error:
        os.write(2, f"cannot run {command[0]}: {error.strerror}\n".encode(errors="replace"))
    os._exit(127)


def leave_with(pid: int, server_lock: int) -> NoReturn:
    """Wait until the server has gone, in whichever way, and end this process."""
    fcntl.flock(server_lock, fcntl.LOCK_SH)  # the server holds it exclusively until it is really gone
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:  # started by a keeper before this one
        pass
    os._exit(0)


def wait_for_last_user(users_lock: int) -> None:
    """Return GRACE seconds after the last user left, holding the lock: whoever comes from now on waits."""
    while True:
        fcntl.flock(users_lock, fcntl.LOCK_EX)  # the kernel grants it when no user is left, however the last one died
        fcntl.flock(users_lock, fcntl.LOCK_UN)
        time.sleep(GRACE)
        try:
            return fcntl.flock(users_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # somebody came meanwhile
            continue


def is_there(fd: int, path: str) -> bool:
    """Whether the open file is still the one of that path."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def main(directory: str, keeper_lock: str, server: str, *command: str) -> None:
    """Keep the server of `directory`; `keeper_lock`, and `server` when a command follows, are inherited descriptors."""
    if os.fork():
        os._exit(0)  # now init is the parent, and a starter that lives for months has no zombie of ours
    os.umask(0o077)
    # What the starter ignored or blocked would be inherited by the server, which needs its SIGCHLD and its SIGTERM.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.set_inheritable(int(keeper_lock), False)
    # Opened now: should the directory be removed and made anew, these still speak of the server that was in it.
    users_lock = os.open(os.path.join(directory, "users.lock"), os.O_RDWR)
    server_lock = os.open(os.path.join(directory, "server.lock"), os.O_RDWR)
    pid = start(int(server), list(command)) if command else int(server)
    threading.Thread(target=leave_with, args=(pid, server_lock), daemon=True).start()
    wait_for_last_user(users_lock)
    # By pid, not over the socket: it also reaches a stopped server, and one whose directory was removed. The pid is
    # surely the server's, for leave_with would have ended us. SIGTERM writes the append-only file, as SHUTDOWN does.
    if is_there(users_lock, os.path.join(directory, "users.lock")):
        os.kill(pid, signal.SIGTERM)
        time.sleep(PATIENCE)
    # Else its data is gone, and on leaving politely it would remove the socket of whichever server runs there now.
    os.kill(pid, signal.SIGKILL)
    time.sleep(PATIENCE)


if __name__ == "__main__":
    main(*sys.argv[1:])
