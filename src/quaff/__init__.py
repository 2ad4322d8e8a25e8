"""Quaff: a job queue for Python on Redis and Valkey.

    from quaff import Quaff
    quaff = Quaff("redis://localhost")

The house, from the ground up; imports only point down::

    errors                             the exception tree
    model/                             pure values: message, options, outcome, ids, codec
    store/                             the engine: Lua scripts, calls, senders, the embedded server
    config  context  results           settings; current_job; where large results go
    job / queues / flow                the handles
    task / workflows / app             the function, jobs that wait for each other, the application's object
    inspector                          reads and operates queues; workers do without it
    worker/                            one supervisor, N processes
    cli/                               the commands
    http/                              jobs over HTTP, whatever the framework
    flask / quart / asgi / snippet     the frameworks, and the names of the 2011 snippet

Nothing below is imported before it is used: ``import quaff`` stays cheap for every ``flask`` command of an application.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quaff.app import Quaff as Quaff
    from quaff.context import current_job as current_job
    from quaff.errors import ConfigurationError as ConfigurationError
    from quaff.errors import DuplicateJob as DuplicateJob
    from quaff.errors import DurabilityNotConfirmed as DurabilityNotConfirmed
    from quaff.errors import EncodeError as EncodeError
    from quaff.errors import EnqueueError as EnqueueError
    from quaff.errors import EnqueueUnknown as EnqueueUnknown
    from quaff.errors import IdConflict as IdConflict
    from quaff.errors import JobCancelled as JobCancelled
    from quaff.errors import JobEnded as JobEnded
    from quaff.errors import JobError as JobError
    from quaff.errors import JobExpired as JobExpired
    from quaff.errors import JobFailed as JobFailed
    from quaff.errors import JobNotFound as JobNotFound
    from quaff.errors import LimitReached as LimitReached
    from quaff.errors import MessageTooLarge as MessageTooLarge
    from quaff.errors import NoCurrentJob as NoCurrentJob
    from quaff.errors import NotAllowed as NotAllowed
    from quaff.errors import QuaffError as QuaffError
    from quaff.errors import QueueFull as QueueFull
    from quaff.errors import ResultCorrupt as ResultCorrupt
    from quaff.errors import ResultDropped as ResultDropped
    from quaff.errors import ResultExpired as ResultExpired
    from quaff.errors import ResultTimeout as ResultTimeout
    from quaff.errors import ScriptFault as ScriptFault
    from quaff.errors import ServerUnavailable as ServerUnavailable
    from quaff.errors import SignalTimeout as SignalTimeout
    from quaff.errors import StepError as StepError
    from quaff.errors import StoreError as StoreError
    from quaff.errors import StreamGap as StreamGap
    from quaff.errors import StreamRestarted as StreamRestarted
    from quaff.errors import TooManyQueues as TooManyQueues
    from quaff.errors import TooManySignals as TooManySignals
    from quaff.errors import UnknownTask as UnknownTask
    from quaff.flow import Flow as Flow
    from quaff.flow import FlowNode as FlowNode
    from quaff.info import JobInfo as JobInfo
    from quaff.info import StepInfo as StepInfo
    from quaff.inspector import DeadLetter as DeadLetter
    from quaff.inspector import Inspector as Inspector
    from quaff.job import Job as Job
    from quaff.model.batch import Batch as Batch
    from quaff.model.events import Event as Event
    from quaff.model.events import LogLine as LogLine
    from quaff.model.limits import Concurrency as Concurrency
    from quaff.model.limits import FairBy as FairBy
    from quaff.model.limits import RateLimit as RateLimit
    from quaff.model.limits import Unique as Unique
    from quaff.model.progress import Progress as Progress
    from quaff.model.retry import exponential as exponential
    from quaff.model.retry import fixed as fixed
    from quaff.model.retry import linear as linear
    from quaff.model.states import JobState as JobState
    from quaff.model.steering import Cancel as Cancel
    from quaff.model.steering import Retry as Retry
    from quaff.model.steering import Snooze as Snooze
    from quaff.model.steering import SoftTimeout as SoftTimeout
    from quaff.queues import Change as Change
    from quaff.queues import Queue as Queue
    from quaff.queues import QueueStats as QueueStats
    from quaff.results import FileResults as FileResults
    from quaff.results import ResultStore as ResultStore
    from quaff.streaming import Stream as Stream
    from quaff.task import Task as Task
    from quaff.workflows import Workflow as Workflow
    from quaff.workflows import chain as chain
    from quaff.workflows import chord as chord
    from quaff.workflows import group as group
    from quaff.workflows import starmap as starmap
    from quaff.workflows import workflow as workflow

_HOME = {
    "Batch": "model.batch",
    "Cancel": "model.steering",
    "Change": "queues",
    "Concurrency": "model.limits",
    "ConfigurationError": "errors",
    "DeadLetter": "inspector",
    "DuplicateJob": "errors",
    "DurabilityNotConfirmed": "errors",
    "EncodeError": "errors",
    "EnqueueError": "errors",
    "EnqueueUnknown": "errors",
    "Event": "model.events",
    "FairBy": "model.limits",
    "FileResults": "results",
    "Flow": "flow",
    "FlowNode": "flow",
    "IdConflict": "errors",
    "Inspector": "inspector",
    "Job": "job",
    "JobCancelled": "errors",
    "JobEnded": "errors",
    "JobError": "errors",
    "JobExpired": "errors",
    "JobFailed": "errors",
    "JobInfo": "info",
    "JobNotFound": "errors",
    "JobState": "model.states",
    "LimitReached": "errors",
    "LogLine": "model.events",
    "MessageTooLarge": "errors",
    "NoCurrentJob": "errors",
    "Progress": "model.progress",
    "Quaff": "app",
    "QuaffError": "errors",
    "QueueFull": "errors",
    "Queue": "queues",
    "QueueStats": "queues",
    "RateLimit": "model.limits",
    "ResultCorrupt": "errors",
    "ResultDropped": "errors",
    "ResultExpired": "errors",
    "ResultStore": "results",
    "ResultTimeout": "errors",
    "ScriptFault": "errors",
    "ServerUnavailable": "errors",
    "SignalTimeout": "errors",
    "StepError": "errors",
    "StepInfo": "info",
    "NotAllowed": "errors",
    "StoreError": "errors",
    "Retry": "model.steering",
    "Snooze": "model.steering",
    "SoftTimeout": "model.steering",
    "Stream": "streaming",
    "StreamGap": "errors",
    "StreamRestarted": "errors",
    "Task": "task",
    "Unique": "model.limits",
    "TooManyQueues": "errors",
    "TooManySignals": "errors",
    "UnknownTask": "errors",
    "Workflow": "workflows",
    "chain": "workflows",
    "chord": "workflows",
    "current_job": "context",
    "exponential": "model.retry",
    "fixed": "model.retry",
    "group": "workflows",
    "linear": "model.retry",
    "starmap": "workflows",
    "workflow": "workflows",
}

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("quaff")
    if name not in _HOME:
        raise AttributeError(f"module 'quaff' has no attribute {name!r}")
    value = getattr(import_module(f"quaff.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
