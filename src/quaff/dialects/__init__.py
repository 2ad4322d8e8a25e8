"""Decorators with the words of Celery, RQ, Dramatiq and Huey, so that code moves a function at a time.

    from quaff.dialects import celery_task

    @celery_task(quaff, autoretry_for=(ConnectionError,), max_retries=5, time_limit=60)
    def charge(order): ...

    charge.apply_async((7,), countdown=60)

An option is taken if there is one here that does the same, and refused with what to do otherwise; none is passed over.
What is not said is as it was there: how long an attempt may run, how often it is tried again, how long a result is
kept. What comes of a call is a ``Job``, and ``charge.task`` is the task as it is here. Nothing of theirs is imported.
"""

from quaff.dialects.celery import CeleryTask, celery_task
from quaff.dialects.dramatiq import DramatiqActor, dramatiq_actor
from quaff.dialects.huey import HueyTask, huey_task
from quaff.dialects.rq import RQJob, RQQueue, rq_job

__all__ = [
    "CeleryTask",
    "DramatiqActor",
    "HueyTask",
    "RQJob",
    "RQQueue",
    "celery_task",
    "dramatiq_actor",
    "huey_task",
    "rq_job",
]
