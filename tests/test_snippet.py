"""``quaff.snippet``: the program of 2011, its web part over real HTTP, its daemon a real worker."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask

from quaff import ConfigurationError, JobFailed, ResultExpired, snippet
from quaff.flask import Quaff
from quaff.model import ids
from quaff.snippet import DelayedResult, queuefunc
from tests.helpers import Program, python, wait_until
from tests.matrix import WORKER, known_as

EXAMPLE = Path(__file__).parent.parent / "examples" / "snippet"
KEEP = Callable[[Program], Program]

YOURAPP = """
import os, pathlib, signal, time
from flask import Flask, current_app
from quaff.snippet import DelayedResult, queuefunc
import strangers

app = Flask(__name__)
app.config["REDIS_QUEUE_KEY"] = "my queue: é"
app.config["QUAFF_URL"] = {url!r}
app.config["QUAFF_NAMESPACE"] = {namespace!r}
HERE = pathlib.Path(__file__).parent

@queuefunc
def add(a, b):
    return a + b

@queuefunc
def nothing():
    return None

@queuefunc
def zero():
    return 0

@queuefunc
def fail(kind, *arguments):
    raise {{"stranger": strangers.TimeoutError, "own": strangers.Own}}.get(kind) or getattr(__builtins__, kind, None) \\
        or __builtins__[kind])(*arguments)

@queuefunc
def append(number):
    time.sleep(0.002)
    with (HERE / "order").open("a") as order:
        order.write(f"{{number}}\\n")

@queuefunc
def slow(seconds):
    (HERE / "slow").touch()
    time.sleep(seconds)
    return "finished"

