"""The application of the worker's tests: tasks that sign the ledger, and tasks that misbehave in every known way."""

from __future__ import annotations

import asyncio
import builtins
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quaff import Cancel, Quaff, Retry, Snooze, SoftTimeout, current_job, fixed
from tests.chaos import ledger

quaff = Quaff()

if gate := os.environ.get("IMPORT_GATE"):  # an application that takes as long to load as a test wishes
    while not Path(gate).exists():
        time.sleep(0.01)


# Tasks that behave


@quaff.task(name="mark")
def mark(tag: str) -> str:
    """Run and be seen."""
    with ledger.run(tag):
        return tag


@quaff.task(name="amark")
async def amark(tag: str) -> str:
    """Run and be seen, in the event loop."""
    with ledger.run(tag):
        return tag


@quaff.task(name="nap")
def nap(tag: str, seconds: float) -> str:
    """Sleep in a thread."""
    with ledger.run(tag):
        time.sleep(seconds)
    return tag


@quaff.task(name="anap")
async def anap(tag: str, seconds: float) -> str:
    """Sleep in the event loop."""
    with ledger.run(tag):
        await asyncio.sleep(seconds)
    return tag


@quaff.task(name="gate")
def gate(tag: str, path: str) -> str:
    """Wait for a file."""
    with ledger.run(tag):
        while not Path(path).exists():
            time.sleep(0.005)
    return tag


@quaff.task(name="gate_by_pid")
def gate_by_pid(tag: str, path: str) -> int:
    """Wait for a file in the process whose pid was written to ``path`` before; any other one goes on at once."""
    with ledger.run(tag):
        while Path(path).read_text() in ("", str(os.getpid())):
            time.sleep(0.005)
    return os.getpid()


@quaff.task(name="agate")
async def agate(tag: str, path: str) -> str:
    """Wait for a file, in the event loop."""
    with ledger.run(tag):
        while not os.path.exists(path):  # noqa: ASYNC110, ASYNC240  a file has no event
            await asyncio.sleep(0.005)
    return tag


@quaff.task(name="block_loop_until")
async def block_loop_until(tag: str, path: str) -> str:
    """Wait for a file without letting any other coroutine run."""
    with ledger.run(tag):
        while not os.path.exists(path):  # noqa: ASYNC240  what this task is for
            time.sleep(0.005)  # noqa: ASYNC251
    return tag


@quaff.task(name="grow")
def grow(tag: str) -> str:
    """Keep 200 MiB for ever."""
    with ledger.run(tag):
        _kept.append(b"x" * (200 * 2**20))
    return tag


_kept: list[bytes] = []


@quaff.task(name="leave_orphans")
def leave_orphans(tag: str, count: int) -> str:
    """Leave programs behind whose parent is gone, and which end soon; they are in nobody's group."""
    for _ in range(count):
        subprocess.run(["sh", "-c", "setsid sleep 3 &"], check=True)
    return tag


@quaff.task(name="tiny")
def tiny() -> None:
    """Teach a process that jobs are tiny."""


@quaff.task(name="about")
def about() -> dict[str, Any]:
    """What ``current_job`` says."""
    return {
        "id": current_job.id,
        "task": current_job.task,
        "queue": current_job.queue,
        "attempt": current_job.attempt,
        "should_stop": current_job.should_stop,
        "there": bool(current_job),
        "pid": os.getpid(),
        "thread": threading.current_thread().name,
    }


@quaff.task(name="until_told")
def until_told(tag: str) -> str:
    """Work until the worker is stopping."""
    with ledger.run(tag):
        while not current_job.should_stop:
            time.sleep(0.005)
    return "was told"


@quaff.task(name="echo")
def echo(value: Any) -> Any:
    """Return what it was given."""
    return value


@quaff.task(name="talk")
def talk(text: str, lines: int) -> None:
    """Keep that line so many times."""
    for _ in range(lines):
        current_job.log(text)


@quaff.task(name="give")
def give(what: str) -> Any:
    """Return something odd."""
    return RESULTS[what]()


