"""S10: what the server runs are the files of the package, and what comes from outside reaches them as data alone."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from quaff import Concurrency, Quaff
from quaff.store import scripts
from quaff.store.scripts import load
from quaff.task import Task
from tests.engines import Server
from tests.helpers import SRC, Program, wait_until
from tests.worker import workapp

PACKAGE = SRC / "quaff"
SOURCES = {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
LUA = sorted(path.stem for path in (Path(scripts.__file__).parent / "lua").glob("*.lua"))
#: What has a server run a script, or keep one: commands, and methods of a client.
COMMANDS = {"EVAL", "EVAL_RO", "EVALSHA", "EVALSHA_RO", "FCALL", "FCALL_RO", "FUNCTION", "SCRIPT"}
METHODS = {"eval", "eval_ro", "evalsha", "evalsha_ro", "register_script", "script_load", "fcall", "function_load"}
#: Texts that mean something in Lua, in the protocol or in a key's name.
HOSTILE = (
    "]]; redis.call('FLUSHALL') --",
    "' .. redis.call('FLUSHALL') .. '",
    "%s %d {0} ${x}",
    "\r\n*1\r\n$8\r\nFLUSHALL\r\n",
    "KEYS[1]",
    "}:msg",
    "-- @include clock",
    "\0\x1b[31m",
)


def commands(tree: ast.AST) -> Iterator[str]:
    """Each of COMMANDS that stands in a source as a text of its own."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            word = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
            if word in COMMANDS:
                yield word


