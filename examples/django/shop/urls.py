"""What the shop answers."""

from typing import Any

from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from .models import Order
from .tasks import receipt, ship


@csrf_exempt
def place(request: HttpRequest, number: int) -> JsonResponse:
    """The jobs are sent when the order is there, and not at all if something goes wrong before."""
    with transaction.atomic():
        order = Order.objects.create(number=number)
        job = ship.delay(order.number)
        result = receipt.enqueue(order.number, copies=2)
        if "fail" in request.GET:
            raise RuntimeError("after the jobs, before the commit")
    return JsonResponse({"job": job.id, "receipt": result.id}, status=202)


def show(request: HttpRequest, result_id: str) -> JsonResponse:
    result: Any = receipt.get_result(result_id)
    value = result.return_value if result.status == "SUCCESSFUL" else None
    return JsonResponse({"status": result.status, "value": value})


urlpatterns = [path("orders/<int:number>", place), path("receipts/<str:result_id>", show)]
