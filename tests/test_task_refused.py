"""Calls that are refused before anything is sent, options that do not exist, and the same job sent twice."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from quaff import (
    ConfigurationError,
    EncodeError,
    IdConflict,
    Job,
    MessageTooLarge,
    Quaff,
    RateLimit,
)
from quaff.model import message
from tests import taskapp
from tests.taskapp import Colour, Order, Point, own, stored

WHEN = dt.datetime(2011, 9, 24, 19, 49, 1, 2, ZoneInfo("Europe/Vienna"))
POINT = Point(2**70, WHEN.astimezone(dt.UTC), Decimal("1.10"))
ORDER = Order(UUID(int=7), (Colour.RED, Colour.BLUE), POINT)
LIMIT = 256 * 1024


@pytest.fixture
def quaff(server_url: str, namespace: str) -> Iterator[Quaff]:
    """An application with the same tasks and no worker."""
    with taskapp.twin(server_url, namespace) as quaff:
        yield quaff


def adding(a: int, b: int = 0) -> int:
    """A function that is no task yet."""
    return a + b


def broken(a: int, **_: int) -> str:
    """The key of a limit, gone wrong."""
    raise RuntimeError(f"no key for {a}")


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (lambda quaff: quaff.task(bind=True)(len), "unknown option 'bind'. Here it is current_job, and no first"),
        (lambda quaff: own(quaff, "add").options(countdown=5), "unknown option 'countdown'. Here it is delay=."),
        (lambda quaff: own(quaff, "add").apply_async, "no attribute 'apply_async'; here it is .options(delay=…)"),
        (lambda quaff: quaff.job("default-0-" + "0" * 32).get, "no attribute 'get'; here it is .result(timeout=…)"),
        (lambda quaff: quaff.job("default-0-" + "0" * 32).gets, "'Job' object has no attribute 'gets'"),
    ],
    ids=range(5),
)
def test_the_words_of_other_queues_are_answered_with_ours(write: Any, told: str, quaff: Quaff) -> None:
    """Options and methods that fingers know."""
    with pytest.raises((ConfigurationError, AttributeError)) as caught:
        write(quaff)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "told"),
    [
        ("add", (), {}, "'a'"),
        ("add", (1, 2, 3), {}, "too many positional arguments"),
        ("add", (1,), {"c": 2}, "'c'"),
        ("add", ("one",), {}, "argument 'a' is a str"),
        ("add", (1,), {"b": None}, "argument 'b' is a NoneType"),
        ("aadd", (1.5,), {}, "argument 'a' is a float"),
        ("echo", (object(),), {}, "argument 'value' is an object"),
        ("echo", (threading.Lock(),), {}, "argument 'value' is a lock"),
        ("echo", (lambda: 1,), {}, "argument 'value' is a function"),
        ("echo", (ENDLESS,), {}, "argument 'value' is a list: it is nested too deeply, or contains itself"),
        ("echo", (Colour.RED,), {}, "argument 'value' is a Colour, which comes back only where the type hint says"),
        ("echo", ({"deep": [POINT]},), {}, "argument 'value' is a dict: a Point comes back only"),
        ("ship", (ORDER, "green"), {}, "argument 'colour' is a str"),
        ("ship", (ORDER, Colour.RED, POINT, 7), {}, r"argument 'more\[1\]' is an int"),
        ("ship", (ORDER, Colour.RED), {"other": "green"}, "argument 'other' is a str"),
    ],
    ids=range(15),
)
def test_a_call_that_cannot_be_is_refused_before_anything_is_sent(
    name: str, args: Any, kwargs: Any, told: str, quaff: Quaff
) -> None:
    """A TypeError that names the task and the argument, in each way of sending, and nothing is in the server."""
    task = own(quaff, name)
    with pytest.raises(TypeError, match=rf"^tests\.taskapp\.{name}\.delay\(\): .*{told}"):
        task.delay(*args, **kwargs)
    with pytest.raises(TypeError, match=told):
        asyncio.run(task.adelay(*args, **kwargs))
    with pytest.raises(TypeError, match=told):
        task.map([args]) if not kwargs else task.delay(*args, **kwargs)
    assert stored(quaff) == []


def test_a_map_with_one_bad_call_sends_none(quaff: Quaff) -> None:
    """Not even those before it."""
    with pytest.raises(EncodeError, match="argument 'a' is a str"):
        own(quaff, "add").map([(1,)] * 600 + [("one",)])
    assert stored(quaff) == []


def test_a_map_of_bare_values_is_told_what_it_wants(quaff: Quaff) -> None:
    """Tuples, also for a single argument."""
    with pytest.raises(TypeError, match=r"give tuples, \[\(1,\), \(2,\)\]"):
        own(quaff, "add").map([1, 2])


def test_a_message_that_is_too_large_is_refused_and_nothing_is_stored(quaff: Quaff) -> None:
    """F53: the error names the task, both sizes, the setting and what to do."""
    give = own(quaff, "give")
    with pytest.raises(MessageTooLarge) as caught:
        give.delay(b"x" * LIMIT)
    assert re.fullmatch(
        r"tests\.taskapp\.give\.delay\(\): the arguments are 262,\d{3} bytes, the limit is 262,144 \(MAX_MESSAGE\)\. "
        r"Store the data and send its id or path\. \[QF015\]",
        str(caught.value),
    )
    with pytest.raises(MessageTooLarge):
        give.map([(1,), (b"x" * LIMIT,)])
    with pytest.raises(MessageTooLarge):
        asyncio.run(give.adelay(b"x" * LIMIT))
    assert stored(quaff) == []


def test_a_message_of_just_the_limit_is_sent(server_url: str, namespace: str) -> None:
    """One byte more is not."""
    size = len(message.encode("tests.taskapp.give", [b"x" * 1000], {}))
    for limit, count in ((size, 1), (size - 1, 0)):
        quaff = Quaff(server_url, namespace=f"{namespace}-{limit}", max_message=limit)
        with nullcontext() if count else pytest.raises(MessageTooLarge):
            quaff.task(taskapp.give.fn).delay(b"x" * 1000)
        assert len(stored(quaff)) == count
        quaff.store.endpoint.pool().disconnect()


# Options


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda quaff: own(quaff, "add").options(queu="x"), "unknown option 'queu'. Did you mean 'queue'?"),
        (lambda quaff: own(quaff, "add").options(result_ttl=1), "It belongs to the task: @quaff.task(result_ttl=...)."),
        (lambda quaff: quaff.task(result_tl=1)(print), "unknown option 'result_tl'. Did you mean 'result_ttl'?"),
        (lambda quaff: quaff.task(print, kee_none=1), "Did you mean 'keep_none'?"),
        (lambda quaff: quaff.task(key="k")(print), "It belongs to one call: task.options(key=...)."),
        (lambda quaff: quaff.task(adding, fair_by="a"), "all jobs would have one turn. Did you mean '{a}'?"),
        (lambda quaff: quaff.task(adding, fair_by=""), "names no argument"),
        (lambda quaff: quaff.task(adding, rate=RateLimit(1, key="{c}")), "the function has no parameter 'c'"),
        (lambda quaff: quaff.task(adding, rate=RateLimit(1, key=broken)).delay(1), "RuntimeError: no key for 1"),
    ],
    ids=range(9),
)
def test_an_unknown_option_is_refused_with_the_nearest_known_one(
    act: Callable[[Quaff], object], told: str, quaff: Quaff
) -> None:
    """On the task and on the call, the moment it is given."""
    with pytest.raises(ConfigurationError) as caught:
        act(quaff)
    assert told in str(caught.value)
    assert str(caught.value).endswith("[QF001]")


@pytest.mark.parametrize("name", ["", "two words", "a/b", "ünder", "x" * 129, "a:b", "{a}", "a\n", None, 7], ids=repr)
def test_a_queue_or_task_of_a_bad_name_is_refused(name: Any, quaff: Quaff) -> None:
    """S11: no name can break out of a key or a URL."""
    with pytest.raises(ConfigurationError, match=r"^queue name .*: use 1 to 128 of the characters"):
        own(quaff, "add").options(queue=name)
    with pytest.raises(ConfigurationError, match=r"^queue name "):
        quaff.task(taskapp.add.fn, queue=name)
    if name is not None:  # which asks for the default
        with pytest.raises(ConfigurationError, match=r"^task name "):
            quaff.task(taskapp.add.fn, name=name)


@pytest.mark.parametrize("given", ["mail", 5, ValueError("x")], ids=repr)
def test_what_is_no_function_is_no_task(given: Any, quaff: Quaff) -> None:
    """Other queues take a name there: the error says how it is given here."""
    with pytest.raises(ConfigurationError, match=r"a task is a function; options are named, as in queue='mail'\."):
        quaff.task(given)


def test_a_function_whose_name_can_be_none_of_a_task_needs_another_one(quaff: Quaff) -> None:
    """One that was typed into standard input, or stands in a file whose name has a space."""

    def typed() -> None: ...

    typed.__module__ = "<stdin>"
    with pytest.raises(
        ConfigurationError, match=r"^task name '<stdin>\..*, or give it another one: @quaff\.task\(name"
    ):
        quaff.task(typed)
    assert quaff.task(typed, name="typed").name == "typed"


@pytest.mark.parametrize("bad", [("x", 2), (1, 2, 3)], ids=["a wrong type", "too many"])
def test_of_many_calls_the_one_that_does_not_fit_is_told(bad: tuple[Any, ...], quaff: Quaff) -> None:
    """Among thousands nobody finds it by its value."""
    with pytest.raises(TypeError) as caught:
        own(quaff, "add").map([(1, 2), (3, 4), bad, (5, 6)])
    assert caught.value.__notes__ == ["It is call 2 of map(), counted from 0."]
    assert stored(quaff) == []


def test_who_is_told_of_failures_is_a_task(quaff: Quaff) -> None:
    """A function that no worker knows could not be called."""
    with pytest.raises(ConfigurationError, match=r"^on_exhausted=<function .*: give a task \(@quaff"):
        quaff.task(taskapp.add.fn, on_exhausted=lambda id: id)  # type: ignore[arg-type]


def test_an_argument_that_does_not_fit_is_told_what_would(quaff: Quaff) -> None:
    """Other advice than for one that cannot be sent at all."""
    with pytest.raises(EncodeError, match=r"got `str`\. Give what its type hint asks for\. \[QF016"):
        own(quaff, "add").delay("x")
    with pytest.raises(EncodeError, match=r"is an object, which cannot be sent\. Send plain data"):
        own(quaff, "echo").delay(object())


def test_a_schedule_without_its_arguments_is_refused_in_one_sentence_with_one_code(quaff: Quaff) -> None:
    """Whether one is missing or does not fit."""
    add = quaff.task(taskapp.add.fn, name="add")
    for args, told in (((), "argument: 'a' for (a, b=0)"), (("x",), "asks for")):
        with pytest.raises(ConfigurationError) as caught:
            quaff.every(5, args=args)(add)
        assert str(caught.value).endswith(f"{told}. Its arguments are args= and kwargs=. [QF001]")
        assert str(caught.value).count("[QF") == 1


# The same job twice


def test_the_same_key_and_arguments_is_the_same_job(quaff: Quaff) -> None:
    """However the arguments are written; through a map, a batch and a coroutine too."""
    task = own(quaff, "add").options(key="invoice-7")
    job = task.delay(1, 2)
    assert not job.existing
    assert job.key == "default/tests.taskapp.add/invoice-7"
    for again in (task.delay(1, 2), task.delay(a=1, b=2), task.delay(1, b=2), *task.map([(1, 2), (1, 2)])):
        assert again == job
        assert again.existing
    with quaff.batch():
        assert task.delay(1, 2) == job
    assert quaff.job(job.key) == quaff.job(job.id) == job
    assert len(stored(quaff)) == 1


def test_the_same_key_with_other_arguments_is_a_conflict(quaff: Quaff) -> None:
    """And the first job stays as it is; another queue, task or key is another job."""
    task = own(quaff, "add")
    job = task.options(key="k").delay(1, 2)
    with pytest.raises(IdConflict, match=r"add: the key 'default/tests\.taskapp\.add/k' was used with other arguments"):
        task.options(key="k").delay(2, 1)
    others = [
        task.options(key="k", queue="slow").delay(2, 1),
        own(quaff, "aadd").options(key="k").delay(2, 1),
        task.options(key="K").delay(2, 1),
    ]
    assert len({job, *others}) == len(stored(quaff)) == 4


def test_a_conflict_in_a_batch_leaves_the_others_stored(quaff: Quaff) -> None:
    """And tells which."""
    task = own(quaff, "add")
    task.options(key="k").delay(1)
    sent: list[Job[int]] = []

    def all_at_once() -> None:
        with quaff.batch():
            sent.extend([task.delay(3), task.options(key="k").delay(2), task.delay(4)])

    with pytest.raises(IdConflict) as caught:
        all_at_once()
    assert caught.value.jobs == [sent[0], sent[2]]
    assert len(stored(quaff)) == 3
