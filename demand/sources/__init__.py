"""Sources of data: each turns files of one kind into chunks of the contract's tables. A table rather than branches."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL

from demand.errors import DataError
from demand.importing import Chunk
from demand.sources import complete_journey, events, ga4, mapped, ta_feng


@dataclass(frozen=True)
class SourceOptions:
    """What the person who imports may say. Each source reads what concerns it.

    Attributes:
        path: file or folder to read, for sources that do not bring their own data.
        mapping: YAML file that maps the source's columns to the contract's.
        item_level: what an item is; each source lists its levels.
        events: where the log of events is.
        items: CSV or Parquet file of what items are called, for a log, which does not know.
    """

    path: Path | None = None
    mapping: Path | None = None
    item_level: str | None = None
    events: URL | None = None
    items: Path | None = None


SOURCES: dict[str, Callable[[SourceOptions], Iterator[Chunk]]] = {
    "complete-journey": lambda options: complete_journey.chunks(options.item_level or "product_type"),
    "ta-feng": lambda options: ta_feng.chunks(options.item_level or "item"),
    "csv": lambda options: mapped.chunks("csv", options.path, options.mapping),
    "parquet": lambda options: mapped.chunks("parquet", options.path, options.mapping),
    "ga4": lambda options: ga4.chunks(options.path),
    "events": lambda options: events.chunks(options.events, options.items),
}


def source(name: str, options: SourceOptions) -> Iterator[Chunk]:
    """The chunks of a source by its name.

    Raises:
        DataError: there is no such source, its package or file is missing, or an option does not fit it.
    """
    if name not in SOURCES:
        raise DataError(f"no source '{name}': choose one of {', '.join(SOURCES)}")
    return SOURCES[name](options)