@quaff.task(name="fail")
def fail(what: str) -> None:
    """Raise something odd."""
    raise ERRORS[what]()


@quaff.task(name="afail")
async def afail(what: str) -> None:
    """Raise something odd in the event loop."""
    await asyncio.sleep(0)
    raise ERRORS[what]()


# Tasks that do not end, or steer


@quaff.task(name="hang", timeout=1, soft_timeout=None)
def hang(tag: str, how: str) -> None:
    """Run for ever, in a way."""
    with ledger.run(tag):
        HANGS[how]()


@quaff.task(name="hang_long", timeout=60)
def hang_long(tag: str, how: str) -> None:
    """Run for ever, in a way, with a long limit."""
    with ledger.run(tag):
        HANGS[how]()


@quaff.task(name="die_when_told")
def die_when_told(tag: str, path: str) -> None:
    """End this process when a file appears."""
    with ledger.run(tag):
        while not Path(path).exists():
            time.sleep(0.005)
        _die("SIGKILL")


@quaff.task(name="race", retries=2, backoff=0.01)
def race(number: int, fails: bool) -> int:
    """End soon, one way or the other."""
    if fails:
        raise ValueError("again")
    return number


@quaff.task(name="ahang", timeout=1)
async def ahang(tag: str, how: str) -> None:
    """Run for ever in the event loop, in a way."""
    with ledger.run(tag):
        await AHANGS[how]()


@quaff.task(name="hang_again", timeout=1, retries=1, backoff=fixed(0.1, jitter=False))
def hang_again(tag: str, how: str) -> str:
    """Run for ever, the first time."""
    with ledger.run(tag):
        if current_job.attempt == 1:
            HANGS[how]()
    return "the second time"


@quaff.task(name="soft", timeout=20, soft_timeout=0.5)
def soft(tag: str, catches: bool) -> str:
    """Run until the soft limit, and clean up."""
    with ledger.run(tag):
        try:
            spin()
        except SoftTimeout:
            if catches:
                return "cleaned up"
            raise
    return "never"


@quaff.task(name="asoft", timeout=20, soft_timeout=0.5)
async def asoft(tag: str, catches: bool) -> str:
    """Run until the soft limit in the event loop; a time limit of its own still works."""
    with ledger.run(tag):
        try:
            async with asyncio.timeout(15):
                await asyncio.sleep(60)
        except SoftTimeout:
            if catches:
                async with asyncio.TaskGroup() as group:
                    group.create_task(asyncio.sleep(0.01))
                return "cleaned up"
            raise
    return "never"


@quaff.task(name="stubborn")
def stubborn(tag: str, told: str) -> str:
    """Catch everything until told that somebody wants it to end, and end then."""
    with ledger.run(tag):
        while not current_job.should_stop:
            time.sleep(0.005)
        Path(told).touch()
    return "ended by itself"


@quaff.task(name="steer")
def steer(what: str) -> str:
    """Say how it goes on; the second time, end."""
    if what == "snooze" and not _snoozed.exists():
        _snoozed.touch()
        raise Snooze(0.3)
    if what == "cancel":
        raise Cancel("nothing to do")
    if what == "retry in an hour":
        raise Retry(in_=3600)
    if what == "retry" and current_job.attempt == 1:
        current_job.retry(in_=0.1)
    return f"attempt {current_job.attempt}"


_snoozed = Path(os.environ.get(ledger.FOLDER, "/nowhere")) / "snoozed"


@quaff.task(name="snooze_for")
def snooze_for(seconds: float, path: str) -> str:
    """Come back once."""
    if Path(path).exists():
        return "ran"
    Path(path).touch()
    raise Snooze(seconds)


@quaff.task(name="given_up")
def given_up(id: str) -> None:
    """Sign for a job that was given up."""
    with ledger.run(f"given up {id}"):
        pass


@quaff.task(name="hopeless", retries=1, backoff=0.01, timeout=1, on_exhausted=given_up)
def hopeless(how: str) -> None:
    """Fail each time, in a way."""
    if how == "exit":
        os._exit(7)
    if how == "hang":
        time.sleep(600)
    raise ValueError(how)


