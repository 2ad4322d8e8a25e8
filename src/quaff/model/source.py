"""Where schedules are kept: their definitions, and the messages of their jobs, are signed and encrypted like others."""

from __future__ import annotations

from typing import NamedTuple

from quaff.model import message, sealing
from quaff.model.codec import UNREADABLE
from quaff.model.ids import JobId
from quaff.model.message import NewerMessage, Where
from quaff.model.schedule import Schedule, Sealed, decode
from quaff.model.sealing import BARE, BadSeal, Seals

#: Before a definition that is sealed, and before no other: that is a map.
_SEALED = b"\x06"


class Source(NamedTuple):
    """The schedules of a namespace."""

    namespace: str
    seals: Seals = BARE

    def seal(self, queue: str, name: str, definition: bytes) -> bytes:
        """A definition as the server gets it; the same one comes out the same again."""
        if not self.seals.writes:
            return definition
        return _SEALED + self.seals.seal(sealing.SCHEDULE, self._bound(queue, name), _SEALED, definition)

    def read(self, queue: str, name: str, data: bytes) -> Schedule:
        """The schedule of that name. Raises ValueError for what nobody of us wrote."""
        try:
            if data[:1] == _SEALED:
                data = self.seals.open(sealing.SCHEDULE, self._bound(queue, name), _SEALED, data[1:])
            elif self.seals.required:
                raise BadSeal(sealing.UNSIGNED)
            made = decode(data)
            message.decode(made.message)  # bound by the definition that it stands in
        except (*UNREADABLE, NewerMessage) as error:
            raise ValueError(f"what is kept of schedule {name!r} cannot be read: {error}") from None
        return made

    def jobs(self, made: Schedule) -> Sealed:
        """What seals the messages of its jobs."""

        def sealed(id: bytes, data: bytes, late: bool) -> bytes:
            where = Where(self.namespace, JobId(made.queue, 0, id))
            return message.seal(data, self.seals, where, late=late) if self.seals.writes else data

        return sealed

    def _bound(self, queue: str, name: str) -> bytes:
        return sealing.place_of(self.namespace, queue, 0) + b"\0" + name.encode()
