"""What an attempt came to, as data: the worst exception must not keep a job from being settled."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quaff.model import codec, outcome
from quaff.model.outcome import Attempt, Failure, Outcome, failure_of

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
FAILURES = st.builds(Failure, TEXT, TEXT, TEXT, TEXT)
TIMES = st.integers(0, 2**45)
ATTEMPTS = st.builds(
    Attempt, st.integers(0, 1000), TIMES, TIMES, TEXT, st.integers(0, 2**22), TEXT, st.none() | FAILURES
)
LIMIT = 20_000  # characters of any text that is kept
quick = settings(max_examples=100, deadline=None)


def raised(fn: Callable[[], Any]) -> BaseException:
    """What ``fn`` raises, with its traceback."""
    try:
        fn()
    except BaseException as error:  # noqa: BLE001  all of them
        return error
    raise AssertionError("nothing was raised")


def throw(error: BaseException) -> BaseException:
    """``error`` with a traceback."""

    def fn() -> None:
        raise error

    return raised(fn)


def kept(error: BaseException) -> Failure:
    """``error`` as data, after a trip through the record that the server keeps."""
    attempt = Attempt(1, 0, 0, "w", 1, "failed", failure_of(error))
    data = outcome.encode(Outcome("t", 0, attempt))
    assert len(data) < 300_000
    back = outcome.decode(data).attempt.error
    assert back is not None
    return back


@quick
@given(TEXT, TIMES, ATTEMPTS, st.integers() | TEXT | st.none() | st.lists(st.integers()))
def test_an_outcome_comes_back(task: str, created: int, attempt: Attempt, value: Any) -> None:
    """With its last attempt and its value, which nobody has to decode on the way."""
    data = outcome.encode(Outcome(task, created, attempt, msgspec.Raw(codec.encode(value))))
    back = outcome.decode(data)
    assert (back.task, back.created_ms, back.attempt) == (task, created, attempt)
    assert codec.unpack(bytes(back.value)) == value


def test_an_outcome_without_a_value_has_none() -> None:
    """None is a value like any other."""
    back = outcome.decode(outcome.encode(Outcome("t", 0, Attempt(1, 0, 0, "", 0, "succeeded"))))
    assert codec.unpack(bytes(back.value)) is None


@quick
@given(st.lists(ATTEMPTS, max_size=5))
def test_a_history_comes_back(attempts: list[Attempt]) -> None:
    """One record after another, each behind its length, as the scripts append them."""
    records = [outcome.encode(attempt) for attempt in attempts]
    data = b"".join(len(record).to_bytes(4, "big") + record for record in records)
    assert outcome.decode_history(data) == attempts


def test_a_failure_says_what_and_where() -> None:
    """Class, text and traceback, the cause included; the executor's own frame is left out on demand."""

    def fails() -> None:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer") from error

    error = raised(fails)
    failure = failure_of(error, frames=1)
    assert (failure.reason, failure.type, failure.message) == ("error", "ValueError", "outer")
    assert "KeyError: 'inner'" in failure.traceback
    assert failure.traceback.rstrip().endswith("ValueError: outer")
    assert "in fails" in failure.traceback
    assert "in raised" not in failure.traceback
    assert failure_of(error, "timeout").reason == "timeout"