@quaff.task(name="renamed", aliases=("old.name", "older.name"))
def renamed(tag: str) -> str:
    """Be called by three names."""
    return tag


def spin() -> None:
    """Compute for ever."""
    while True:
        pass


def swallow() -> None:
    """Compute for ever and catch whatever comes."""
    while True:
        try:
            spin()
        except BaseException:  # noqa: BLE001
            pass


def leave_programs() -> None:
    """Start a program that starts another one, and compute for ever."""
    subprocess.Popen([sys.executable, "-c", "import os, time; os.fork(); time.sleep(600)"])
    spin()


async def aswallow() -> None:
    """Wait for ever and catch whatever comes."""
    while True:
        try:
            await asyncio.sleep(600)
        except BaseException:  # noqa: BLE001
            pass


async def block() -> None:
    """Keep the event loop from turning."""
    time.sleep(600)  # noqa: ASYNC251


async def aleave_programs() -> None:
    """Start a program and wait for it."""
    process = await asyncio.create_subprocess_exec("sleep", "600")
    await process.wait()


HANGS = {
    "computing": spin,
    "sleeping in C": lambda: time.sleep(600),
    "holding the GIL": lambda: ctypes.PyDLL(None).sleep(600),
    "swallowing": swallow,
    "programs": leave_programs,
    "waiting for a program": lambda: subprocess.run(["sleep", "600"], check=False),
}
AHANGS = {
    "waiting": lambda: asyncio.sleep(600),
    "swallowing": aswallow,
    "blocking the loop": block,
    "waiting for a program": aleave_programs,
}


_colour: ContextVar[str] = ContextVar("colour", default="none")


@quaff.task(name="colour")
def colour(name: str) -> str:
    """Set a context variable and say what it was before."""
    before = _colour.get()
    _colour.set(name)
    return before


@quaff.task(name="acolour")
async def acolour(name: str) -> str:
    """As ``colour``, in the event loop."""
    before = _colour.get()
    _colour.set(name)
    await asyncio.sleep(0)
    return before


# Tasks that end their process


@quaff.task(name="die")
def die(tag: str, how: str) -> None:
    """End this process: a signal's name, ``segfault``, ``abort`` or ``exit 3``."""
    with ledger.run(tag):
        _die(how)


@quaff.task(name="die_when_neighbours_run")
def die_when_neighbours_run(tag: str, folder: str, count: int) -> None:
    """End this process by SIGKILL as soon as so many jobs have begun, or run alone."""
    with ledger.run(tag):
        if current_job.attempt == 1:
            while sum(run.ended is None for run in ledger.runs(Path(folder))) < count:
                time.sleep(0.005)
        _die("SIGKILL")


@quaff.task(name="crashes_and_fails", retries=2, backoff=0.01)
def crashes_and_fails(tag: str) -> int:
    """Crash, fail, crash, fail, end."""
    with ledger.run(tag):
        if current_job.attempt in (1, 3):
            _die("SIGKILL")
        if current_job.attempt in (2, 4):
            raise ValueError("not yet")
        return current_job.attempt


def _die(how: str) -> None:
    if how == "segfault":
        ctypes.string_at(0)
    elif how == "abort":
        os.abort()
    elif how == "stack":
        sys.setrecursionlimit(10**9)
        nested: list[Any] = []
        for _ in range(10**6):
            nested = [nested]
        repr(nested)
    elif how.startswith("exit "):
        os._exit(int(how[5:]))
    else:
        os.kill(os.getpid(), getattr(signal, how))
        time.sleep(5)  # another thread may be the one that gets the signal


# Tasks that hold things up


@quaff.task(name="hold_gil")
def hold_gil(tag: str, seconds: float) -> str:
    """Sleep in C without letting any other thread run."""
    with ledger.run(tag):
        ctypes.PyDLL(None).usleep(int(seconds * 1e6))
    return tag


