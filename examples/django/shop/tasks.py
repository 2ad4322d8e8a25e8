"""Jobs: a task of Quaff's own, and tasks of Django's."""

from typing import Any

from quaff.django import quaff

from .models import Order

try:
    from django.tasks import task
except ImportError:  # before Django 6
    from django_tasks import task


@quaff.task(retries=5)
def ship(number: int) -> int:
    order = Order.objects.get(number=number)
    order.shipped += 1
    order.save()
    return number


@task
def receipt(number: int, *, copies: int = 1) -> str:
    return f"{copies} x receipt of {Order.objects.get(number=number).number}"


@task(priority=5, takes_context=True)
async def reminder(context: Any, number: int) -> list[int]:
    return [(await Order.objects.aget(number=number)).number, context.attempt]


@task
def broken() -> None:
    raise ValueError("as it should")
