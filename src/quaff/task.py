"""Task[P, R, F]: a function with options. A plain call runs it here; ``delay`` sends it to a queue."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypedDict, TypeVar, Unpack

from quaff.config import Settings
from quaff.errors import ConfigurationError, EnqueueError, MessageTooLarge
from quaff.job import Job
from quaff.middleware import Middleware, Sending, around, headers_of
from quaff.model import durability, elsewhere, ids, message
from quaff.model.batch import shape_of
from quaff.model.durability import Durability
from quaff.model.flow import TaskSignature
from quaff.model.ids import JobId
from quaff.model.limits import Concurrency, FairBy, Key, RateLimit, Unique, check_key, check_names
from quaff.model.message import Submission, Where
from quaff.model.options import TaskOptions, resolve
from quaff.model.placement import Placement, placement
from quaff.model.retry import Kinds, Rule
from quaff.model.signature import Signature
from quaff.model.spread import check_spread
from quaff.model.times import Seconds, seconds

P = ParamSpec("P")
R = TypeVar("R")
Y = TypeVar("Y")
F = TypeVar("F", covariant=True)

_UNSEEN: AbstractContextManager[Callable[[list[Submission]], list[Submission]]] = nullcontext(lambda sent: sent)
_NO_TERMS: Mapping[str, Any] = MappingProxyType({})


class GivenOptions(TypedDict, total=False):
    """What a task may set."""

    name: str
    queue: str
    result_ttl: Seconds
    keep_none: bool
    retries: int
    backoff: Seconds | Sequence[Seconds] | Rule
    retry_on: Kinds
    give_up_on: Kinds
    timeout: Seconds
    soft_timeout: Seconds
    expires: Seconds | datetime
    on_exhausted: Task[Any, Any, Any] | str
    aliases: Sequence[str]
    sensitive: Sequence[str]
    priority: int
    unique: Unique | None
    durability: str
    rate: RateLimit | Sequence[RateLimit]
    concurrency: Concurrency | Sequence[Concurrency]
    fair_by: FairBy | Key


class CallOptions(TypedDict, total=False):
    """What one call may set otherwise than its task."""

    queue: str
    key: str
    timeout: Seconds
    expires: Seconds | datetime
    delay: Seconds
    eta: datetime
    priority: int
    unique: Unique | None
    durability: str
    fair_key: str


class Sender(Protocol):
    """What a task needs from the application."""

    @property
    def settings(self) -> Settings:
        """Its settings."""
        ...

    @property
    def middleware(self) -> Sequence[Middleware]:
        """What sees its jobs."""
        ...

    def send(self, submissions: Sequence[Submission]) -> list[Job[Any]]:
        """Store jobs now, or at the end of the batch block around the call."""
        ...

    async def asend(self, submissions: Sequence[Submission]) -> list[Job[Any]]:
        """As ``send``, in a coroutine."""
        ...


class Task(Generic[P, R, F]):
    """A registered function. ``P`` and ``R``: its parameters and what it gives; ``F``: what a direct call returns.

    Attributes:
        sender: the application.
        name: what messages call it.
        fn: the function.
        settings: its options.
        is_async: True for ``async def``.
        streams: True for a generator, whose values ``job.stream()`` gives.
    """

    def __init__(self, sender: Sender, name: str, fn: Callable[..., Any], settings: TaskOptions) -> None:
        self.sender = sender
        self.name = name
        self.fn = fn
        self.settings = settings
        # What messages need not say, because every worker knows it.
        self.own_timeout: float | None = settings.timeout
        self.is_async: bool = inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn)
        self.streams: bool = inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn)
        if self.streams and settings.batch is not None:
            raise ConfigurationError(
                f"task {name!r} has batch= and is a generator; values of a batch cannot be streamed."
            )
        self.signature: Signature = Signature(name, fn if settings.batch is None else shape_of(name, fn))
        _check_names(self.signature, settings)
        functools.update_wrapper(self, fn)

    if not TYPE_CHECKING:  # where a name that is not there has to stay an error

        def __getattr__(self, name: str) -> Any:
            raise elsewhere.missing(self, name, elsewhere.OF_TASKS)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> F:
        """A plain call, here and now."""
        result: F = self.fn(*args, **kwargs)
        return result

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Send one call to the queue; when this returns, the job is stored.

        Raises:
            TypeError: the arguments do not fit the function (as EncodeError: one cannot be sent). Nothing was sent.
            MessageTooLarge, ServerUnavailable, EnqueueUnknown, QueueFull, IdConflict
            DurabilityNotConfirmed: it is stored, and ``durability=`` asks for more; ConfigurationError where the server
                could never confirm that, and nothing was sent.
        """
        with self._seen() as note:
            return self.sender.send(note([submission(self, args, kwargs)]))[0]

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """As ``delay``, in a coroutine."""
        with self._seen() as note:
            return (await self.sender.asend(note([submission(self, args, kwargs)])))[0]

    def map(self, calls: Iterable[tuple[Any, ...]], *, spread: Seconds = 0) -> list[Job[R]]:
        """Send many calls, each a tuple of positional arguments; one round trip per 500.

        Args:
            spread: seconds over which they become due, evenly, the first one at once.

        Raises:
            TypeError: a call does not fit, and nothing was sent; the others as ``delay``, with ``.jobs`` on the error
                holding what had been stored.
        """
        with self._seen() as note:
            return self.sender.send(note(self._submissions(calls, spread)))

    async def amap(self, calls: Iterable[tuple[Any, ...]], *, spread: Seconds = 0) -> list[Job[R]]:
        """As ``map``, in a coroutine."""
        with self._seen() as note:
            return await self.sender.asend(note(self._submissions(calls, spread)))

    def s(self, *args: Any, **kwargs: Any) -> TaskCall[R]:
        """A call for ``chain``, ``group``, ``chord`` and ``workflow``; in a chain the result before it is put first."""
        return TaskCall(self, args, kwargs, takes=True)

    def si(self, *args: Any, **kwargs: Any) -> TaskCall[R]:
        """As ``s``, for a call that takes no result of another one."""
        return TaskCall(self, args, kwargs, takes=False)

    def options(self, **given: Unpack[CallOptions]) -> Task[P, R, F]:
        """The same task with other options for the calls made through it.

        Raises:
            ConfigurationError: an unknown option or a value it cannot take.
        """
        settings = resolve(self.settings, dict(given), call=True)
        if "unique" in given:
            _check_names(self.signature, settings)
        twin: Task[P, R, F] = Task.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.settings = settings
        return twin

    @property
    def durability(self) -> Durability | None:
        """What its jobs have to survive before they count as sent; None: the end of any process of ours."""
        return durability.read(self.settings.durability or self.sender.settings.durability)

    def _seen(self) -> AbstractContextManager[Callable[[list[Submission]], list[Submission]]]:
        several = self.sender.middleware
        return around(several, Sending(self.name, self.settings.queue), _id_of) if several else _UNSEEN

    def _submissions(self, calls: Iterable[tuple[Any, ...]], spread: Seconds) -> list[Submission]:
        spread_ms = int(seconds(f"{self.name}.map(spread=)", spread) * 1000)
        if spread_ms:
            calls = list(calls)
        submissions: list[Submission] = []
        for place, call in enumerate(calls):
            if not isinstance(call, (tuple, list)):
                raise TypeError(
                    f"{self.name}.map(): {call!r} is not the arguments of a call: give tuples, [(1,), (2,)]"
                )
            later_ms = spread_ms * place // len(calls) if isinstance(calls, list) else 0
            try:
                submissions.append(submission(self, tuple(call), {}, later_ms))
            except (TypeError, EnqueueError) as error:
                error.add_note(f"It is call {place} of map(), counted from 0.")
                raise
        return submissions

    def __repr__(self) -> str:
        return f"<Task {self.name}>"


