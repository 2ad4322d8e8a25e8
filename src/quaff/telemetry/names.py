"""Names of spans, attributes and metrics, as OpenTelemetry's conventions for messaging have them.

These are still in development there, hence all of them here, with the ``SCHEMA``. Never an argument of a task.
"""

from __future__ import annotations

SCHEMA = "https://opentelemetry.io/schemas/1.36.0"

#: Spans are called ``<operation> <queue>``.
SEND, PROCESS = "send", "process"

SYSTEM = "messaging.system"
OPERATION = "messaging.operation.name"
OPERATION_TYPE = "messaging.operation.type"
DESTINATION = "messaging.destination.name"
MESSAGE_ID = "messaging.message.id"
CONVERSATION = "messaging.message.conversation_id"
BATCH = "messaging.batch.message_count"
SIZE = "messaging.message.body.size"
CLIENT = "messaging.client.id"
ERROR_TYPE = "error.type"
TASK = "quaff.task.name"
ATTEMPT = "quaff.task.attempt"
OUTCOME = "quaff.task.outcome"
WAITED = "quaff.task.wait_time"

#: Of the event ``exception`` of an attempt that failed.
EXCEPTION_TYPE, EXCEPTION_MESSAGE, EXCEPTION_TRACE = "exception.type", "exception.message", "exception.stacktrace"

ATTRIBUTES = (
    *(SYSTEM, OPERATION, OPERATION_TYPE, DESTINATION, MESSAGE_ID, CONVERSATION, BATCH, SIZE, CLIENT, ERROR_TYPE),
    *(TASK, ATTEMPT, OUTCOME, WAITED),
)

SENT = "messaging.client.sent.messages"
CONSUMED = "messaging.client.consumed.messages"
DURATION = "messaging.process.duration"

METRICS = (SENT, CONSUMED, DURATION)

# What Sentry has besides.
LATENCY = "messaging.message.receive.latency"
RETRIES = "messaging.message.retry.count"