def sent(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Commands that bring a script along, each with the expression that is the script."""
    for node in ast.walk(tree):
        match node:
            case ast.Tuple(elts=[ast.Constant(value="EVAL" | "EVAL_RO" as word), script, *_]):
                yield word, ast.unparse(script)
            case ast.Tuple(elts=[ast.Constant(value="SCRIPT" as word), ast.Constant(value="LOAD"), script]):
                yield word, ast.unparse(script)


def values(tree: ast.AST, name: str) -> list[ast.expr]:
    """What a name is given, wherever in a source."""
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and any(isinstance(each, ast.Name) and each.id == name for each in node.targets)
    ]


def test_scripts_are_called_in_few_places() -> None:
    """S10: a new one has to be looked at: how does what it sends come about?"""
    found = {name: {*words} for name, tree in SOURCES.items() if (words := [*commands(tree)])}
    assert found == {
        "store/scripts.py": {"EVALSHA", "EVALSHA_RO"},  # the head of each call
        "store/wire.py": {"SCRIPT"},  # the text, where the server has forgotten it
        "store/probe.py": {"SCRIPT"},  # asks what may be done; runs nothing
        "doctor/examine.py": {"SCRIPT"},  # as above
        "importing/theirs.py": {"EVAL"},  # takes a message of another library
    }
    used = {node.attr for tree in SOURCES.values() for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not used & METHODS


def test_a_script_is_sent_as_it_stands_in_the_package() -> None:
    """S10: no text that was put together, by ``+``, ``%``, ``format`` or an f-string; one is a constant, one a file."""
    found = {(name, *each) for name, tree in SOURCES.items() for each in sent(tree)}
    assert found == {("importing/theirs.py", "EVAL", "_TAKE"), ("store/wire.py", "SCRIPT", "source")}
    (take,) = values(SOURCES["importing/theirs.py"], "_TAKE")
    assert isinstance(take, ast.Constant)
    (source,) = values(SOURCES["store/wire.py"], "source")
    assert ast.unparse(source) == "errand.calls[index].script.source"


def test_a_script_is_made_of_files_alone() -> None:
    """S10: by one function, which is given a name; elsewhere than in the list of roles that is a constant."""
    made = {
        name
        for name, tree in SOURCES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Script"
    }
    assert made == {"store/scripts.py", "testing/clock.py"}  # the last has a fixed line before the others, in tests
    listed = {"store/rights.py", "store/probe.py", "worker/forkserver.py"}
    named = set()
    for name, tree in SOURCES.items():
        imported = (each for each in ast.walk(tree) if isinstance(each, ast.ImportFrom))
        if not any(each.module == "quaff.store.scripts" for each in imported):
            continue
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Name(id="load"), args=[ast.Constant(value=str(script))]):
                    named.add(script)
                case ast.Call(func=ast.Name(id="load")):
                    assert name in listed, (name, ast.unparse(node))
    assert named <= {*LUA}
    assert len(named) > 50


@pytest.mark.parametrize(
    "bad",
    [
        "call = ('EVAL', f'return {value}', 0)",
        "call = ('EVAL', 'return ' + value, 0)",
        "call = ('EVAL', 'return %s' % value, 0)",
        "call = ('SCRIPT', 'LOAD', text.format(value))",
    ],
)
def test_the_search_finds_a_script_that_is_put_together(bad: str) -> None:
    """Else it would show nothing."""
    ((word, script),) = sent(ast.parse(bad))
    assert word in COMMANDS
    assert "value" in script


def test_whatever_is_named_and_said_the_server_learns_no_other_script(
    start_worker: Callable[..., Program], tmp_path: Path
) -> None:
    """S10: jobs, keys, rules, limits, schedules and reasons full of code: the server knows ours, and ran none else."""
    with Server() as server:
        quaff = Quaff(server.url, namespace="fixed")
        for name, task in workapp.quaff.tasks.items():
            quaff.tasks[name] = Task(quaff, task.name, task.fn, task.settings)
        environment = {"QUAFF_URL": server.url, "QUAFF_NAMESPACE": "fixed", "LEDGER": str(tmp_path)}
        worker = start_worker("tests.worker.workapp:quaff", "-p", "1", cwd=SRC.parent, env=environment)
        server.redis.set("witness", "there")
        for text in HOSTILE:
            _say_it_everywhere(quaff, text)
        _have_rules_about_it(quaff)
        told: Mapping[str, int] = server.redis.info("memory")
        ours = server.redis.script_exists(*(load(name).sha for name in LUA))
        assert told["number_of_cached_scripts"] == sum(ours) > 15
        assert not {"cmdstat_eval", "cmdstat_eval_ro", "cmdstat_flushall"} & server.redis.info("commandstats").keys()
        assert server.redis.get("witness") == b"there"
        assert {key.split(b":")[0] for key in server.redis.keys("*")} == {b"quaff", b"witness"}
        assert worker.stop() == 0
        quaff.store.endpoint.abandon_pool()


def _say_it_everywhere(quaff: Quaff, text: str) -> None:
    """In what takes a text."""
    echo = quaff.tasks["echo"]
    assert echo.delay({text: [text]}).result(timeout=20) == {text: [text]}
    assert echo.options(key=text, priority=1).delay(text).result(timeout=20) == text
    waits = echo.options(delay=3600, key=f"{text} later").delay(text)
    waits.signal(text, text)
    assert waits.cancel(text)
    assert waits.info().state == "cancelled"
    with quaff.limit(text, Concurrency(1)):
        pass
    name = text if text.isprintable() else repr(text)  # others are refused
    quaff.schedules.add(name, echo, every=3600, args=(text,))
    assert quaff.schedules.run(name).result(timeout=20) == text
    assert quaff.schedules.remove(name)
    assert quaff.queue("default").changes(1)[0].about == name


def _have_rules_about_it(quaff: Quaff) -> None:
    """Jobs with these arguments are put aside, and come back."""
    echo = quaff.tasks["echo"]
    for text in HOSTILE:
        quaff.block("echo", value=text)
    parked = [echo.delay(text) for text in HOSTILE]
    wait_until(lambda: quaff.queue("default").stats().parked == len(HOSTILE), 20, "jobs that were put aside")
    for text in HOSTILE:
        assert quaff.unblock("echo", value=text)
    assert [job.result(timeout=20) for job in parked] == [*HOSTILE]
