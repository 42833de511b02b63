"""A second attempt, where the first one dies or is silent for long."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

Answer = TypeVar("Answer")


class Attempts:
    """Asks twice at most; only for what changes nothing.

    A replica that hangs looks like one that has much to do. So that a second attempt relieves from the first without
    burdening everybody where all have much to do, there are only some at a time.
    """

    def __init__(self, most: int, fatal: type[Exception]) -> None:
        """
        Args:
            most: second attempts at a time that are made beside a silent first.
            fatal: what an attempt raises that died; another is made for it at once.
        """
        self._most = most
        self._fatal = fatal
        self._impatient = 0

    async def answer(self, ask: Callable[[], Awaitable[Answer]], patience_seconds: float) -> Answer:
        """The answer of whichever attempt has one first; raises what they raise.

        Args:
            patience_seconds: of silence, after which another attempt is made beside the first.
        """
        first = asyncio.ensure_future(ask())
        try:
            await asyncio.wait([first], timeout=patience_seconds)
            if not first.done():
                if self._impatient < self._most:
                    return await self._first_of_two(first, ask)
                await asyncio.wait([first])
            return await (ask() if isinstance(first.exception(), self._fatal) else first)
        finally:
            first.cancel()

    async def _first_of_two(self, first: "asyncio.Future[Answer]", ask: Callable[[], Awaitable[Answer]]) -> Answer:
        self._impatient += 1
        second = asyncio.ensure_future(ask())
        try:
            await asyncio.wait([first, second], return_when=asyncio.FIRST_COMPLETED)
            if first.done():
                return await (second if isinstance(first.exception(), self._fatal) else first)
            return await (first if second.exception() else second)  # whose failure is no reason to give up the first
        finally:
            second.cancel()
            self._impatient -= 1