class TestEvil:
    """Exceptions that do their worst (S26, F59)."""

    def test_a_text_that_raises(self) -> None:
        """Whatever ``__str__`` raises, also what is no Exception."""
        for inner in (ValueError("no"), SystemExit(1), KeyboardInterrupt(), RecursionError()):

            class Evil(Exception):
                reason: BaseException = inner

                def __str__(self) -> str:
                    raise self.reason

                __repr__ = __str__

            failure = kept(throw(Evil()))
            assert failure.type == "Evil"
            assert type(inner).__name__ in failure.message
            assert "Evil" in failure.traceback or "could not be read" in failure.traceback

    def test_a_text_that_raises_what_does_not_say_its_name(self) -> None:
        """The class of that exception is code of somebody's, too."""

        class Nameless(type):
            @property
            def __name__(cls) -> str:  # type: ignore[override]
                raise ValueError("no name")

        class Anonymous(Exception, metaclass=Nameless):
            pass

        class Evil(Exception):
            def __str__(self) -> str:
                raise Anonymous

        failure = kept(throw(Evil()))
        assert failure.message == "<its text could not be read: Anonymous>"
        assert failure.type == "Evil"
        assert kept(throw(Anonymous())).type == "Anonymous"

    def test_a_text_that_asks_for_itself(self) -> None:
        """Until the stack has no more room."""

        class Evil(Exception):
            def __str__(self) -> str:
                return str(self)

            __repr__ = __str__

        assert kept(throw(Evil())).message == "<its text could not be read: RecursionError>"
        assert "RecursionError" in kept(throw(ValueError(Evil()))).message

    def test_a_note_that_is_no_text(self) -> None:
        """Whatever an exception has been given, the rest of it is there."""

        class Evil:
            def __str__(self) -> str:
                raise SystemExit

            __repr__ = __str__

        error = ValueError("plain")
        error.__notes__ = [Evil(), "a note"]  # type: ignore[list-item]
        failure = kept(throw(error))
        assert failure.message == "plain"
        assert "a note" in failure.traceback

    def test_a_text_that_is_no_plain_text(self) -> None:
        """A ``str`` whose methods raise, and a ``__str__`` that gives something else."""

        class Sly(str):
            __slots__ = ()

            def __getitem__(self, _: Any) -> str:
                raise ZeroDivisionError

            encode = __len__ = __getitem__  # type: ignore[assignment]

        class Evil(Exception):
            def __str__(self) -> str:
                return Sly("sly")

        class Worse(Exception):
            def __str__(self) -> str:
                return 5  # type: ignore[return-value]  # noqa: PLE0307  that is its evil

        assert kept(throw(Evil())).message == "sly"
        assert "TypeError" in kept(throw(Worse())).message

    def test_a_message_of_fifty_megabytes(self) -> None:
        """The beginning of the text and the end of the traceback are kept, in no time."""
        began = time.monotonic()
        failure = kept(throw(ValueError("x" * 50_000_000)))
        assert len(failure.message) < LIMIT
        assert len(failure.traceback) < LIMIT
        assert time.monotonic() - began < 5

    def test_a_class_name_of_a_megabyte(self) -> None:
        """It is cut like any other text."""
        failure = kept(throw(type("E" * 1_000_000, (Exception,), {})()))
        assert failure.type.startswith("EEE")
        assert len(failure.type) < LIMIT

    def test_lone_surrogates(self) -> None:
        """They are escaped, in the message and in the traceback."""
        failure = kept(throw(ValueError("a\ud800b" * 3 + "\udfff" * 100_000)))
        assert failure.message.startswith("a\\ud800b")
        assert "\\ud800" in failure.traceback or "\\udfff" in failure.traceback

    def test_a_group_of_a_thousand(self) -> None:
        """A group in a group in a group, and a wide one."""
        error: Exception = ValueError("inner")
        for depth in range(200):
            error = ExceptionGroup(f"level {depth}", [error])
        failure = kept(throw(error))
        assert (failure.type, failure.message) == ("ExceptionGroup", "level 199 (1 sub-exception)")
        wide = kept(throw(ExceptionGroup("wide", [ValueError(str(n)) for n in range(1000)])))
        assert wide.message == "wide (1000 sub-exceptions)"

    def test_a_chain_without_end(self) -> None:
        """Causes in a circle, and ten thousand of them in a row."""
        one, two = ValueError("one"), ValueError("two")
        one.__cause__, two.__cause__ = two, one
        assert "ValueError: two" in kept(throw(one)).traceback
        error = ValueError("last")
        for _ in range(10_000):
            outer = ValueError("outer")
            outer.__cause__ = error
            error = outer
        assert kept(throw(error)).message == "outer"

    def test_a_recursion_error(self) -> None:
        """With its thousand frames, and handled near the end of the stack."""

        def deeper() -> None:
            deeper()

        failure = kept(raised(deeper))
        assert failure.type == "RecursionError"
        assert "deeper" in failure.traceback

        def at_the_edge(left: int) -> Failure:
            return at_the_edge(left - 1) if left else failure_of(ValueError("edge"))

        for left in range(1, 40):
            room = sys.getrecursionlimit() - len(traceback.extract_stack()) - left
            try:
                assert at_the_edge(room).type == "ValueError"
            except RecursionError:
                assert left < 20  # no room for even one call

    def test_a_syntax_error_of_evil_parts(self) -> None:
        """The traceback module looks into those."""
        error = SyntaxError("bad", ("\ud800.py", "x", -5, None))  # type: ignore[arg-type]
        assert kept(throw(error)).type == "SyntaxError"

    @pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, BaseException])
    def test_what_is_no_exception(self, kind: type[BaseException]) -> None:
        """They end a task like any other (F10)."""
        assert kept(throw(kind("why"))).type == kind.__name__

    def test_an_exception_that_was_never_raised(self) -> None:
        """It has no traceback, only its own line."""
        failure = kept(ValueError("quiet"))
        assert failure.traceback == "ValueError: quiet\n"
