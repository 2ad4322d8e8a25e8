"""A process that waits has its claim at the server already: a token brings the job with it."""

from __future__ import annotations

from quaff.store.scripts import load
from tests.helpers import wait_until
from tests.proxy import Proxy
from tests.worker.support import Stage


def test_the_claim_goes_with_the_wait(stage: Stage, proxy: Proxy) -> None:
    """Of one queue with one partition: when the process has nothing to do, and beside a job that runs."""
    sent: list[bytes] = []
    line = Proxy(proxy.upstream, watch=sent.append)
    try:
        worker = stage.worker("-p", "1", "-c", "2", URL=line.url)
        path = stage.file()

        def waits() -> bool:
            """Since it was told to forget."""
            waits = [chunk for chunk in sent if b"BLPOP" in chunk]
            assert all(load("claim").sha in chunk for chunk in waits)
            return bool(waits)

        wait_until(waits)
        sent.clear()
        beside = stage.send("gate", "beside", str(path))
        wait_until(waits)
        stage.send("mark", "another one").result(timeout=5)
        path.touch()
        beside.result(timeout=5)
        assert worker.stop() == 0
    finally:
        line.close()


def test_a_job_whose_answer_is_lost_runs_once_and_soon(stage: Stage, proxy: Proxy) -> None:
    """F28: the server has handed it out, and the process has not heard of it."""
    worker = stage.worker("-p", "1", "-c", "2", URL=proxy.url)
    for number in range(8):
        proxy.on_reply("cut")
        assert stage.send("mark", f"job {number}").result(timeout=5) == f"job {number}"
    assert proxy.met == ["cut"] * 8
    assert sorted(run.tag for run in stage.runs()) == [f"job {number}" for number in range(8)]
    assert worker.stop() == 0