@quaff.task(name="block_loop")
async def block_loop(tag: str, seconds: float) -> str:
    """Sleep without letting any other coroutine run."""
    with ledger.run(tag):
        time.sleep(seconds)  # noqa: ASYNC251  what this task is for
    return tag


@quaff.task(name="busy")
def busy(tag: str, seconds: float) -> str:
    """Compute, with the GIL and without mercy."""
    with ledger.run(tag):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            sum(range(100))
    return tag


@quaff.task(name="with_program")
def with_program(tag: str, path: str, hold: bool) -> str:
    """Start a program that sleeps, sign for it, and wait for a file, with the GIL held or not."""
    with ledger.run(tag):
        program = subprocess.Popen(["sleep", "120"])
        ledger.write(event="program", program=program.pid, tag=tag)
        if hold:
            ctypes.PyDLL(None).usleep(60_000_000)
        while not Path(path).exists():
            time.sleep(0.005)
        program.kill()
        program.wait()
    return tag


@quaff.task(name="lingering_thread")
def lingering_thread(tag: str) -> str:
    """Leave behind a thread that keeps the interpreter from ending."""
    with ledger.run(tag):
        threading.Thread(target=time.sleep, args=(60,), daemon=False).start()
    return tag


# Tasks that meddle with the process


@quaff.task(name="fork_and_return")
def fork_and_return(tag: str) -> str:
    """Fork, and let the child fall out of the task as if it were the worker."""
    with ledger.run(tag):
        pid = os.fork()
        if pid:
            time.sleep(0.3)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return tag


@quaff.task(name="pool")
def pool() -> list[int]:
    """Use processes of its own, as the standard library makes them here."""
    import multiprocessing

    with multiprocessing.get_context("fork").Pool(2) as workers:
        return workers.map(abs, range(-3, 0))


@quaff.task(name="forked")
def forked() -> int | None:
    """Start a process as multiprocessing does here, terminate it, and say how it ended."""
    import multiprocessing

    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    process.start()
    time.sleep(0.1)
    process.terminate()
    process.join(5)
    code = process.exitcode
    process.kill()
    return code


@quaff.task(name="close_output")
def close_output() -> None:
    """As libraries do that want to be daemons."""
    sys.stdout.close()


@quaff.task(name="open_files")
def open_files(count: int) -> int:
    """Take the low file numbers away for good."""
    _hoard.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(count))
    return _hoard[-1]


_hoard: list[int] = []


@quaff.task(name="cancel_all")
async def cancel_all(tag: str) -> str:
    """Cancel everything that this event loop knows of."""
    with ledger.run(tag):
        for each in asyncio.all_tasks() - {asyncio.current_task()}:
            each.cancel()
    return tag


@quaff.task(name="cancel_itself")
async def cancel_itself(tag: str) -> str:
    """Cancel the coroutine it runs in, and return before that arrives."""
    with ledger.run(tag):
        this = asyncio.current_task()
        assert this is not None
        this.cancel()
    return tag


@quaff.task(name="stop_loop")
async def stop_loop() -> str:
    """Stop the event loop."""
    asyncio.get_running_loop().stop()
    return "stopped"


@quaff.task(name="exit_in_subtask")
async def exit_in_subtask(what: str) -> None:
    """Let a task of its own raise what asyncio hands on to whoever runs the loop."""

    async def sub() -> None:
        raise ERRORS[what]()

    await asyncio.create_task(sub())


# What they return and raise


@dataclass
class Point:
    """Comes back only where a return hint says so."""

    x: int


class Thing:
    """Cannot be stored."""


class Moody(Mapping[str, int]):
    """A mapping that raises what nobody expects."""

    def __getitem__(self, key: str) -> int:
        raise SystemExit("not today")

    def __iter__(self) -> Any:
        yield "a"

    def __len__(self) -> int:
        return 1


def _deep(depth: int) -> list[Any]:
    nested: list[Any] = []
    for _ in range(depth):
        nested = [nested]
    return nested


def _endless() -> list[Any]:
    endless: list[Any] = []
    endless.append(endless)
    return endless


