"""Who may come in: requests are let through by their key, and as many a minute as it allows."""

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from serving.console import CONSOLE
from serving.documentation import DOCUMENTATION
from serving.keys import Key, Keys, Scope
from serving.problems import Problem

BEARER = "bearer "
MOST_DERIVED = 16
"""Keys at a time that were not shown before, each of which takes tens of milliseconds."""
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


def _key_in(authorization: str) -> str:
    return authorization[len(BEARER) :].strip() if authorization[: len(BEARER)].lower() == BEARER else ""


def _elsewhere(site: str) -> bool:
    """Whether a host or an origin is another machine's."""
    try:
        return urlsplit(site if "//" in site else f"//{site}").hostname not in LOOPBACK
    except ValueError:
        return True


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
        self._thread = ThreadPoolExecutor(1, "door")  # its own: nothing that is slow elsewhere shall close it
        self._derived: dict[str, asyncio.Future[Key | None]] = {}

    async def refuses(self, route: str, authorization: str, sites: Sequence[str] = ()) -> Problem | None:
        """As `refused`, where deriving a key holds up nobody who is known: that is done in a thread, once for all who
        ask with one key, and so rarely that guessing is worth little. Who comes while MOST_DERIVED other keys wait for
        it is told to come again (429)."""
        text = _key_in(authorization)
        if is_open(route) or not self._keys.wanted or not self._keys.has_a_price(text):
            return self.refused(route, authorization, sites)
        derived = self._derived.get(text)
        if derived is None:
            if len(self._derived) >= MOST_DERIVED:
                return Problem(429, "many others show keys for the first time: come again", retry_seconds=1)
            derived = asyncio.get_running_loop().run_in_executor(self._thread, self._keys.find, text)
            self._derived[text] = derived
            derived.add_done_callback(lambda _: self._derived.pop(text))
        return self._refused(route, await asyncio.shield(derived))

    def refused(self, route: str, authorization: str, sites: Sequence[str] = ()) -> Problem | None:
        """Why a request is not let through: 401 without a good key, 403 beyond its scope, 429 where it asked too often.

        Deriving what a key holds takes a while. Where no key is wanted, whoever uses this machine may ask, but no page
        of another site that stands open in its browser.

        Args:
            route: "METHOD PATH".
            authorization: the header, "Bearer KEY".
            sites: what the headers Host and Origin say, as far as they came.
        """
        if is_open(route):
            return None
        if not self._keys.wanted:
            if not self._open and any(map(_elsewhere, sites)):
                return Problem(403, "pages of other sites may not ask: make a key, or serve with --without-keys")
            return None
        return self._refused(route, self._keys.find(_key_in(authorization)))

    def _refused(self, route: str, key: Key | None) -> Problem | None:
        if key is None:
            return Problem(401, "this needs a key: send it as the header Authorization: Bearer KEY")
        if key.scope not in scopes(route):
            return Problem(403, f"this needs a key of the scope {' or '.join(scopes(route))}")
        allowed = RateLimitItemPerMinute(key.per_minute)
        if self._limiter.hit(allowed, key.id):
            return None
        ends = self._limiter.get_window_stats(allowed, key.id).reset_time
        seconds = max(1, math.ceil(ends - time.time()))
        return Problem(429, f"this key may ask {key.per_minute:,} times a minute", retry_seconds=seconds)
