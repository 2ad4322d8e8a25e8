"""A function as a step: run once, its value remembered, and given back as its return annotation says."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from quaff.durable.steps import Steps, in_loop, in_thread
from quaff.errors import EncodeError, StepError
from quaff.model import codec
from quaff.model.signature import Signature
from quaff.model.steps import DONE


def run(steps: Steps, name: str, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """The value of a plain function."""
    store, signature = steps.memory.store, _signature(name, fn)
    known = in_thread(store, steps.recall(name, DONE))
    if known is not None:
        return signature.decode_result(known.value)
    value = fn(*args, **kwargs)
    if inspect.iscoroutine(value):
        value.close()
        raise TypeError(f"step {name!r}: {name_of(fn)} is a coroutine function: use `await current_job.astep()`.")
    in_thread(store, steps.keep(name, DONE, _encoded(steps, name, signature, value)))
    return value


async def arun(steps: Steps, name: str, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """The value of a function, awaited if it is to be."""
    store, signature = steps.memory.store, _signature(name, fn)
    known = await in_loop(store, steps.recall(name, DONE))
    if known is not None:
        return signature.decode_result(known.value)
    value = fn(*args, **kwargs)
    if inspect.isawaitable(value):
        value = await value
    await in_loop(store, steps.keep(name, DONE, _encoded(steps, name, signature, value)))
    return value


def typed(name: str, step: str, data: bytes, kind: Any) -> Any:
    """A signal's value as somebody wants it; ``step``: the wait that took it. Raises StepError."""
    value = codec.unpack(data)
    if kind is Any or type(value) is kind:
        return value
    try:
        return codec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise StepError(
            f"the signal {name!r} has another value than wait_for(type=) wants: {error}. It is taken: only "
            f"job.rerun(from_step={step!r}) waits for another one."
        ) from None


def _encoded(steps: Steps, name: str, signature: Signature, value: Any) -> bytes:
    try:
        data = signature.encode_result(value)
    except EncodeError as error:
        raise EncodeError(
            f"the value of step {name!r} cannot be remembered: {error.args[0]}. Return plain data (numbers, text, "
            "bytes, dates, lists, dicts) or an id."
        ) from None
    return steps.checked_value(name, data)


def _signature(name: str, fn: Callable[..., Any]) -> Signature:
    if not callable(fn):
        raise TypeError(
            f"step {name!r}: {fn!r} is no function. Give the function and its arguments, step(name, fn, *args), and do "
            "not call it: a step that is remembered must not run again."
        )
    return Signature(name_of(fn), _inner(fn))


def name_of(fn: Callable[..., Any]) -> str:
    """A function's name, for people."""
    return str(getattr(_inner(fn), "__qualname__", None) or type(fn).__qualname__)


def _inner(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Whose annotations count."""
    return _inner(fn.func) if isinstance(fn, partial) else fn
