"""Quaff in a Django project, which is the one of examples/django: settings, transactions, connections, django.tasks."""

from __future__ import annotations

import asyncio
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from quaff import ConfigurationError, JobState, chain
from tests.helpers import Program, in_loop, python, wait_until
from tests.matrix import WORKER, known_as, owners

EXAMPLE = Path(__file__).parents[2] / "examples" / "django"


class Project:
    """The project in this process, with its database."""

    def __init__(self) -> None:
        from shop import models, tasks  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports]

        from quaff.django import quaff

        self.quaff, self.tasks, self.Order = quaff, tasks, models.Order

    def queued(self) -> int:
        """Jobs on the server."""
        return self.quaff.queue("default").stats().queued


@pytest.fixture(scope="module")
def environment(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What makes the programs of this file belong together."""
    return {
        "DJANGO_SETTINGS_MODULE": "project.settings",
        "DATABASE": str(tmp_path_factory.mktemp("django") / "shop.db"),
        "QUAFF_URL": server_url,
        "QUAFF_NAMESPACE": f"n{uuid4().hex[:12]}",
    }


@pytest.fixture(scope="module")
def loaded(environment: dict[str, str]) -> Iterator[Project]:
    """Django, which is there once in a process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLE)
        for name, value in environment.items():
            patch.setenv(name, value)
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", "--run-syncdb", verbosity=0)
        yield Project()


@pytest.fixture
def project(loaded: Project, namespace: str) -> Project:
    """Nothing is in its queues and tables."""
    loaded.quaff.override(namespace=namespace)
    loaded.Order.objects.all().delete()
    return loaded


def test_a_job_of_a_transaction_is_sent_with_its_commit(project: Project) -> None:
    """Its handle is there at once; flows and django.tasks are no other."""
    from django.db import transaction

    ship = project.tasks.ship
    with transaction.atomic():
        job = ship.delay(1)
        chain(ship.s(2), ship.s()).delay()
        project.tasks.receipt.enqueue(3)
        with transaction.atomic():
            ship.map([(4,)])
        assert project.queued() == 0
    assert job.state == JobState.QUEUED
    assert project.queued() == 4
    ship.delay(5)
    assert project.queued() == 5


def test_nothing_is_sent_for_a_rollback(project: Project) -> None:
    """To a savepoint, too."""
    from django.db import transaction

    with transaction.atomic():
        project.tasks.ship.delay(1)
        with transaction.atomic():
            project.tasks.ship.delay(2)
            transaction.set_rollback(True)
    with transaction.atomic():
        project.tasks.ship.delay(3)
        transaction.set_rollback(True)
    assert project.queued() == 1


