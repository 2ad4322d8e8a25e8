"""Jobs beside the rows that they are about: sent after the commit of a session, or by way of a table.

``docs/sqlalchemy.md`` says which of the two is for what.
"""

from quaff.sqlalchemy.commits import enqueue_after_commit
from quaff.sqlalchemy.outbox import Outbox
from quaff.sqlalchemy.relay import Relay

__all__ = ["Outbox", "Relay", "enqueue_after_commit"]
