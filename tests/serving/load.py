"""Clients who ask without end, while a test does something to the endpoint."""

import asyncio
import itertools
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event

import httpx

from serving.client import SECONDS
from tests.clusters import wait_until
from tests.serving.conftest import order, request

CLIENTS = 16
SOON_SECONDS = 180


@dataclass
class Load:
    """Clients who ask without end, in a thread, and what they were told. No two requests are the same.

    A request that has no answer at all, for its connection broke, is an error where the block ends.
    """

    client: httpx.Client
    clients: int = CLIENTS
    answers: list[tuple[int, str]] = field(default_factory=list)

    def __enter__(self) -> "Load":
        self._ended, self._thread = Event(), ThreadPoolExecutor(1)
        self._asking: Future[None] = self._thread.submit(asyncio.run, self._ask())
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.shutdown()
        self._asking.result()

    def more(self, count: int) -> None:
        """Waits until so many more are answered."""
        wanted = len(self.answers) + count
        assert wait_until(lambda: self._asking.done() or len(self.answers) >= wanted, SOON_SECONDS)
        assert not self._asking.done(), self._asking.exception()

    async def _ask(self) -> None:
        async with httpx.AsyncClient(
            base_url=self.client.base_url, headers=self.client.headers, timeout=SECONDS
        ) as session:
            customers = itertools.count()

            async def one() -> None:
                while not self._ended.is_set():
                    answer = await session.post(
                        "/v1/predict", json=request({**order(), "customer_id": str(next(customers))})
                    )
                    self.answers.append((answer.status_code, answer.text))

            await asyncio.gather(*(one() for _ in range(self.clients)))
