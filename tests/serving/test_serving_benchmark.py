"""The load of the serving benchmark: what counts as an answer, and when."""

import asyncio

import numpy as np
import pytest
from aiohttp import web

from benchmarks import serving
from benchmarks.serving import Load, Server, load

BODIES = [b"good", b"good", b"bad"]


async def loaded(concurrency: int) -> tuple[Load, int]:
    """What a load of so many at a time finds, and how many there were at most."""
    ongoing: list[int] = []
    now = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal now
        now += 1
        ongoing.append(now)
        body = await request.read()
        await asyncio.sleep(0.01)
        now -= 1
        return web.Response(status=200 if body == b"good" else 503)

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        found = await load(Server("", [], "", f"http://127.0.0.1:{port}/", BODIES, {}), concurrency, 2.0)
        return found, max(ongoing)
    finally:
        await runner.cleanup()


def test_answers_are_timed_and_what_is_none_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "WARM_SECONDS", 0.1)

    for concurrency in (1, 4):
        found, most = asyncio.run(loaded(concurrency))
        assert most == concurrency
        assert found.latencies.min() >= 0.01
        assert found.errors / (len(found.latencies) + found.errors) == pytest.approx(1 / 3, abs=0.1)


def test_a_table_row_has_percentiles_in_milliseconds() -> None:
    assert Load(np.arange(101) / 1e3, 2, 10.0).cells() == ["10.1", "50", "95", "99", "2"]
    assert Load(np.array([]), 5, 10.0).cells()[0] == "0.0"
