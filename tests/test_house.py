"""The house rules that no linter knows: a light import, a whole front door, short files, nothing that runs data."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import quaff
from quaff import errors

SRC = Path(__file__).parent.parent / "src"
SOURCES = sorted(SRC.rglob("*.py"))
MAX_LINES = 350
# Of the time that importing asyncio takes, 40 ms here, so that Quaff stays under 30: every `flask` command of an
# application with Quaff installed pays it.
IMPORT_BUDGET = 0.7

# What our own floors need, and standard modules that cost milliseconds each.
HEAVY = {
    *("redis", "hiredis", "valkey", "msgspec", "cronsim", "click", "flask", "werkzeug", "jinja2"),
    *("asyncio", "concurrent.futures", "multiprocessing", "subprocess", "socket", "ssl", "selectors"),
    *("uuid", "inspect", "dataclasses", "logging", "email", "http", "urllib.request", "zoneinfo", "decimal"),
    *("importlib.metadata", "tempfile", "shutil", "json", "hmac", "hashlib"),
}
# What makes objects of what it reads, or code of a text; the processes of `multiprocessing` pickle what they say.
RUNS_DATA = {
    *("pickle", "_pickle", "cPickle", "cloudpickle", "dill", "jsonpickle", "joblib", "marshal", "shelve", "copyreg"),
    *("yaml", "ruamel", "multiprocessing", "runpy", "codeop"),
}


def in_fresh_interpreter(code: str) -> object:
    """What ``code`` prints as JSON, run without this process's modules."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def dangers(source: str) -> list[str]:
    """Every import of a module that runs data, and every use of a builtin that does, such as ``eval`` and ``exec``."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found += [name.name for name in names if name.name.split(".")[0] in RUNS_DATA]
            case ast.ImportFrom(module=str(name), level=0) if name.split(".")[0] in RUNS_DATA:
                found.append(name)
            case ast.Call(args=[ast.Constant(value=str(name)), *_]) if name.split(".")[0] in RUNS_DATA:
                found.append(name)  # import_module("pickle"), and anything else that is handed such a name
            case ast.Name(id="eval" | "exec" | "compile" | "__import__" | "__builtins__" as name):
                found.append(name)
            case ast.Attribute(value=ast.Name(id="builtins"), attr="eval" | "exec" | "compile" | "__import__" as name):
                found.append(name)
    return found


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    """The names of the modules that ``import quaff`` adds to a bare interpreter."""
    names = in_fresh_interpreter(
        "import sys; before = set(sys.modules); import quaff; added = set(sys.modules) - before;"
        "import json; print(json.dumps(sorted(added)))"
    )
    assert isinstance(names, list)
    return set(names)


def test_importing_quaff_loads_nothing_heavy(loaded: set[str]) -> None:
    assert not HEAVY & loaded


def test_importing_quaff_loads_only_itself_and_the_standard_library(loaded: set[str]) -> None:
    assert {name.split(".")[0] for name in loaded} <= {"quaff", *sys.stdlib_module_names}


def test_what_a_workers_processes_have_in_common_is_nothing_that_only_some_of_them_need() -> None:
    """Each page of it may come to be there three times: in the supervisor, its guard and a process."""
    names = in_fresh_interpreter(
        "import sys, json, quaff.worker.serve, quaff.worker.forkserver; print(json.dumps(sorted(sys.modules)))"
    )
    assert isinstance(names, list)
    assert not {name.split(".")[0] for name in names} & {"click", "flask", "jinja2", "multiprocessing", "socketserver"}
    assert not {"http.client", "http.server", "urllib.request", "quaff.cli", "quaff.dashboard"} & set(names)


def test_a_supervisor_that_executes_its_processes_has_not_loaded_what_they_need() -> None:
    code = "import sys, json, quaff.worker.serve; print(json.dumps([name for name in {!r} if name in sys.modules]))"
    wanted = ["quaff.app", *(f"quaff.worker.{name}" for name in ("process", "forkserver", "executor", "fetcher"))]
    assert in_fresh_interpreter(code.format(wanted)) == []


def test_importing_quaff_is_quick() -> None:
    code = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"
    # In turns, and the best of several: a busy machine can make an import slower, never quicker.
    times = [[float(str(in_fresh_interpreter(code.format(name)))) for name in ("quaff", "asyncio")] for _ in range(7)]
    own, asyncio = map(min, zip(*times, strict=True))
    assert own < asyncio * IMPORT_BUDGET


def test_the_public_names_are_sorted_and_said_once() -> None:
    assert list(quaff.__all__) == sorted(set(quaff.__all__))


@pytest.mark.parametrize("name", quaff.__all__)
def test_a_public_name_resolves(name: str) -> None:
    assert getattr(quaff, name) is not None
    assert name in dir(quaff)


def test_a_wrong_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        quaff.no_such_name  # noqa: B018


def test_every_exception_is_exported() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    public = {kind.__name__ for kind in kinds if not kind.__name__.startswith("_")}
    assert public <= set(quaff.__all__)
    assert all(getattr(quaff, name) is getattr(errors, name) for name in public)


@pytest.mark.parametrize("path", [*SOURCES, *sorted(SRC.rglob("*.lua"))], ids=lambda path: str(path.relative_to(SRC)))
def test_a_source_file_can_be_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES, "this is usually two things"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(SRC)))
def test_no_source_file_can_run_data(path: Path) -> None:
    """S1: no pickle and its kind, no YAML, no eval and exec."""
    assert dangers(path.read_text(encoding="utf-8")) == []


def test_nothing_is_inflated_and_nothing_is_fetched() -> None:
    """S7, S16: no source file imports what unpacks, or what opens URLs, but for these two."""
    unpack = {"zlib", "gzip", "bz2", "lzma", "zipfile", "tarfile", "zstandard"}
    fetch = {"http", "http.client", "urllib.request", "requests", "httpx", "aiohttp", "urllib3"}
    allowed = {
        ("importing/rq.py", "zlib"),  # jobs of RQ's, with a bound
        ("worker/webhook.py", "http.client"),  # posts to the webhook of the settings
    }
    imported = {
        (path.relative_to(SRC / "quaff").as_posix(), name)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in (
            [each.name for each in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert {(path, name) for path, name in imported if name in unpack | fetch} == allowed


@pytest.mark.parametrize(
    "bad",
    [
        "import pickle",
        "def f():\n    from marshal import loads",
        "import shelve as s",
        "import importlib; importlib.import_module('pickle')",
        "eval('1')",
        "run = exec",
        "import builtins; builtins.eval('1')",
        "import yaml\nyaml.load(data)",
        "from yaml import unsafe_load",
        "from multiprocessing.connection import Client",
        "code = compile(text, 'x', 'exec')",
        "__import__(name).run()",
        "__builtins__['eval'](text)",
        "import runpy",
    ],
)
def test_the_search_for_dangers_finds(bad: str) -> None:
    assert len(dangers(bad)) == 1


def test_the_search_for_dangers_leaves_redis_scripts_alone() -> None:
    assert dangers("client.eval(script); client.execute(); await asyncio.create_subprocess_exec('x')") == []
    assert dangers("PATTERN = re.compile('a'); import pickletools") == []
