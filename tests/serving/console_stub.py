"""An endpoint with the console's real files and doors, and made-up answers: no model, no Ray, hostile names."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request

from ray_app.cluster import free_port
from serving.console import router
from serving.gate import Gate
from tests.clusters import STARTING_SECONDS, wait_until

HOSTILE = "<img src=x onerror=alert(1)>"
SCRIPT = '"><script>alert(2)</script>'
MODEL = {"name": "demand", "version": 2, "prompt_format": "profile"}
ITEMS = {"milk": "Milk", "bread": "Bread", HOSTILE: HOSTILE, SCRIPT: "{{7*7}} javascript:alert(3)"}
NOW = "2026-11-27T00:00:00Z"
CUSTOMERS = [HOSTILE, *(f"c{number:02}" for number in range(20))]


def record(customer_id: str) -> dict[str, Any]:
    """Orders of milk each week of 2024 up to July, and one of everything on 2024-06-03."""

    def order(ts: str, *items: str) -> dict[str, Any]:
        return {"ts": ts, "items": [{"item_id": item, "quantity": 2, "amount": 3.0} for item in items]}

    weekly = [order(f"2024-{month:02}-{day:02}T08:00:00Z", "milk") for month in range(1, 8) for day in (1, 8, 15, 22)]
    return {
        "customer_id": customer_id,
        "purchase_history": [*weekly, order("2024-06-03", *ITEMS)],
        "browsing_history": [{"ts": "2024-05-20T10:00:00", "action": "search", "item_id": None, "text": HOSTILE}],
        "reviews": [{"ts": "2024-05-21T10:00:00Z", "item_id": HOSTILE, "rating": 4, "text": SCRIPT}],
        "demographic_info": {HOSTILE: SCRIPT},
    }


def demands(explain: bool) -> list[dict[str, Any]]:
    found = [
        {"item_id": item, "name": name, "probability": 0.9 / place, "expected_quantity": 1.5, "expected_amount": 2.5}
        for place, (item, name) in enumerate(ITEMS.items(), start=1)
    ]
    if explain:
        order = {"kind": "order", "ts": "2024-05-22T08:00:00Z", "item_id": HOSTILE, "weight": 0.4}
        profile = {"kind": "profile", "ts": None, "item_id": None, "weight": -0.012}
        numbers = {"times": 3, "days_since_last": 10, "usual_gap_days": 7, "days_since_look": None, "rating": None}
        for each in found:
            each["reasons"] = {"sentence": f"bought 3 times, {HOSTILE}", "events": [order, profile], **numbers}
    return found


def answered(body: dict[str, Any]) -> dict[str, Any]:
    """What every answer of a model repeats."""
    return {"model": MODEL, "as_of": body["as_of"] or NOW, "horizon_days": body["horizon_days"]}


class Stub:
    """What was asked, and how the endpoint behaves.

    Attributes:
        key: that is wanted, if any.
        log: whether there is a log of events.
        asked: path, body and key of each question under /v1.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.reset()

    def reset(self) -> None:
        self.key, self.log = "", True
        self.asked: list[tuple[str, Any, str]] = []

    def bodies(self, path: str) -> list[Any]:
        return [body for asked, body, _ in self.asked if asked == path]


