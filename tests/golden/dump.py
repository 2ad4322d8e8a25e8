"""A golden dump as text: a line that says what it is and which jobs are in it, then a line for each key."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
NAMESPACE = "golden"


@dataclass(frozen=True)
class Known:
    """One job of a dump.

    Attributes:
        id: the job's.
        state: the one it was in.
        value: its result, or the reason why it has none, if it had ended.
        ends: the state in which it ends when a worker serves it again, and the value or reason then.
    """

    id: str
    state: str
    value: Any
    ends: tuple[str, Any]


@dataclass(frozen=True)
class Golden:
    """What a version has stored.

    Attributes:
        schema: of the stored state.
        jobs: by names that say what they are there for.
        flows: the ids of flows, likewise.
        keys: each key with its type and its contents as bytes.
    """

    version: str
    schema: int
    jobs: dict[str, Known]
    flows: dict[str, str]
    keys: dict[bytes, tuple[str, Any]]


def text(golden: Golden) -> str:
    """The file. Bytes are written as the characters of the same numbers."""
    head = {
        "version": golden.version,
        "schema": golden.schema,
        "jobs": {name: asdict(job) for name, job in golden.jobs.items()},
        "flows": golden.flows,
    }
    lines = [head, *({"key": _text(key), "kind": k, "value": _text(v)} for key, (k, v) in sorted(golden.keys.items()))]
    return "".join(json.dumps(line) + "\n" for line in lines)


def read(path: Path) -> Golden:
    """A file that ``text`` wrote."""
    head, *lines = (json.loads(line) for line in path.read_text().splitlines())
    jobs = {name: Known(**job | {"ends": tuple(job["ends"])}) for name, job in head["jobs"].items()}
    keys = {_bytes(line["key"]): (line["kind"], _bytes(line["value"])) for line in lines}
    return Golden(head["version"], head["schema"], jobs, head["flows"], keys)


def take(client: Any) -> dict[bytes, tuple[str, Any]]:
    """All of the namespace, at one moment."""
    names = sorted(client.scan_iter(match=f"quaff:{{{NAMESPACE}/*", count=1000))
    kinds = [client.type(name).decode() for name in names]
    with client.pipeline(transaction=True) as pipe:
        for name, kind in zip(names, kinds, strict=True):
            if kind == "hash":
                pipe.hgetall(name)
            elif kind == "zset":
                pipe.zrange(name, 0, -1, withscores=True)
            else:
                pipe.lrange(name, 0, -1)
        found = pipe.execute()
    whole = [list(map(list, each.items())) if isinstance(each, dict) else each for each in found]
    return {name: (kind, value) for name, kind, value in zip(names, kinds, whole, strict=True) if value}


def names(keys: Iterable[bytes]) -> set[str]:
    """The last parts of keys, of which ``quaff.store.keys`` has the list."""
    return {key.rpartition(b":")[2].decode() for key in keys}


def load(client: Any, golden: Golden) -> None:
    """Store it in an empty server."""
    with client.pipeline(transaction=True) as pipe:
        for key, (kind, value) in golden.keys.items():
            if kind == "hash":
                pipe.hset(key, mapping=dict(value))
            elif kind == "zset":
                pipe.zadd(key, dict(value))
            else:
                pipe.rpush(key, *value)
        pipe.execute()


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return [_text(each) for each in value] if isinstance(value, list | tuple) else value


def _bytes(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("latin-1")
    return [_bytes(each) for each in value] if isinstance(value, list) else value
