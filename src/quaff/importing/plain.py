"""Plain values out of a pickle, by its opcodes: nothing is imported, called or run, whatever is written there.

A pickle is a program. This knows the few instructions by which ``dict list tuple str bytes int float bool None`` are
written, and refuses at the first other one. A plain value is no larger than its text: a container that is used
in two places is refused, or a few lines could stand for more values than there is memory.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from typing import Any

#: What may be named in a pickle, by module and name, and what makes a value of its arguments.
Records = Mapping[tuple[str, str], Callable[..., Any]]


class NotPlain(ValueError):
    """Why it is not, to be read after "it is pickled, and"."""


class _Named:
    """Stands for what is named until it gets its arguments; where it gets none, no codec takes it for a value."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make


class _Machine:
    def __init__(self, records: Records) -> None:
        self.records = records
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def take(self, count: int) -> list[Any]:
        """The last so many."""
        if len(self.stack) < count:
            raise NotPlain("cannot be read")
        taken = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return taken

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        above, self.stack = self.stack, self.below.pop()
        return above

    def extend(self, items: list[Any]) -> None:
        self._last(list).extend(items)

    def update(self, items: list[Any]) -> None:
        self._last(dict).update(_pairs(items))

    def remember(self, place: int) -> None:
        self.memo[place] = self.stack[-1]

    def recall(self, place: int) -> None:
        value = self.memo[place]
        if isinstance(value, list | dict | tuple):
            raise NotPlain("has one container in two places")
        self.push(value)

    def name(self, module: Any, name: Any) -> None:
        make = self.records.get((module, name))
        if make is None:
            raise NotPlain(f"names {str(module)[:60]}.{str(name)[:60]}")
        self.push(_Named(make))

    def make(self) -> None:
        named, arguments = self.take(2)
        if not isinstance(named, _Named) or not isinstance(arguments, tuple):
            raise NotPlain("cannot be read")
        self.push(named.make(*arguments))

    def _last(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise NotPlain("cannot be read")
        return self.stack[-1]


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(items[::2], items[1::2], strict=True))


_LITERALS = (
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT "
    "UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8".split()
)
#: What an instruction does, given the machine and what is written behind it. What is not here is refused.
_DOES: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda m, _: None,
    "FRAME": lambda m, _: None,
    **dict.fromkeys(_LITERALS, _Machine.push),
    "NONE": lambda m, _: m.push(None),
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    "MARK": lambda m, _: m.mark(),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "TUPLE1": lambda m, _: m.push(tuple(m.take(1))),
    "TUPLE2": lambda m, _: m.push(tuple(m.take(2))),
    "TUPLE3": lambda m, _: m.push(tuple(m.take(3))),
    "TUPLE": lambda m, _: m.push(tuple(m.since_mark())),
    "EMPTY_LIST": lambda m, _: m.push([]),
    "LIST": lambda m, _: m.push(m.since_mark()),
    "APPEND": lambda m, _: m.extend(m.take(1)),
    "APPENDS": lambda m, _: m.extend(m.since_mark()),
    "EMPTY_DICT": lambda m, _: m.push({}),
    "DICT": lambda m, _: m.push(_pairs(m.since_mark())),
    "SETITEM": lambda m, _: m.update(m.take(2)),
    "SETITEMS": lambda m, _: m.update(m.since_mark()),
    "MEMOIZE": lambda m, _: m.remember(len(m.memo)),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.remember),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.recall),
    "GLOBAL": lambda m, text: m.name(*text.split(" ", 1)),
    "STACK_GLOBAL": lambda m, _: m.name(*m.take(2)),
    "REDUCE": lambda m, _: m.make(),
    "NEWOBJ": lambda m, _: m.make(),
}


def is_pickle(data: bytes) -> bool:
    """Whether these bytes begin as pickles of protocol 2 and later do."""
    return data[:1] == b"\x80"


def read(data: bytes, records: Records | None = None) -> Any:
    """The plain value that is pickled.

    Args:
        data: no longer than somebody is willing to wait for.
        records: which named things are to be read as well.

    Raises:
        NotPlain: it is anything else, or broken.
    """
    machine = _Machine(records or {})
    try:
        for opcode, argument, place in pickletools.genops(data):
            if opcode.name == "STOP":
                if place != len(data) - 1:
                    raise NotPlain("signed, or has something else behind it")
                break
            does = _DOES.get(opcode.name)
            if does is None:
                raise NotPlain(f"is more than plain data ({opcode.name})")
            does(machine, argument)
        (value,) = machine.stack
    except NotPlain:
        raise
    except Exception:  # noqa: BLE001  whatever these bytes make of the table, they are not what somebody pickled
        raise NotPlain("cannot be read") from None
    return value