@queuefunc
def die_once():
    if not (HERE / "died").exists():
        (HERE / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "ran again"

@queuefunc
def where():
    return add.delay(1, 1).key, current_app.name
""".replace("raise {{", "raise ({{")

STRANGERS = '''
class TimeoutError(Exception):
    """Not the builtin one."""

class Own(Exception):
    """Nobody else's."""
'''

DAEMON = """
from {module} import app
from quaff.snippet import queue_daemon
queue_daemon(app, rv_ttl={rv_ttl})
"""


class Place:
    """A folder with a program of its own module name; ``yourapp`` is that module, imported here."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.name = f"yourapp_{uuid4().hex[:8]}"
        self.url = url
        (folder / f"{self.name}.py").write_text(YOURAPP.format(url=url, namespace=self.name))
        (folder / "strangers.py").write_text(STRANGERS)

    def daemon(self, rv_ttl: float = 500) -> Program:
        """Start the daemon script; it has no guard, and runs from another directory."""
        script = self.folder / "run_daemon.py"
        script.write_text(DAEMON.format(module=self.name, rv_ttl=rv_ttl))
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir(exist_ok=True)
        daemon = python(str(script), cwd=elsewhere)
        try:
            daemon.wait_for("ready")
        except BaseException:
            daemon.end()
            raise
        return daemon

    def load(self) -> ModuleType:
        """The program, imported."""
        return __import__(self.name)


@pytest.fixture(scope="module")
def place(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A program whose daemon runs and keeps results for 500 s, imported here."""
    place = Place(tmp_path_factory.mktemp("snippet"), known_as(WORKER, server_url))
    daemon = place.daemon()
    sys.path.append(str(place.folder))
    place.load()
    yield place
    sys.path.remove(str(place.folder))
    sys.modules.pop("strangers", None)
    daemon.end()


@pytest.fixture
def yourapp(place: Place) -> Iterator[ModuleType]:
    """The program, in a request of its application."""
    module = place.load()
    with module.app.test_request_context():
        yield module


def value_of(rv: DelayedResult) -> Any:
    """The value, waited for."""
    wait_until(lambda: rv.return_value is not None, what=repr(rv))
    return rv.return_value


def gone(key: str) -> Callable[[], bool]:
    """Whether the server has no value for a key (any more)."""
    return lambda: DelayedResult(key).return_value is None


# The program as it was published


def test_the_program_of_2011_runs_over_http(server_url: str, tmp_path: Path, running: KEEP, namespace: str) -> None:
    """``/add``, then ``/add-result`` until it is ready; asked once more, the session has forgotten it."""
    shutil.copytree(EXAMPLE, tmp_path / "web")
    env = {"QUAFF_URL": known_as(WORKER, server_url), "QUAFF_NAMESPACE": namespace}
    running(python("run_daemon.py", cwd=tmp_path / "web", env=env)).wait_for("ready")
    web = running(python("-m", "flask", "--app", "yourapp", "run", "--port", "0", cwd=tmp_path / "web", env=env))
    found = re.search(r"http://\S+", wait_for_line(web, "Running on"))
    assert found is not None
    # The cookie holds the key, as a browser's would.
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def get(path: str) -> str:
        with browser.open(found[0] + path, timeout=10) as answer:
            body: bytes = answer.read()
        return body.decode()

    assert json.loads(get("/add-result")) == {"ready": False}
    assert get("/add?a=1&b=2") == "Waiting for result..."
    ready = wait_until(lambda: told if (told := json.loads(get("/add-result")))["ready"] else None)
    assert ready == {"ready": True, "result": 3}
    assert json.loads(get("/add-result")) == {"ready": False}
    with pytest.raises(urllib.error.HTTPError, match="400"):
        get("/add?a=1")


def wait_for_line(program: Program, text: str) -> str:
    """The first line with ``text`` on either of its outputs."""
    return wait_until(lambda: next((line for line in program.stderr + program.stdout if text in line), ""), what=text)


def test_the_shell_session_of_the_page(yourapp: ModuleType) -> None:
    """``rv.return_value`` is None until it is there; ``rv.key`` is as it was; a plain call runs here."""
    assert yourapp.add(1, 2) == 3
    rv = yourapp.add.delay(1, 2)
    assert re.fullmatch(r"my queue: é:result:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", rv.key)
    assert value_of(rv) == 3
    assert DelayedResult(rv.key).return_value == 3


def test_a_function_stays_the_function_it_was(yourapp: ModuleType) -> None:
    """The decorator only adds ``delay``."""

    def function(a: int) -> int:
        return a

    decorated: Any = queuefunc(function)
    assert decorated is function
    assert yourapp.add.__name__ == "add"


# Values


def test_false_values_are_values(yourapp: ModuleType) -> None:
    """Only None means "not there"."""
    assert value_of(yourapp.zero.delay()) == 0


def test_none_is_stored_nowhere(yourapp: ModuleType) -> None:
    """The job has succeeded, and there is no result of it."""
    rv = yourapp.nothing.delay()
    job = own_quaff(yourapp.app).job(rv.key)
    wait_until(lambda: job.state == "succeeded")
    assert rv.return_value is None
    with pytest.raises(ResultExpired):
        job.result(0)


@pytest.mark.parametrize(
    ("kind", "arguments", "text"),
    [
        ("ValueError", ["bad"], "bad"),
        ("ZeroDivisionError", [], ""),
        ("KeyError", ["name"], "'name'"),
        ("KeyError", [7], "7"),
        ("FileNotFoundError", [2, "No such file", "x"], "[Errno 2] No such file: 'x'"),
        ("TimeoutError", ["too late"], "too late"),
        ("ValueError", ["two\nlines"], "two\nlines"),
    ],
)
def test_a_builtin_exception_is_handed_back(yourapp: ModuleType, kind: str, arguments: list[Any], text: str) -> None:
    """As the value, of the same class and with the same text."""
    value = value_of(yourapp.fail.delay(kind, *arguments))
    assert (type(value).__module__, type(value).__name__, str(value)) == ("builtins", kind, text)


@pytest.mark.parametrize(
    ("kind", "arguments", "name"),
    [
        ("own", ["mine"], "Own"),
        ("stranger", ["theirs"], "TimeoutError"),
        ("UnicodeDecodeError", ["utf-8", b"\xff", 0, 1, "bad"], "UnicodeDecodeError"),
        ("SystemExit", ["over"], "SystemExit"),
    ],
)
def test_any_other_exception_is_a_job_failed(yourapp: ModuleType, kind: str, arguments: list[Any], name: str) -> None:
    """Nothing from the wire is made into an object of a class that the wire names."""
    value = value_of(yourapp.fail.delay(kind, *arguments))
    assert isinstance(value, JobFailed)
    assert value.type == name
    assert "Traceback" in value.traceback


def test_a_call_that_does_not_fit_is_a_type_error_at_once(yourapp: ModuleType) -> None:
    """Nothing is sent."""
    with pytest.raises(TypeError, match="missing a required argument"):
        yourapp.add.delay(1)


# Where a key is good


@pytest.mark.parametrize("imports", ["", "import {name}"])
def test_a_key_is_good_in_another_process_without_a_context(
    place: Place, yourapp: ModuleType, running: KEEP, imports: str
) -> None:
    """The server is that of the application that was loaded, else QUAFF_URL."""
    key = yourapp.add.delay(20, 22).key
    code = f"{imports.format(name=place.name)}\nimport time; from quaff.snippet import DelayedResult\n"
    code += f"rv = DelayedResult({key!r})\nwhile rv.return_value is None: time.sleep(0.01)\nprint(rv.return_value)"
    env = {} if imports else {"QUAFF_URL": place.url, "QUAFF_NAMESPACE": place.name}
    reader = running(python("-c", code, cwd=place.folder, env=env))
    assert reader.wait() == 0, reader.output
    assert reader.stdout == ["42"]


def test_what_is_no_key_has_no_value(yourapp: ModuleType) -> None:
    """As any key that Redis did not know."""
    for key in ("", "x", "my queue: é:result:", f"my queue: é:result:{uuid4()}"):
        assert DelayedResult(key).return_value is None


def test_delay_wants_an_application_context(place: Place) -> None:
    """As in 2011."""
    with pytest.raises(RuntimeError, match="application context"):
        place.load().add.delay(1, 2)


def test_a_function_runs_in_a_context_of_the_application(yourapp: ModuleType) -> None:
    """So it can send further calls."""
    key, name = value_of(yourapp.where.delay())
    assert name == yourapp.app.name
    assert value_of(DelayedResult(key)) == 2


def test_an_application_must_name_its_queue(yourapp: ModuleType) -> None:
    """The error has the line that is missing."""
    with Flask("bare").app_context(), pytest.raises(ConfigurationError, match="REDIS_QUEUE_KEY"):
        yourapp.add.delay(1, 2)


def test_other_characters_of_a_queue_key_are_escaped() -> None:
    """A name stays as it is, and no two keys meet."""
    assert ids.queue_name("my_queue.2-a") == "my_queue.2-a"
    keys = ["a:b", "a.3ab", "a..3ab", "a.2e3ab", "é", "e", "a b", "a/b", "x" * 129, "x" * 130, "\udc80", "a.3", "a.3:"]
    names = [ids.queue_name(key) for key in keys]
    assert len(set(names)) == len(keys)
    assert all(ids.NAME.fullmatch(name) for name in names)


# The daemon


def test_jobs_run_one_at_a_time_in_order(place: Place, yourapp: ModuleType) -> None:
    """First in, first run, as one ``blpop`` after the other did."""
    for number in range(60):
        yourapp.append.delay(number)
    order = place.folder / "order"
    wait_until(lambda: order.exists() and len(order.read_text().split()) == 60)
    assert order.read_text().split() == [str(number) for number in range(60)]


def test_a_job_outlives_the_death_of_its_process(yourapp: ModuleType) -> None:
    """In 2011 a popped job died with its worker."""
    assert value_of(yourapp.die_once.delay()) == "ran again"


@pytest.mark.alone  # it counts seconds
def test_a_result_is_gone_after_rv_ttl(server_url: str, tmp_path: Path, running: KEEP) -> None:
    """A handle that has seen the value keeps it; what raised goes in the same time."""
    place = Place(tmp_path, known_as(WORKER, server_url))
    running(place.daemon(rv_ttl=3))
    sys.path.append(str(tmp_path))
    try:
        module = place.load()
    finally:
        sys.path.remove(str(tmp_path))
    with module.app.app_context():
        for function, arguments in ((module.add, (1, 2)), (module.fail, ("ValueError", "bad"))):
            rv = function.delay(*arguments)
            seen = value_of(rv)
            # On time, whenever the daemon next tidies up.
            began = time.monotonic()
            wait_until(gone(rv.key))
            assert time.monotonic() - began < 4.5
            assert rv.return_value is seen


def test_a_value_that_was_read_is_dropped_soon(yourapp: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after ``rv_ttl`` (500 s here) but 10 s later, for which 0.1 s stand here."""
    assert snippet._AFTER_READ_MS == 10_000
    monkeypatch.setattr(snippet, "_AFTER_READ_MS", 100)
    read, unread = yourapp.add.delay(1, 2), yourapp.add.delay(3, 4)
    assert value_of(read) == 3
    wait_until(gone(read.key))
    assert read.return_value == 3
    assert value_of(unread) == 7


def test_the_daemon_finishes_what_runs_and_exits_with_0(server_url: str, tmp_path: Path, running: KEEP) -> None:
    """SIGTERM lets the job end; its value is there for whoever asks later."""
    place = Place(tmp_path, known_as(WORKER, server_url))
    daemon = running(place.daemon())
    code = f"import {place.name} as m\nwith m.app.app_context(): print(m.slow.delay(1).key)"
    sender = running(python("-c", code, cwd=tmp_path))
    assert sender.wait() == 0, sender.output
    wait_until((tmp_path / "slow").exists)
    assert daemon.stop(signal.SIGTERM) == 0, daemon.output
    code = f"import {place.name} as m; print(m.DelayedResult({sender.stdout[0]!r}).return_value)"
    reader = running(python("-c", code, cwd=tmp_path))
    assert reader.wait() == 0, reader.output
    assert reader.stdout == ["finished"]


SINGLE = """
from flask import Flask
from quaff.snippet import queue_daemon, queuefunc
app = Flask(__name__)
app.config["REDIS_QUEUE_KEY"] = "single"

@queuefunc
def add(a, b):
    return a + b

{guard}queue_daemon(app)
"""


def test_one_file_can_be_both_application_and_daemon(
    server_url: str, tmp_path: Path, running: KEEP, namespace: str
) -> None:
    """Below the usual guard: the processes import the file under its name."""
    (tmp_path / "both.py").write_text(SINGLE.format(guard='if __name__ == "__main__": '))
    env = {"QUAFF_URL": known_as(WORKER, server_url), "QUAFF_NAMESPACE": namespace}
    running(python("both.py", cwd=tmp_path, env=env)).wait_for("ready")
    code = """
import time, both
with both.app.app_context():
    rv = both.add.delay(1, 2)
while rv.return_value is None: time.sleep(0.01)
"""
    sender = running(python("-c", code, cwd=tmp_path, env=env))
    assert sender.wait() == 0, sender.output


def test_one_file_without_a_guard_is_told_what_to_do(
    server_url: str, tmp_path: Path, running: KEEP, namespace: str
) -> None:
    """Not an endless chain of daemons that start daemons."""
    (tmp_path / "both.py").write_text(SINGLE.format(guard=""))
    daemon = running(
        python("both.py", cwd=tmp_path, env={"QUAFF_URL": known_as(WORKER, server_url), "QUAFF_NAMESPACE": namespace})
    )
    assert daemon.wait() == 2
    assert "__main__" in daemon.output


FACTORY = """
from flask import Flask
from quaff.snippet import queuefunc

def create_app():
    app = Flask(__name__)
    app.config["REDIS_QUEUE_KEY"] = "made"
    return app

@queuefunc
def add(a, b):
    return a + b
"""


def test_an_application_may_come_from_a_factory(server_url: str, tmp_path: Path, running: KEEP, namespace: str) -> None:
    """The processes call the factory of ``app.import_name`` themselves."""
    (tmp_path / "factory.py").write_text(FACTORY)
    (tmp_path / "run.py").write_text(
        "from factory import create_app; from quaff.snippet import queue_daemon; queue_daemon(create_app())"
    )
    env = {"QUAFF_URL": known_as(WORKER, server_url), "QUAFF_NAMESPACE": namespace}
    running(python("run.py", cwd=tmp_path, env=env)).wait_for("ready")
    code = """
import time, factory
with factory.create_app().app_context():
    rv = factory.add.delay(1, 2)
while rv.return_value is None: time.sleep(0.01)
"""
    sender = running(python("-c", code, cwd=tmp_path, env=env))
    assert sender.wait() == 0, sender.output


def test_an_application_may_have_a_quaff_of_its_own_beside(
    yourapp: ModuleType,
) -> None:
    """Moving over can be done task by task; each finds the other's jobs by their keys."""
    rv = yourapp.add.delay(1, 2)
    job = own_quaff(yourapp.app).job(rv.key)
    assert job.result(10) == 3
    assert job.key == rv.key


def own_quaff(app: Flask) -> Quaff:
    """The application's own Quaff."""
    if "quaff" not in app.extensions:
        Quaff(app, url_prefix=None)
    quaff = app.extensions["quaff"]
    assert isinstance(quaff, Quaff)
    return quaff
