"""Sources of data: each turns files of one kind into chunks of the contract's tables. A table rather than branches."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from sqlalchemy.engine import URL

from demand.errors import DataError
from demand.importing import Chunk
from demand.sources import complete_journey, events, ga4, mapped, ta_feng


@dataclass(frozen=True)
class SourceOptions:
    """What the person who imports may say.

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


@dataclass(frozen=True)
class Source:
    """One kind of data.

    Attributes:
        chunks: from what was said.
        takes: the options that concern it.
    """

    chunks: Callable[[SourceOptions], Iterator[Chunk]]
    takes: tuple[str, ...]


SOURCES: dict[str, Source] = {
    "complete-journey": Source(
        lambda options: complete_journey.chunks(options.item_level or "product_type"), ("item_level",)
    ),
    "ta-feng": Source(lambda options: ta_feng.chunks(options.item_level or "item"), ("item_level",)),
    "csv": Source(lambda options: mapped.chunks("csv", options.path, options.mapping), ("path", "mapping")),
    "parquet": Source(lambda options: mapped.chunks("parquet", options.path, options.mapping), ("path", "mapping")),
    "ga4": Source(lambda options: ga4.chunks(options.path), ("path",)),
    "events": Source(lambda options: events.chunks(options.events, options.items), ("events", "items")),
}


def source(name: str, options: SourceOptions) -> Iterator[Chunk]:
    """The chunks of a source by its name.

    Raises:
        DataError: there is no such source, its package or file is missing, or an option does not fit it.
    """
    if name not in SOURCES:
        raise DataError(f"no source '{name}': choose one of {', '.join(SOURCES)}")
    found = SOURCES[name]
    for each in fields(options):
        if getattr(options, each.name) is not None and each.name not in found.takes:
            takes = ", ".join(map(_option, found.takes))
            raise DataError(f"{_option(each.name)} is not for {name}, which takes {takes}")
    return found.chunks(options)


def _option(name: str) -> str:
    """As it is written on the command line."""
    return f"--{name.replace('_', '-')}"
