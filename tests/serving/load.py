"""Clients who ask without end, while a test does something to the endpoint."""

import asyncio
import itertools
from dataclasses import dataclass, field
from threading import Event, Thread

import httpx

from tests.serving.conftest import order, request

CLIENTS = 16
SOON_SECONDS = 30


@dataclass
class Load:
    """Clients who ask without end, in a thread, and what they were told. No two requests are the same."""

    client: httpx.Client
    clients: int = CLIENTS
    answers: list[tuple[int, str]] = field(default_factory=list)

    def __enter__(self) -> "Load":
        self._ended = Event()
        self._thread = Thread(target=lambda: asyncio.run(self._ask()))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    async def _ask(self) -> None:
        async with httpx.AsyncClient(
            base_url=self.client.base_url, headers=self.client.headers, timeout=SOON_SECONDS
        ) as session:
            customers = itertools.count()

            async def one() -> None:
                while not self._ended.is_set():
                    answer = await session.post(
                        "/v1/predict", json=request({**order(), "customer_id": str(next(customers))})
                    )
                    self.answers.append((answer.status_code, answer.text))

            await asyncio.gather(*(one() for _ in range(self.clients)))
