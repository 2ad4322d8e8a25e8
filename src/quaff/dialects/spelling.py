"""How another library spells an option: a table a library, and what becomes of options that are given so."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, ParamSpec, TypeAlias, TypeVar, cast

from quaff.errors import ConfigurationError, did_you_mean
from quaff.job import Job
from quaff.model import elsewhere
from quaff.task import Task

P = ParamSpec("P")
R = TypeVar("R")

YES, NO, EITHER = (None, True), (None, False), (None, True, False)


def same(value: Any) -> Any:
    """For options whose values are ours, too."""
    return value


class Said(NamedTuple):
    """One option of theirs.

    Attributes:
        ours: the option that does the same; empty if there is none.
        make: a value of ours out of theirs.
        idle: values that ask for nothing that is not so anyway.
        why: where there is none, or for other values: what to do.
    """

    ours: str = ""
    make: Callable[[Any], Any] = same
    idle: tuple[Any, ...] = (None,)
    why: str = ""


Spelling: TypeAlias = Mapping[str, Said]


def ours(where: str, spelling: Spelling, given: Mapping[str, Any]) -> dict[str, Any]:
    """Options as they are spelled here.

    Args:
        where: for errors: what was called.
        spelling: theirs.
        given: theirs, by name.

    Raises:
        ConfigurationError: one that they do not have, or that there is none for here.
    """
    found: dict[str, Any] = {}
    for name, value in given.items():
        said = spelling.get(name)
        if said is None:
            known = sorted(each for each, it in spelling.items() if it.ours)
            hint = did_you_mean(name, spelling)
            raise ConfigurationError(f"{where}: unknown option {name!r}.{hint} Known here: {', '.join(known)}.")
        if any(type(value) is type(each) and value == each for each in said.idle):
            continue
        if not said.ours:
            instead = said.why or "leave it out"
            raise ConfigurationError(f"{where}: nothing here does what {name}={value!r} asks for. Instead: {instead}.")
        try:
            found[said.ours] = said.make(value)
        except (TypeError, ValueError, AttributeError) as error:
            raise ConfigurationError(f"{where}: {name}={value!r} cannot be read: {error}.") from None
    return found


class Dialect(Generic[P, R]):
    """A task whose calls are spelled as another library spells them.

    Attributes:
        task: it, as it is here.
    """

    #: Of their methods and attributes, what to write instead.
    words: ClassVar[Mapping[str, str]] = {}

    def __init__(self, task: Task[P, R, Any]) -> None:
        functools.update_wrapper(self, task.fn)
        self.task: Task[P, R, Any] = task  # behind what a function brings that has an attribute of that name

    if not TYPE_CHECKING:  # where a name that is not there has to stay an error

        def __getattr__(self, name: str) -> Any:
            known = {each: f".task.{each}" for each in dir(Task) if each[0] != "_"}
            raise elsewhere.missing(self, name, {**known, **self.words})

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """A plain call, here and now."""
        return self.task(*args, **kwargs)

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Send one call, in the word that stays when ``@quaff.task`` takes this place; errors as of ``Task.delay``."""
        return self.task.delay(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.task.name}>"

    def _send(self, args: Sequence[Any], kwargs: Mapping[str, Any], options: dict[str, Any]) -> Job[R]:
        task: Any = self.task.options(**options) if options else self.task
        job: Job[R] = task.delay(*args, **kwargs)
        return job


class Called(Dialect[P, R]):
    """One of a function that a plain call runs."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """A plain call, here and now."""
        return cast("R", self.task(*args, **kwargs))