class TaskCall(TaskSignature[R]):
    """A call that a workflow makes, or that is sent by itself."""

    def delay(self) -> Job[R]:
        """``task.delay(...)`` with these arguments; errors as of that."""
        return self.task.delay(*self.args, **self.kwargs)  # type: ignore[no-any-return]

    async def adelay(self) -> Job[R]:
        """As ``delay``, in a coroutine."""
        return await self.task.adelay(*self.args, **self.kwargs)  # type: ignore[no-any-return]


def submission(
    task: Task[Any, Any, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    later_ms: int = 0,
    *,
    home: JobId | None = None,
    terms: Mapping[str, Any] = _NO_TERMS,
) -> Submission:
    """One call on its way to the server; errors as of ``delay``.

    Args:
        later_ms: it is due so much later than the options say.
        home: what it belongs to: it is at home in the partition of that, whichever queue it runs in.
        terms: what the worker is to know besides.
    """
    sent = task.signature.bind(args, kwargs)
    settings, common = task.settings, task.sender.settings
    if (several := task.sender.middleware) and (headers := headers_of(several)):
        terms = {**terms, message.HEADERS: headers}
    key = None
    if settings.key is None:
        raw = ids.new_raw()
        data = message.encode(task.name, sent.args, sent.kwargs, _terms(task, terms, later_ms))
    else:
        raw = ids.keyed_raw(settings.queue, task.name, settings.key)
        key = f"{settings.queue}/{task.name}/{settings.key}"
        now_ms = time.time_ns() // 1_000_000
        secret = common.seals.digest_key
        data = message.encode_keyed(task.name, sent.args, sent.kwargs, now_ms, _terms(task, terms, later_ms), secret)
    id = common.partitions.home(settings.queue, raw) if home is None else home._replace(raw=raw)
    follow_up = b"" if settings.on_exhausted is None else message.encode(settings.on_exhausted, [str(id)], {})
    if common.seals.writes:
        seals, where = common.seals, Where(common.namespace, id)
        # A job of a flow may run again, as another one.
        data = message.seal(data, seals, where, late=message.FLOW in terms)
        follow_up = follow_up and message.seal(follow_up, seals, where, late=True)
    if follow_up:
        data = message.carrying(follow_up, data)
    if len(data) > common.max_message:
        raise MessageTooLarge(
            f"{task.name}.delay(): the arguments are {len(data):,} bytes, the limit is "
            f"{common.max_message:,} (MAX_MESSAGE). Store the data and send its id or path."
        )
    place = placed(task, args, kwargs, later_ms)
    if place is not None:
        check_spread(task.name, settings, common.partitions)
    return Submission(id, data, task.name, key, place, task.durability)


def _id_of(sent: Submission) -> str:
    return str(sent.id)


def _terms(task: Task[Any, Any, Any], given: Mapping[str, Any], later_ms: int) -> Mapping[str, Any]:
    """What the worker must know of this call besides its arguments, if anything."""
    settings = task.settings
    delayed = later_ms or settings.delay or settings.eta
    if settings.expires is None and settings.timeout is task.own_timeout and not delayed:
        return given
    terms = dict(given)
    if delayed:
        # Only how long it has waited is counted by this.
        base = settings.eta.timestamp() if settings.eta else time.time() + (settings.delay or 0)
        terms[message.DUE] = int(base * 1000) + later_ms
    if settings.expires is not None:
        terms[message.EXPIRES] = settings.expires_ms()
    if settings.timeout is not None and settings.timeout is not task.own_timeout:
        terms[message.TIMEOUT] = int(settings.timeout * 1000)
    return terms


def placed(
    task: Task[Any, Any, Any], args: Sequence[Any], kwargs: Mapping[str, Any], later_ms: int = 0
) -> Placement | None:
    """Where a call of a task waits; None for nearly all, at the end of the one line. Raises ConfigurationError.

    Args:
        later_ms: so much later than the task's options say.
    """
    wishes = task.settings.wishes(later_ms)
    if wishes is None:
        return None
    try:
        return placement(task.name, wishes, task.signature.arguments(tuple(args), dict(kwargs)))
    except Exception as error:  # a function of the user's may raise anything
        raise ConfigurationError(
            f"{task.name}.delay(): a key or cost of its options cannot be made from these arguments: "
            f"{type(error).__name__}: {error}. Nothing was sent."
        ) from error


def _check_names(signature: Signature, settings: TaskOptions) -> None:
    """Refuse options that speak of parameters the function does not have."""
    keys: list[tuple[str, Key]] = [(f"{type(each).__name__}(key)", each.key) for each in settings.limits]
    if settings.fair_by is not None:
        check_key("fair_by", settings.fair_by.key, signature.names, varies=True)
    for what, key in keys:
        check_key(what, key, signature.names)
    check_names(f"sensitive={settings.sensitive!r}", settings.sensitive, signature.names)
    if settings.unique is not None:
        check_names(f"Unique(by={settings.unique.by!r})", settings.unique.by, signature.names)
