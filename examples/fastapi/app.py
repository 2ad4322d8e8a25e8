"""A shop on FastAPI: jobs are sent from coroutines, models of pydantic are their arguments.

quaff dev -A app:quaff --web "uvicorn app:app"
curl -X POST http://127.0.0.1:8000/orders -H 'Content-Type: application/json' -d '{"number": 7, "articles": ["tea"]}'
"""

from __future__ import annotations

import os
from decimal import Decimal
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from pydantic import BaseModel

from quaff import LimitReached, Quaff, QueueFull, RateLimit
from quaff.asgi import JobsApp, lifespan, try_later

quaff = Quaff()
jobs = JobsApp(quaff, os.environ.get("SECRET_KEY", "change me"))
app = FastAPI(lifespan=lifespan(quaff), exception_handlers={LimitReached: try_later, QueueFull: try_later})
app.mount("/jobs", jobs)


class Order(BaseModel):
    number: int
    articles: list[str]


class Invoice(BaseModel):
    order: Order
    total: Decimal


@quaff.task
async def invoice(order: Order) -> Invoice:
    return Invoice(order=order, total=Decimal("9.90") * len(order.articles))


def the_quaff() -> Quaff:
    """A test may put another one in its place: ``app.dependency_overrides[the_quaff] = ...``."""
    return quaff


Jobs = Annotated[Quaff, Depends(the_quaff)]


@app.post("/orders", status_code=202)
async def place(order: Order) -> Any:
    return jobs.ticket(await invoice.adelay(order))


@app.get("/invoices/{id}")
async def show(id: str, quaff: Jobs) -> Invoice:
    result: Invoice = await quaff.job(id).aresult(timeout=10)
    return result


@app.get("/rates")
async def rates(quaff: Jobs) -> dict[str, str]:
    with quaff.limit("rates", RateLimit(1, per=60)):
        return {"eur": "1.00"}