@contextmanager
def running_stub() -> Iterator[Stub]:
    port = free_port()
    stub = Stub(f"http://127.0.0.1:{port}")
    app = FastAPI()
    app.add_middleware(Gate)
    app.include_router(router)

    async def noted(request: Request) -> Any:
        key = request.headers.get("authorization", "")
        body = await request.json() if request.method == "POST" else None
        stub.asked.append((request.url.path, body, key))
        if stub.key and key != f"Bearer {stub.key}":
            raise HTTPException(401, "this needs a key")
        if request.url.path in ("/v1/customers", "/v1/customers/record") and not stub.log:
            raise HTTPException(404, "no log")
        return body

    @app.post("/v1/customers")
    async def customers(request: Request) -> Any:
        body = await noted(request)
        return {"customers": [each for each in CUSTOMERS if each > body["after"]][: body["limit"]]}

    @app.post("/v1/customers/record")
    async def customer(request: Request) -> Any:
        body = await noted(request)
        if body["customer_id"] not in CUSTOMERS:
            raise HTTPException(404, "no such customer")
        return record(body["customer_id"])

    @app.get("/v1/items")
    async def items(request: Request) -> Any:
        await noted(request)
        return {
            "items": [
                {"item_id": item, "name": name, "category": SCRIPT, "department": None} for item, name in ITEMS.items()
            ]
        }

    @app.post("/v1/predict")
    async def predict(request: Request) -> Any:
        body = await noted(request)
        return {**answered(body), "demands": demands(body.get("explain", False)), "unknown_items": [HOSTILE]}

    @app.post("/v1/customers/risk")
    async def risk(request: Request) -> Any:
        body = await noted(request)
        missing = [{"item_id": HOSTILE, "name": HOSTILE}]
        changed = {"days_since_order": 10.0, "usual_gap_days": 7.0, "late": True, "amount": 30.0, "amount_before": 20.0}
        answer = {
            "model": MODEL,
            "as_of": body["as_of"] or NOW,
            "horizon_days": body["horizon_days"],
            "missing": missing,
        }
        return {**answer, "probability": 0.9, "expected_amount": 12.5, **changed}

    @app.post("/v1/forecast")
    async def forecast(request: Request) -> Any:
        body = await noted(request)
        ends = {0.5: (150, 170), 0.8: (120, 200), 0.95: (100, 220)}
        intervals = [{"level": level, "low": low, "high": high} for level, (low, high) in ends.items()]
        weeks = [{"week": week} for week in range(1, body["horizon_days"] // 7 + 1)] if body["weeks"] else [{}]
        groups = [
            {"group": item, **week, "expected_quantity": 160.0, "expected_amount": 320.0, "intervals": intervals}
            for item in ITEMS
            for week in weeks
        ]
        return {**answered(body), "groups": groups}

    @app.post("/v1/audience")
    async def audience(request: Request) -> Any:
        body = await noted(request)
        members = [{"customer_id": "", "place": place, "probability": 0.5 - place / 100} for place in range(10)]
        return {
            "model": MODEL,
            "as_of": body["as_of"] or NOW,
            "members": members,
            "expected_response": 4.5,
            "reached": 0.6,
        }

    @app.get("/v1/models")
    async def models(request: Request) -> Any:
        await noted(request)
        settings = {"data": "0123456789", "data.source": HOSTILE, "prompt_format": "profile"}
        version = {"created": "2026-11-27T00:00:00Z", "run": "train-1", "settings": settings}
        trials = [
            {
                "name": f"t{number}",
                "settings": {"training.learning_rate": str(0.001 * (number + 1)), "prompt.name": written},
                "metrics": {"ndcg@10": 0.30 + number / 100},
            }
            for number, written in enumerate(["compact", "profile", HOSTILE])
        ]
        sweep = {"name": "sweep-1", "recorded": "2026-11-26T00:00:00Z", "settings": {}, "trials": trials}
        return {
            "models": [
                {**version, "name": "demand", "version": number, "aliases": aliases, "metrics": {"ndcg@10": score}}
                for number, aliases, score in ((2, ["champion"], 0.32), (1, ["challenger", "previous"], 0.31))
            ],
            "sweeps": [{**sweep, "metrics": {"ndcg@10": 0.32}}],
        }

    @app.get("/v1/status")
    async def status(request: Request) -> Any:
        await noted(request)
        counts = {"answers": 10, "failures": 0, "seconds": 0.2, "shown": 8, "bought": 2}
        return {
            "status": "RUNNING",
            "models": [{**MODEL, "share": 0.9, **counts}, {**MODEL, "version": 3, "share": 0.1, **counts}],
            "replicas": {"RUNNING": 2, "STARTING": 1},
            "ongoing": 3,
        }

    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    assert wait_until(lambda: server.started or not thread.is_alive(), STARTING_SECONDS)
    assert server.started
    try:
        yield stub
    finally:
        server.should_exit = True
        thread.join()
