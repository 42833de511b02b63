"""Who may come in: requests are let through by their key, and as many a minute as it allows."""

import asyncio
import math
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from serving.console import CONSOLE
from serving.documentation import DOCUMENTATION
from serving.keys import Keys, Scope, id_of
from serving.problems import Problem

BEARER = "bearer "
WRONG = RateLimitItemPerMinute(10, namespace="wrong")
"""Wrong secrets that a key is tried with: each costs 50 ms of a processor. Who used it of late is let in meanwhile."""
THREADS = 4
"""In which keys are derived."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")
OPEN = ("/healthz", "/readyz", "/openapi.json", CONSOLE, DOCUMENTATION)
"""Paths that need no key, nor do the files below the last two."""
SCOPES: Mapping[str, tuple[Scope, ...]] = {
    "POST /v1/events": ("events",),
    "POST /v1/feedback": ("predict", "events"),
    "POST /v1/customers/risk": ("predict",),
    "GET /v1/status": (),
    "GET /v1/models": (),
}
"""That open a route beside admin, which opens all; predict opens those that are not named."""
CUSTOMERS = "/v1/customers"
"""What lies below, but for what is named, is for admin alone: records of customers."""


def is_open(route: str) -> bool:
    """Whether a route, "METHOD PATH", needs no key."""
    path = route.partition(" ")[2]
    return path in OPEN or path.startswith((f"{CONSOLE}/", f"{DOCUMENTATION}/"))


def scopes(route: str) -> tuple[Scope, ...]:
    """That open a route, "METHOD PATH"."""
    path = route.partition(" ")[2]
    records = path == CUSTOMERS or path.startswith(f"{CUSTOMERS}/")
    return ("admin", *SCOPES.get(route, () if records else ("predict",)))


class Door:
    """Lets requests through. Counts are of this process, of which an application has one."""

    def __init__(self, keys: Keys, open_: bool = False) -> None:
        """
        Args:
            open_: where there are no keys, pages of other sites may ask, too.
        """
        self._keys, self._open = keys, open_
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._threads = ThreadPoolExecutor(THREADS, "door")  # its own: nothing that is slow elsewhere shall close it

    async def refuses(self, route: str, authorization: str, origin: str = "") -> Problem | None:
        """As `refused`, in a thread where a key may have to be derived."""
        if is_open(route) or not self._keys.wanted:
            return self.refused(route, authorization, origin)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self.refused, route, authorization, origin)

    def refused(self, route: str, authorization: str, origin: str = "") -> Problem | None:
        """Why a request is not let through: 401 without a good key, 403 beyond its scope, 429 where it asked too often.

        Deriving what a key holds takes a while. Where no key is wanted, whoever uses this machine may ask, but no page
        of another site that stands open in its browser.

        Args:
            route: "METHOD PATH".
            authorization: the header, "Bearer KEY".
            origin: the header, which browsers send.
        """
        if is_open(route):
            return None
        if not self._keys.wanted:
            if origin and not self._open and urlsplit(origin).hostname not in LOOPBACK:
                return Problem(403, "pages of other sites may not ask: make a key, or serve with --without-keys")
            return None
        bearer = authorization[: len(BEARER)].lower() == BEARER
        text = authorization[len(BEARER) :].strip() if bearer else ""
        guesses = self._keys.has_a_price(text)
        if guesses and not self._limiter.test(WRONG, id_of(text)):
            return Problem(429, "this key was tried too often with wrong secrets", retry_seconds=60)
        key = self._keys.find(text)
        if key is None:
            if guesses:
                self._limiter.hit(WRONG, id_of(text))
            return Problem(401, "this needs a key: send it as the header Authorization: Bearer KEY")
        if key.scope not in scopes(route):
            return Problem(403, f"this needs a key of the scope {' or '.join(scopes(route))}")
        allowed = RateLimitItemPerMinute(key.per_minute)
        if self._limiter.hit(allowed, key.id):
            return None
        ends = self._limiter.get_window_stats(allowed, key.id).reset_time
        seconds = max(1, math.ceil(ends - time.time()))
        return Problem(429, f"this key may ask {key.per_minute:,} times a minute", retry_seconds=seconds)
