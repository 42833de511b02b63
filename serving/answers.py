"""Answers kept for those who ask the very same again."""

import hashlib
import time

from cachetools import TLRUCache

from serving.models import Models
from serving.problems import Answer

ENTRY_BYTES = 512
"""What an answer costs beside its body, about."""


class Answers:
    """The latest answers of the models that are served now, up to a number of bytes.

    Requests are known by a digest of their bytes; none is kept. Replicas change over one by one, so that an answer says
    of which models it is, and one of others is not kept.
    """

    def __init__(self, megabytes: float) -> None:
        """Without megabytes nothing is kept."""
        self._most = megabytes * 2**20
        self._models = ""
        self._kept = self._empty()

    def change_to(self, models: Models) -> None:
        """Others are served from now on: forgets everything."""
        self._models = models.digest
        self._kept = self._empty()

    def find(self, request: bytes) -> Answer | None:
        """The answer to the same request, while it holds."""
        return self._kept.get(_digest(request)) if self._most else None

    def keep(self, request: bytes, answer: Answer) -> None:
        """Remembers an answer for as long as it holds; one that is large for what may be kept, or of other models,
        is not."""
        if answer.models == self._models and _size(answer) * 16 < self._most:
            self._kept[_digest(request)] = answer

    def _empty(self) -> TLRUCache[bytes, Answer, float]:
        return TLRUCache(
            self._most, ttu=lambda _, answer, now: now + answer.holds_seconds, timer=time.monotonic, getsizeof=_size
        )


def _digest(request: bytes) -> bytes:
    return hashlib.blake2b(request, digest_size=32).digest()


def _size(answer: Answer) -> int:
    return len(answer.body) + ENTRY_BYTES