def test_who_wants_to_sends_at_once(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.conf import settings
    from django.db import transaction

    monkeypatch.setitem(settings.QUAFF, "ON_COMMIT", False)
    with transaction.atomic():
        assert project.tasks.ship.delay(1).state == JobState.QUEUED


def test_a_test_case_sees_the_jobs_that_its_transaction_would_send(project: Project) -> None:
    """``captureOnCommitCallbacks(execute=True)`` sends them though nothing is ever committed."""
    from django.test import TestCase

    class Case(TestCase):
        def runTest(self) -> None:  # noqa: N802
            with self.captureOnCommitCallbacks(execute=True):
                job = project.tasks.ship.delay(1)
            self.assertEqual(job.state, "queued")  # noqa: PT009

    result = Case().run()
    assert result is not None
    assert (result.errors, result.failures) == ([], [])


def test_settings_come_from_settings_py_in_either_form(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said twice is refused; the environment goes before."""
    from django.conf import settings

    assert project.quaff.settings.result_ttl == 600
    monkeypatch.setattr(settings, "QUAFF_LEASE", 20, raising=False)
    project.quaff.override()
    assert project.quaff.settings.lease == 20
    monkeypatch.setattr(settings, "QUAFF_RESULT_TTL", 5, raising=False)
    project.quaff.override()
    with pytest.raises(ConfigurationError, match="both QUAFF_RESULT_TTL and QUAFF\\['RESULT_TTL'\\]"):
        assert project.quaff.settings


def test_an_attempt_leaves_no_connection_open(project: Project) -> None:
    """Neither in its thread nor in that of a coroutine's synchronous calls."""
    from asgiref.sync import sync_to_async
    from django.db import connection

    with project.quaff.attempt_scope():
        assert project.Order.objects.count() == 0
        assert connection.connection is not None
    assert connection.connection is None

    async def main() -> None:
        opened: list[Any] = []
        async with project.quaff.async_attempt_scope():
            assert await project.Order.objects.acount() == 0
            await sync_to_async(lambda: opened.append(connection.connection))()
        with pytest.raises(Exception, match="closed"):
            opened[0].execute("SELECT 1")

    asyncio.run(main())


class TestTasksOfDjango:
    """``django.tasks``, or before Django 6 the package django-tasks, which is the same."""

    @pytest.fixture(autouse=True)
    def worker(self, project: Project, environment: dict[str, str], start_worker: Callable[..., Program]) -> Program:
        own = {**environment, "QUAFF_NAMESPACE": project.quaff.settings.namespace}
        return start_worker("quaff.django:application", "-p", "1", cwd=EXAMPLE, env=own)

    def ended(self, result: Any) -> Any:
        """It, when it has."""

        def look() -> bool:
            result.refresh()
            return bool(result.is_finished)

        wait_until(look)
        return result

    def test_a_result_tells_how_a_call_went(self, project: Project) -> None:
        project.Order.objects.create(number=7)
        sent = project.tasks.receipt.enqueue(7, copies=2)
        assert (sent.status, sent.args, sent.kwargs, sent.attempts) == ("READY", [7], {"copies": 2}, 0)
        result = self.ended(sent)
        assert (result.status, result.return_value, result.attempts) == ("SUCCESSFUL", "2 x receipt of 7", 1)
        assert result.enqueued_at <= result.started_at <= result.finished_at
        assert project.tasks.receipt.get_result(sent.id).return_value == "2 x receipt of 7"

    def test_a_coroutine_is_told_its_context(self, project: Project) -> None:
        """And sent from one."""
        project.Order.objects.create(number=7)
        result = in_loop(project.quaff, lambda: project.tasks.reminder.aenqueue(7))
        assert self.ended(result).return_value == [7, 1]

    def test_what_fails_has_its_error(self, project: Project) -> None:
        """OPTIONS of the backend are those of its tasks: it was tried again."""
        result = project.tasks.broken.enqueue()
        wait_until(lambda: project.quaff.job(result.id).info().attempts[:1])
        wait_until(lambda: project.quaff.job(result.id).info().attempts[0].error)
        result.refresh()
        assert result.status in ("READY", "RUNNING")
        assert result.errors[0].exception_class is ValueError
        assert "as it should" in result.errors[0].traceback

    def test_it_can_wait_until_later_and_be_in_another_queue(self, project: Project) -> None:
        from django.utils import timezone

        later = project.tasks.receipt.using(run_after=timezone.now() + timedelta(hours=1), queue_name="slow")
        result = later.enqueue(1)
        assert project.quaff.job(result.id).state == JobState.SCHEDULED
        assert project.quaff.job(result.id).queue == "slow"
        assert later.get_result(result.id).status == "READY"

    def test_a_result_of_another_task_or_of_none_is_refused(self, project: Project) -> None:
        from quaff.django.backend import of_django

        result = project.tasks.broken.enqueue()
        for wrong, name in ((result.id, "TaskResultMismatch"), ("default-0-" + "0" * 32, "TaskResultDoesNotExist")):
            with pytest.raises(of_django("exceptions", name)):
                project.tasks.receipt.get_result(wrong)


def ask(url: str, method: str) -> tuple[int, Any]:
    """Status and body."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, None


def test_the_example_ships_what_was_committed(
    environment: dict[str, str], running: Callable[[Program], Program], loaded: Project, namespace: str
) -> None:
    """``manage.py quaff worker`` and a web server of its own, each a process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    manage = str(EXAMPLE / "manage.py")
    own = {**environment, "QUAFF_NAMESPACE": namespace}
    worker_env = own | {"QUAFF_URL": known_as(WORKER, own["QUAFF_URL"])}
    worker = running(python(manage, "quaff", "worker", "-p", "1", cwd="/", env=worker_env))
    web = running(python(manage, "runserver", "--noreload", port, env=own))
    worker.wait_for("ready")
    home = f"http://127.0.0.1:{port}"

    def up() -> bool:
        assert web.process.poll() is None, web.output
        try:
            return ask(f"{home}/", "GET")[0] == 404
        except OSError:
            return False

    wait_until(up, 30)
    loaded.Order.objects.all().delete()
    assert ask(f"{home}/orders/8?fail", "POST")[0] == 500
    status, told = ask(f"{home}/orders/7", "POST")
    assert status == 202
    wait_until(lambda: ask(f"{home}/receipts/{told['receipt']}", "GET")[1]["status"] == "SUCCESSFUL")
    assert ask(f"{home}/receipts/{told['receipt']}", "GET")[1]["value"] == "2 x receipt of 7"
    wait_until(lambda: list(loaded.Order.objects.values_list("number", "shipped")) == [(7, 1)])
    assert worker.stop() == 0


def test_manage_py_has_all_commands(environment: dict[str, str], running: Callable[[Program], Program]) -> None:
    """For this project where none is named; a wrong one is a usage error."""
    manage = str(EXAMPLE / "manage.py")
    helped = running(python(manage, "quaff", "--", "--help", env=environment))
    assert helped.wait() == 0
    assert "worker" in helped.output
    assert running(python(manage, "quaff", "wroker", env=environment)).wait() == 2
    own = environment | {"QUAFF_URL": owners(environment["QUAFF_URL"])}  # who may ask which queues there are
    audited = running(python(manage, "quaff", "audit", env=own))
    assert audited.wait() == 0, audited.output
