"""What other queues call it: for whoever comes from one, and writes its words."""

from __future__ import annotations

from collections.abc import Mapping

#: Options of a task or of a call, each with what to write here.
OPTIONS: Mapping[str, str] = {
    "acks_late": "nothing: a job is always acknowledged with its outcome",
    "autoretry_for": "retry_on=",
    "bind": "current_job, and no first parameter",
    "countdown": "delay=",
    "ignore_result": "result_ttl=0",
    "job_timeout": "timeout=",
    "max_retries": "retries=",
    "queue_name": "queue=",
    "rate_limit": "rate=RateLimit(10, per=1)",
    "soft_time_limit": "soft_timeout=",
    "task_id": "key=",
    "time_limit": "timeout=",
}
#: Methods of a task.
OF_TASKS: Mapping[str, str] = {
    "apply": "a plain call",
    "apply_async": ".options(delay=…).delay(…)",
    "enqueue": ".delay(…)",
    "send": ".delay(…)",
    "send_with_options": ".options(delay=…).delay(…)",
}
#: Methods and attributes of a job.
OF_JOBS: Mapping[str, str] = {
    "forget": ".take()",
    "get": ".result(timeout=…)",
    "get_result": ".result(timeout=…)",
    "ready": ".state.terminal",
    "return_value": ".result(timeout=…)",
    "revoke": ".cancel()",
    "status": ".state",
    "successful": '.state == "succeeded"',
    "wait": ".result(timeout=…)",
}


def missing(thing: object, name: str, words: Mapping[str, str]) -> AttributeError:
    """What to raise for an attribute that is not there, with the word for it here if another queue has it."""
    hint = f"; here it is {words[name]}" if name in words else ""
    return AttributeError(f"{type(thing).__name__!r} object has no attribute {name!r}{hint}", name=name, obj=thing)
