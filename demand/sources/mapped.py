"""To come."""

from collections.abc import Iterator
from typing import Any

from demand.importing import Chunk


def chunks(*_: Any) -> Iterator[Chunk]:
    raise NotImplementedError
