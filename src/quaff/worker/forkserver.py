"""Starts a worker's processes by fork, from an interpreter that has loaded what each of them needs.

So they have that memory in common, with their supervisor as well, of which this process is a copy. It has one thread
and runs nothing of the application, so there is nothing that a fork could tear apart. A helper forks the process and
ends, which makes it a child of the supervisor: who started it, sees its end. On Linux only.

It is the guard of what it starts, too. Standard input is the line: what a guard is told, and ``*`` with three
descriptors, those of a process's line, its start records and its stacks. The answer is ``PID STARTS TRACES``, with the
numbers that the last two have there, or ``!ERRNO``.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import sys
import traceback
from contextlib import suppress

from quaff.store.rights import ROLES
from quaff.store.scripts import load
from quaff.worker import guard, process

# Whatever is loaded before the fork is there once, and not in each: what any name of a host needs, the extra `speed`.
for _name in ("encodings.idna", "uvloop"):
    with suppress(ImportError):
        importlib.import_module(_name)
for _script in ROLES["worker"]:
    load(_script)

#: The three as a process has them.
Given = list[int]


def main() -> None:
    """Serve until the supervisor is gone, then end what is left. Returns in no process but raises SystemExit in those
    that were forked."""
    guard.call_it("quaff-guard")
    guard.outlive()
    # Whoever started the worker may ignore it, and all that is forked here would, too: no child could be waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    groups: set[int] = set()
    # Its end is an error where it died while it waited for an answer, or before it had read one.
    with suppress(ConnectionError):
        _serve(socket.socket(fileno=0), groups)
    guard.end(groups)
    os._exit(0)


def _serve(line: socket.socket, groups: set[int]) -> None:
    """Answer until the end of the line. Raises ConnectionError."""
    rest, given = b"", Given()
    while True:
        data, new, _, _ = socket.recv_fds(line, 4096, 3, socket.MSG_CMSG_CLOEXEC)
        if not data:
            return
        given += new
        *lines, rest = (rest + data).split(b"\n")
        for each in lines:
            if each != b"*":
                guard.note(each.decode(), groups)
                continue
            pid = _fork()
            if pid == 0:
                line.detach()
                _become(given)
            for descriptor in given:
                os.close(descriptor)
            answer = b"%d %d %d" % (pid, *given[1:]) if pid > 0 else b"!%d" % -pid
            given.clear()
            if pid > 0:
                groups.add(pid)
            line.sendall(answer)


def _fork() -> int:
    """The pid of a child of our parent; 0 in that child; below 0 it is an error number."""
    read, write = os.pipe()
    try:
        helper = os.fork()
    except OSError as error:
        os.close(read)
        os.close(write)
        return -(error.errno or 1)
    if helper:
        os.close(write)
        with open(read, "rb") as pipe:
            said = pipe.read()
        os.waitpid(helper, 0)  # from now on it has another parent
        return int(said or -1)
    try:
        pid = os.fork()
    except OSError as error:
        pid = -(error.errno or 1)
    if pid == 0:
        os.close(read)
        os.close(write)
        return 0
    if pid > 0:
        os.setpgid(pid, pid)
    os.write(write, b"%d" % pid)
    os._exit(0)


def _become(given: Given) -> None:
    """What a process would be that was executed."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    importlib.invalidate_caches()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    sys.argv = [str(process.__file__)]
    sys.modules["__main__"] = process
    try:
        process.work(given[0])
    except Exception:  # noqa: BLE001  the frames below are those of the supervisor, which would tell it as its own
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


if __name__ == "__main__":
    main()