RESULTS: dict[str, Any] = {
    "none": lambda: None,
    "zero": lambda: 0,
    "empty": lambda: "",
    "false": lambda: False,
    "list": list,
    "dict": dict,
    "nan": lambda: float("nan"),
    "bytes": lambda: b"\0\xff",
    "thing": Thing,
    "point": lambda: Point(1),
    "moody": Moody,
    "deep": lambda: _deep(100_000),
    "endless": _endless,
    "surrogate": lambda: "\ud800",
    "huge": lambda: b"x" * 2_000_000,
    "generator": lambda: (n for n in range(3)),
}


class Mute(Exception):
    """An exception that cannot be told."""

    def __str__(self) -> str:
        raise SystemExit("no text")

    __repr__ = __str__


class Strange(Exception):
    """An exception whose text is no text."""

    def __str__(self) -> str:
        return 5  # type: ignore[return-value]  # noqa: PLE0307  on purpose


class Nameless(type):
    """Makes classes without a name."""

    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise ValueError("no name")


class Anonymous(Exception, metaclass=Nameless):
    """An exception whose class has no name."""


class Traceless(Exception):
    """An exception that hides its traceback."""

    @property
    def __traceback__(self) -> Any:  # type: ignore[override]
        raise ValueError("no trace")

    @__traceback__.setter
    def __traceback__(self, value: Any) -> None:
        raise ValueError("no trace")


class Irreducible(Exception):
    """An exception that cannot be pickled, nor shown to a developer."""

    def __reduce__(self) -> Any:
        raise ValueError("cannot be reduced")

    def __repr__(self) -> str:
        raise ValueError("cannot be shown")


def _recurse() -> Exception:
    return _recurse()


def _knot() -> Exception:
    first, second = ValueError("one"), ValueError("two")
    first.__cause__, second.__cause__ = second, first
    return first


ERRORS: dict[str, Any] = {
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "CancelledError": asyncio.CancelledError,
    "StopIteration": StopIteration,
    "StopAsyncIteration": StopAsyncIteration,
    "TimeoutError": TimeoutError,
    "RecursionError": RecursionError,
    "MemoryError": MemoryError,
    "DeepRecursion": _recurse,
    "RealMemoryError": lambda: bytearray(2**62),
    "Irreducible": Irreducible,
    "BaseException": BaseException,
    "ExceptionGroup": lambda: ExceptionGroup("two", [ValueError("one"), KeyError("other")]),
    "Mute": Mute,
    "Strange": Strange,
    "Anonymous": Anonymous,
    "Traceless": Traceless,
    "Knot": _knot,
    "Long": lambda: ValueError("x" * 50_000_000),
    "Surrogate": lambda: ValueError("\ud800 and \x1b[31m and a\nline"),
    "NoArguments": ValueError,
}


@dataclass
class Choosy:
    """A parameter that can be made where it is sent and not where it is run."""

    name: str

    def __post_init__(self) -> None:
        if "STAGE" in os.environ:  # as the workers of a stage have it, and its tests do not
            raise LookupError("not in a worker")


@quaff.task(name="choosy")
def choosy(what: Choosy) -> str:
    """Take an argument that cannot be rebuilt here."""
    return what.name


# Tasks that fail and come back


@quaff.task(name="flaky", retries=3, backoff=fixed(0.2, jitter=False))
def flaky(tag: str, failures: int) -> int:
    """Fail so many times; the number of the attempt that did not."""
    with ledger.run(tag):
        if current_job.attempt <= failures:
            raise ConnectionError(f"attempt {current_job.attempt}")
        return current_job.attempt


def _elsewhere(failures: int, error: BaseException) -> Retry:
    """Each time in another queue: there, on to a third one, and home again."""
    return Retry(in_=0.05, queue=("slow", "slower", "default")[(failures - 1) % 3])


