"""One call's jobs on their way to the server: in chunks, what came of each, and what an error means for the rest."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from quaff.config import Settings
from quaff.errors import (
    DuplicateJob,
    EnqueueError,
    EnqueueUnknown,
    IdConflict,
    QuaffError,
    ScriptFault,
    ServerUnavailable,
)
from quaff.job import Job
from quaff.model import outcome
from quaff.model.ids import JobId
from quaff.model.message import Submission
from quaff.store.assurance import Assured
from quaff.store.bulk import Replaced, chunks
from quaff.store.faults import NoAnswer
from quaff.store.transitions import Call


class MakeHandle(Protocol):
    """What makes the handle of a job; ``existing`` and ``fresh`` as of Job."""

    def __call__(self, id: JobId, key: str | None = None, *, existing: bool = False, fresh: bool = False) -> Job[Any]:
        """The handle."""
        ...


@contextmanager
def told(what: str, id: str) -> Generator[None]:
    """Have an error inside say what it means for what is stored there; ``what``: a job, or a flow, with its id."""
    try:
        yield
    except (NoAnswer, ScriptFault) as error:
        raise _unknown(error, what, id, " before you send it anew") from None
    except ServerUnavailable as error:
        error.args = (f"{error.args[0]} Nothing was stored.",)
        raise


class Delivery:
    """Jobs that one call sends.

    Args:
        submissions: what is sent.
        settings: the application's.
        handle: makes a job's handle.
    """

    def __init__(self, submissions: Sequence[Submission], settings: Settings, handle: MakeHandle) -> None:
        self._submissions = submissions
        self._settings = settings
        self._handle = handle
        self._jobs: dict[int, Job[Any]] = {}

    def calls(self) -> Iterator[tuple[list[int], Call[Any]]]:
        """What to send, one after the other, each with the places of its jobs."""
        return chunks(self._settings.namespace, self._submissions, self._replaced)

    def jobs(self) -> list[Job[Any]]:
        """The handles, when all is sent."""
        return [self._jobs[place] for place in range(len(self._submissions))]

    def explained(self, error: EnqueueError | NoAnswer | ScriptFault, places: Sequence[int]) -> QuaffError:
        """What an error while these were sent means for them, and what was stored before.

        Args:
            places: none where it came before the first of them was sent.
        """
        if not places and isinstance(error, ScriptFault):
            return error
        if not places and isinstance(error, NoAnswer):
            error = ServerUnavailable(f"{error.args[0]}.")
        if isinstance(error, (NoAnswer, ScriptFault)):
            id = str(self._submissions[places[0]].id)
            error = _unknown(error, f"job {id}", id, ", or call again with key=")
        elif isinstance(error, ServerUnavailable):
            stored = f"{len(self._jobs)} of {len(self._submissions)} jobs were stored before."
            error.args = (f"{error.args[0]} {stored if self._jobs else 'Nothing was stored.'}",)
        error.jobs = self._stored()
        return error

    def note(self, places: Sequence[int], found: list[Any] | Assured) -> None:
        """The server's answers for these.

        Raises:
            IdConflict, DuplicateJob: for one of them; the others are noted.
            DurabilityNotConfirmed: for all of them, which are noted.
        """
        answers = found.answer if isinstance(found, Assured) else found
        conflict: EnqueueError | None = None
        for place, answer in zip(places, answers, strict=True):
            sent = self._submissions[place]
            if answer == b"x":
                conflict = IdConflict(
                    f"{sent.task}: the key {sent.key!r} was used with other arguments. Use another key, or wait until "
                    "KEY_WINDOW after that job ended."
                )
            elif isinstance(answer, bytes) and len(answer) > 1:
                other = sent.id._replace(raw=answer)
                self._jobs[place] = self._handle(other, existing=True)
                if sent.placement is not None and sent.placement.strict:
                    conflict = DuplicateJob(
                        f"{sent.task}: job {other} is there already, and only one may be (unique=).", str(other)
                    )
            else:
                # Without a key the id was drawn for this call, so what is there already is an earlier try of this call.
                existing = answer != 0 and sent.key is not None
                self._jobs[place] = self._handle(sent.id, sent.key, existing=existing, fresh=answer == 0)
        if conflict is not None:
            raise conflict
        if isinstance(found, Assured):
            id = self._jobs[places[0]].id
            found.check(f"job {id} is" if len(places) == 1 else f"job {id} and {len(places) - 1} more are", id)

    def _stored(self) -> list[object]:
        return [self._jobs[place] for place in sorted(self._jobs)]

    def _replaced(self) -> Replaced:
        record = outcome.cancelled("replaced by a newer job (unique=)")
        return Replaced(record, int(self._settings.result_ttl * 1000), int(self._settings.key_window * 1000))


def _unknown(error: NoAnswer | ScriptFault, what: str, id: str, then: str) -> EnqueueUnknown:
    return EnqueueUnknown(f"{error.args[0]}; {what} may be stored: look at its state{then}.", id)
