"""How many stories a state machine is told, and how long they are."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

FULL = bool(os.environ.get("FULL"))
#: Seconds: thousands of calls, other tests beside them, and the five minutes in which a story that fails is made short.
TIMEOUT = 3600 if FULL else 600


def explore(machine: type[RuleBasedStateMachine], *, stories: int, steps: int) -> None:
    """So many stories of so many steps; with FULL=1 there are 1,500."""
    plan = settings(
        max_examples=1500 if FULL else stories,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=plan)  # type: ignore[no-untyped-call]
