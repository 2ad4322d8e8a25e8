"""Whatever somebody has named or said, and whatever is typed, no command sends it to the terminal as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from quaff.cli import program
from tests.engines import Server
from tests.hostile.conftest import Den
from tests.hostile.words import WORDS, quiet

#: Characters that a command may print: a page of 500 jobs, or one job with all that is kept of it.
LONGEST = 500_000
#: Those that go on until they are ended, and something with which they do not begin.
SERVE = {"dev": ["-p", "x"], "worker": ["-p", "x"], "dashboard": ["-p", "x"], "server": ["-A", "no_such_module"]}
#: What a command asks for, by the name of the parameter.
GIVEN = {"role": "producer", "shell": "bash", "queue": "default", "name": "daily", "task": "says", "filter": "x"}
NOTHING = "default-0-" + "0" * 32


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, each in command.commands.items():
        yield from leaves(each, (*path, name))


COMMANDS = dict(leaves(program()))


def needed(path: tuple[str, ...], app: str, besides: str = "") -> list[str]:
    """The words without which a command does nothing, but for one parameter."""
    words: list[str] = []
    for each in COMMANDS[path].params:
        if each.name == besides:
            continue
        if each.name == "app":
            words += [] if path[0] in SERVE else ["-A", app]
        elif isinstance(each, click.Argument) and each.required:
            words.append(GIVEN.get(each.name or "", NOTHING))
        elif each.name == "timeout":
            words += ["--timeout", "0.2"]
        elif each.name == "yes":
            words.append("--yes")
    return words


def run(den: Den, *words: str) -> Result:
    """One command, in this process; it ends by itself, and never with a traceback."""
    done = CliRunner().invoke(program(), words, env=den.environment)
    assert done.exit_code in (0, 1, 2), (words, done.exit_code, done.output[:2000])
    assert "Traceback (most" not in done.output or words[:2] == ("jobs", "show"), done.output[-2000:]
    return done


def parameters() -> list[tuple[tuple[str, ...], str]]:
    """Each parameter of each command that takes a value."""
    return [
        (path, each.name or "")
        for path, command in COMMANDS.items()
        for each in command.params
        if not (isinstance(each, click.Option) and each.is_flag)
    ]


@pytest.mark.parametrize(
    ("path", "name"), parameters(), ids=lambda each: each if isinstance(each, str) else "-".join(each)
)
def test_what_is_typed_is_not_said_again_as_it_is(den: Den, path: tuple[str, ...], name: str) -> None:
    """In each place of each command, as a table and for programs."""
    parameter = next(each for each in COMMANDS[path].params if each.name == name)
    for word in WORDS.values():
        is_argument = isinstance(parameter, click.Argument)
        given = ["--", word] if is_argument else [f"{parameter.opts[-1]}={word}"]
        ends = SERVE.get(path[0], []) if (path[0], name) not in (("server", "app"), ("dashboard", "app")) else []
        for form in [[], ["--json"]] if any(each.name == "as_json" for each in COMMANDS[path].params) else [[]]:
            words = [*form, *needed(path, den.app, besides=name)]
            done = run(den, *path, *([*words, *given] if is_argument else [*given, *words, *ends]))
            quiet(done.output, LONGEST)


#: With which words each command is asked about what is stored; ID: of each job, NAME: of each schedule, THEIRS: the
#: server of another library.
ASKED: dict[str, list[tuple[str, ...]]] = {
    "info": [()],
    "queues": [()],
    "tasks": [()],
    "top": [("--once",)],
    "jobs ls": [("-n", "500"), *((f"state:{state}",) for state in ("queued", "failed", "succeeded", "running"))],
    "jobs show": [("ID",)],
    "jobs watch": [("ID", "--timeout", "0.02")],
    "jobs stack": [("ID", "--timeout", "0.02")],
    "jobs retry": [("error:nothing", "--yes")],
    "jobs cancel": [("task:nothing", "--yes")],
    "jobs rm": [("error:nothing", "--yes")],
    "cron ls": [()],
    "cron run": [("NAME",)],
    "cron pause": [("NAME",)],
    "cron resume": [("NAME",)],
    "call": [("says", "[1]")],
    "pause": [("default", "--for", "1")],
    "resume": [("default",)],
    "purge": [("nothing", "--yes")],
    "drain": [("nobody",)],
    "doctor": [()],
    "audit": [()],
    "metrics": [()],
    "healthcheck": [()],
    "acl": [("worker",)],
    "import": [("celery", "THEIRS", "--dry-run"), ("rq", "THEIRS", "--dry-run")],
    "completion": [("bash",)],
}


def test_every_command_is_asked() -> None:
    """A new one has to be given its words here."""
    assert {*ASKED, *SERVE} == {" ".join(path) for path in COMMANDS}


@pytest.fixture(scope="module")
def theirs() -> Iterator[str]:
    """The URL of a server in which others have named queues and tasks as they liked."""
    with Server() as server:
        for number, word in enumerate(WORDS.values()):
            name = word[:100_000]
            told = {
                "headers": {"id": f"{number} {name}", "task": name},
                "properties": {},
                "content-type": name,
                "body": name,
            }
            server.redis.sadd("_kombu.binding.celery", f"\x06\x16\x06\x16{name}".encode(errors="replace"))
            server.redis.lpush("celery", json.dumps(told))
            server.redis.sadd("rq:queues", f"rq:queue:{name}".encode(errors="replace"))
            server.redis.rpush(f"rq:queue:{name}".encode(errors="replace"), f"{number} {name}".encode(errors="replace"))
        yield f"redis://127.0.0.1:{server.port}"


@pytest.mark.parametrize("command", ASKED)
def test_what_is_stored_is_shown_and_does_nothing(den: Den, theirs: str, command: str) -> None:
    """In every cell, line and text, with the application and without it, as a table and for programs."""
    path = tuple(command.split())
    options = {each.name for each in COMMANDS[path].params}
    values = {"ID": den.jobs, "NAME": [each.name for each in den.quaff.schedules.list()], "THEIRS": [theirs]}
    shown = ""
    for words in ASKED[command]:
        several = next((values[word] for word in words if word in values), [""])
        for value in several:
            asked = ["--", *words] if value and not any(word.startswith("-") for word in words) else [*words]
            for app in [["-A", den.app], []] if "app" in options else [[]]:
                if not app and any(each.name == "app" and each.required for each in COMMANDS[path].params):
                    continue
                for form in [[], ["--json"]] if "as_json" in options else [[]]:
                    done = run(den, *path, *app, *form, *(value if word in values else word for word in asked))
                    quiet(done.output, LONGEST)
                    if form and done.exit_code == 0:
                        for line in done.stdout.splitlines():
                            _is_document(line)
                    shown += done.output
    if command in ("info", "top", "jobs ls", "jobs show", "jobs watch", "cron ls", "import"):
        assert r"\x1b[31m" in shown
        assert "x-hostile" in shown


def _is_document(line: str) -> Any:
    found = json.loads(line)
    assert isinstance(found, (dict, list))


def test_the_log_of_a_worker_does_nothing_to_the_terminal(den: Den) -> None:
    """What it says of jobs, and what they log with ``logging``."""
    assert "says" in den.said
    quiet(den.said, LONGEST)