@quaff.task(name="wanderer", retries=6, backoff=_elsewhere)
def wanderer(tag: str, failures: int) -> list[str]:
    """Fail so many times; where it ran, and as whom."""
    with ledger.run(tag):
        with (Path(os.environ[ledger.FOLDER]) / f"way-{tag}").open("a") as way:
            way.write(f"{current_job.queue} {current_job.id}\n")
        if current_job.attempt <= failures:
            raise ConnectionError(f"attempt {current_job.attempt}")
        return (Path(os.environ[ledger.FOLDER]) / f"way-{tag}").read_text().splitlines()


@quaff.task(name="reporter", retries=1, backoff=_elsewhere)
def reporter(gate: str) -> None:
    """Fail here; over there say something and wait for a file."""
    if current_job.attempt == 1:
        raise ConnectionError("not here")
    current_job.log(f"in {current_job.queue}")
    while not Path(gate).exists():
        time.sleep(0.01)


def _noted(tag: str) -> str:
    with ledger.run(f"{tag} step"):
        return tag.upper()


@quaff.task(name="remembers", retries=1, backoff=_elsewhere)
def remembers(tag: str) -> list[str]:
    """What it did here it does not do again over there, where it waits to be told something."""
    with ledger.run(tag):
        done = current_job.step("first", _noted, tag)
        if current_job.queue == "default":
            raise ConnectionError("not here")
        return [done, current_job.queue, current_job.wait_for("go", timeout=60)]


@quaff.task(name="lost_on_the_way", retries=1, backoff=_elsewhere, timeout=60)
def lost_on_the_way(tag: str) -> str:
    """Fail here; over there kill the process at the first try."""
    with ledger.run(tag):
        if current_job.queue == "default":
            raise ConnectionError("not here")
        if current_job.attempt == 2:
            _die("SIGKILL")
        return current_job.queue


@quaff.task(name="aflaky", retries=3, backoff=[0.05, 0.1])
async def aflaky(tag: str, failures: int) -> int:
    """As ``flaky``, in the event loop, with pauses from a list."""
    with ledger.run(tag):
        if current_job.attempt <= failures:
            raise ConnectionError(f"attempt {current_job.attempt}")
        return current_job.attempt


@quaff.task(name="choosy_about_errors", retries=5, backoff=0, retry_on=(OSError,), give_up_on=PermissionError)
def choosy_about_errors(tag: str, what: str) -> None:
    """Raise a builtin exception by its name."""
    with ledger.run(tag):
        raise getattr(builtins, what)(what)


@quaff.task(name="asks_again")
def asks_again(tag: str, times: int) -> int:
    """Ask for another attempt so many times."""
    with ledger.run(tag):
        if current_job.attempt <= times:
            raise Retry("not yet", in_=0.05)
        return current_job.attempt


@quaff.task(name="asks_too_often", retries=2, backoff=0)
def asks_too_often(tag: str) -> None:
    """Ask for another attempt for ever."""
    with ledger.run(tag):
        raise Retry(in_=0)


def _odd(failures: int, error: BaseException) -> Any:
    return {"nan": float("nan"), "gives up": None, "text": "soon"}[str(error)]


@quaff.task(name="odd_backoff", retries=5, backoff=_odd)
def odd_backoff(tag: str, what: str) -> None:
    """Fail with a backoff that is no time, gives up, or raises."""
    with ledger.run(tag):
        raise ValueError(what)


# Jobs that have much to show


@quaff.task(name="deep")
def deep(tag: str, path: str) -> None:
    """Wait for a file at the bottom of a recursion."""
    with ledger.run(tag):
        _deeper(500, path)


def _deeper(depth: int, path: str) -> None:
    if depth:
        _deeper(depth - 1, path)
    while not depth and not os.path.exists(path):
        time.sleep(0.01)


@quaff.task(name="wide")
async def wide(tag: str, path: str) -> None:
    """Wait for a file beside three hundred tasks that wait for longer."""
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(asyncio.sleep(600)) for _ in range(300)]
        with ledger.run(tag):
            while not os.path.exists(path):  # noqa: ASYNC110, ASYNC240  a file has no event
                await asyncio.sleep(0.01)
        for each in waiting:
            each.cancel()
