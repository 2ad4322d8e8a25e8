"""The Lua house rules that no linter knows, and that a server takes every script."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from quaff.store import scripts
from quaff.store.client import Store
from quaff.store.connect import Endpoint
from quaff.store.keys import NAMES, partition
from quaff.store.scripts import load
from quaff.store.transitions import Call

LUA = Path(scripts.__file__).parent / "lua"
FILES = sorted(LUA.glob("*.lua"))
INCLUDES = sorted((LUA / "lib").glob("*.lua"))
TRANSITIONS = "enqueue enqueue_routed claim settle release heartbeat reap sweep cancel requeue discard lookup".split()

#: Commands a script may call: each O(1) or O(log n), or bounded by its arguments. An account needs no others.
ALLOWED = set(
    "DEL EXISTS PUBLISH HDEL HEXISTS HGET HINCRBY HLEN HMGET HSET HSETNX HSTRLEN LINDEX LLEN LPOS LPUSH LTRIM MEMORY "
    "RPOP RPUSH TIME ZADD ZCARD ZMSCORE ZRANGEBYLEX ZRANGEBYSCORE ZRANK ZREM ZREVRANGEBYSCORE ZSCORE".split()
)
BANNED = "KEYS SCAN HSCAN SSCAN ZSCAN LREM SMEMBERS HGETALL HKEYS HVALS LRANGE ZRANGE EXPIRE PEXPIRE SETEX".split()

any_file = pytest.mark.parametrize("path", [*FILES, *INCLUDES], ids=lambda path: path.stem)
any_script = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def code(path: Path) -> str:
    """The text without comments and blank lines."""
    lines = (line.split("--")[0].rstrip() for line in path.read_text().splitlines() if not line.startswith("#!"))
    return "\n".join(line for line in lines if line)


def words(text: str) -> set[str]:
    """The names in Lua code, texts left out."""
    return set(re.findall(r"\b[a-zA-Z_]\w*", re.sub(r"'[^']*'", "''", text)))


@any_script
def test_a_script_begins_with_its_shebang(path: Path) -> None:
    """With it, refusals come before the first line; full memory stops new jobs and nothing else (F23, F44)."""
    first = path.read_text().splitlines()[0]
    assert first == {
        **dict.fromkeys(("admit", "enqueue", "enqueue_routed", "arrive", "plant", "grow"), "#!lua"),
        **dict.fromkeys(
            "lookup graph holds asked stats changes schedules blocks recall partitions brakes jobs "
            "listing series survey dumped".split(),
            "#!lua flags=no-writes,allow-oom",
        ),
    }.get(path.stem, "#!lua flags=allow-oom")


@any_script
def test_a_script_says_what_it_does(path: Path) -> None:
    """``verb: from -> to``, its ARGV, its answer, and what it guarantees unless it changes nothing."""
    header = []
    for line in path.read_text().splitlines()[1:]:
        if not line.startswith("--"):
            break
        header.append(line)
    assert re.fullmatch(rf"--- {path.stem}: \S.*", header[0])
    text = "\n".join(header)
    for part in ("-- ARGV: ", "-- Answer: ", *([] if load(path.stem).reads else ["-- Guarantees: "])):
        assert part in text, f"{part} is missing"


@any_script
def test_keys_come_through_the_declared_lines_alone(path: Path) -> None:
    """S10: every key is a name of the one fixed list, none is made up inside (which loses jobs), none idle."""
    script = load(path.stem)
    assert set(script.keys) <= set(NAMES)
    assert len(set(script.keys)) == len(script.keys)
    assert script.source.count("KEYS") == script.source.splitlines()[1].count("KEYS") == len(script.keys)
    assert set(re.findall(r"\bk\.(\w+)", script.source)) == set(script.keys)


@any_script
def test_what_a_later_release_has_changed_is_not_touched(path: Path) -> None:
    """The schema is asked for before anything else is done (F58)."""
    body = [line for line in path.read_text().splitlines() if not line.startswith("-- ") or "@include" in line]
    assert body[:3] == ["#!lua" + body[0][5:], body[1], "-- @include schema"]
    assert body[1].startswith("--- ")


@any_file
def test_a_command_names_its_key_by_a_word(path: Path) -> None:
    """The first argument is a declared name (or ``k.name``, or a parameter), never a text put together."""
    text = code(path)
    for command, key in re.findall(r"redis\.call\('(\w+)'(?:, ([^,)]+))?", code(path)):
        if command == "MEMORY":
            assert "redis.call('MEMORY', 'USAGE', k.msg, 'SAMPLES', 20)" in text
        elif command != "TIME":
            assert re.fullmatch(rf"(?:k\.)?({'|'.join(NAMES)}|key|line)", key), (command, key)


@any_file
def test_only_commands_of_bounded_cost_are_called(path: Path) -> None:
    """S10: no KEYS, SCAN, LREM, SMEMBERS or HGETALL, no TTL; every call is spelled out so that this can be seen."""
    text = code(path)
    called = re.findall(r"redis\.call\('(\w+)'", text)
    assert text.count("redis.") - text.count("redis.sha1hex(") == len(called), "something else of redis.* is used"
    assert "server." not in text
    assert set(called) <= ALLOWED
    assert not set(called) & set(BANNED)


@any_file
def test_no_text_is_run(path: Path) -> None:
    """S10: whatever was stored or given is data; nothing here makes a function, a name or a module of it."""
    makes = "load loadstring loadfile dofile require module setfenv getfenv _G _ENV setmetatable rawset debug".split()
    assert not words(code(path)) & set(makes)


@any_file
def test_nothing_looks_for_more_than_its_bound(path: Path) -> None:
    """Each range has a LIMIT, no loop runs until something happens."""
    text = code(path)
    for range_call in re.findall(r"redis\.call\('Z(?:REV)?RANGE\w+'.*", text):
        assert "'LIMIT', " in range_call
    for position in re.findall(r"redis\.call\('LPOS'.*", text):
        assert "'MAXLEN', " in position
    assert not re.search(r"\b(while|repeat)\b", text)


@any_file
def test_no_number_loses_digits(path: Path) -> None:
    """``tostring`` writes 1.7e+15, cjson turns a list into an object: neither is used."""
    text = code(path)
    assert "tostring(" not in text
    assert "cjson" not in text


@any_file
def test_time_is_the_servers_and_read_in_one_place(path: Path) -> None:
    """So that a test can put another clock there, and no script mixes two."""
    assert ("'TIME'" in code(path)) == (path.stem == "clock")


def included(path: Path) -> list[str]:
    """What a file includes by itself."""
    return re.findall(r"^-- @include (\w+)$", path.read_text(), re.MULTILINE)


def defined(path: Path) -> set[str]:
    """What whoever includes a file gets from it."""
    return set(re.findall(r"^local (?:function )?(\w+)", code(path), re.MULTILINE))


@any_file
def test_a_file_includes_what_it_uses_and_nothing_else(path: Path) -> None:
    """An include that nobody uses, or the use of one that is not named, is a mistake."""
    named, own = included(path), words(code(path))
    assert path.read_text().count("@include") == len(named) == len(set(named))
    for piece in INCLUDES:
        offered = defined(piece)
        if offered and piece != path:
            used = {name for name in offered & own if not re.search(rf"\blocal (function )?{name}\b", code(path))}
            assert bool(used) == (piece.stem in named), (piece.stem, used)


@any_file
def test_a_file_names_the_keys_it_uses_and_no_others(path: Path) -> None:
    """So that a script declares neither too few nor too many, whatever it includes."""
    lines = re.findall(r"^-- KEYS: ([\w ]+)$", path.read_text(), re.MULTILINE)
    named = [name for line in lines for name in line.split()]
    assert sorted(named) == sorted(set(re.findall(r"\bk\.(\w+)", code(path))))


def test_every_include_belongs_to_somebody() -> None:
    """A piece that nobody includes is dead."""
    assert {path.stem for path in INCLUDES} == {name for path in [*FILES, *INCLUDES] for name in included(path)}


def test_the_transitions_are_all_there() -> None:
    """One file each."""
    assert set(TRANSITIONS) <= {path.stem for path in FILES}


@any_script
def test_a_server_takes_the_script(path: Path, server_url: str) -> None:
    """It compiles, and its SHA is the one that EVALSHA will be sent with (S10)."""
    script = load(path.stem)
    assert hashlib.sha1(script.source.encode()).hexdigest().encode() == script.sha
    connection = Endpoint(server_url, "a test", 5).connection()
    connection.connect()
    try:
        connection.send_command("SCRIPT", "LOAD", script.source)
        assert connection.read_response() == script.sha
    finally:
        connection.disconnect()


def test_a_partition_lives_in_one_slot() -> None:
    """One hash tag around namespace, queue and number, and one key for each name (F43)."""
    home = partition("shop", "mail", 3)
    keys = home.keys(tuple(NAMES))
    assert len(set(keys)) == len(NAMES)
    assert all(key.startswith(b"quaff:{shop/mail#3}:") for key in keys)
    assert home.key("msg") == b"quaff:{shop/mail#3}:msg"
    assert partition("shop", "mail", 3) is home


def test_a_call_is_the_same_each_time_it_is_sent(server_url: str, namespace: str) -> None:
    """A value: sending it again is sending the same bytes."""
    call: Call[list[int]] = Call(load("heartbeat"), partition(namespace, "q"), (1000, b"p" * 8), list)
    assert call.command == call.command
    assert call.command[:3] == (b"EVALSHA", load("heartbeat").sha, b"2")
    store = Store(Endpoint(server_url, "a test", 5), 5)
    assert [store.run(call), store.run(call)] == [[0], [0]]
