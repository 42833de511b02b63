"""Google Analytics 4: the event rows of its BigQuery export, as JSON lines (.json, .jsonl, also .gz) or Parquet.

https://support.google.com/analytics/answer/7029846 names the columns. `purchase` events become orders, events that
name an item or a search become browsing. What Analytics calls "(not set)" is missing.
"""

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from demand.errors import DataError
from demand.importing import Chunk

CHUNK_ROWS = 50_000
NOT_SET = "(not set)"
ACTIONS = {
    "view_item": "view",
    "select_item": "view",
    "view_item_list": "list",
    "search": "search",
    "view_search_results": "search",
    "add_to_cart": "add_to_cart",
    "remove_from_cart": "remove_from_cart",
    "add_to_wishlist": "add_to_wishlist",
    "begin_checkout": "checkout",
}


def chunks(path: Path | None) -> Iterator[Chunk]:
    """Orders, browsing and items of an export file, or of every such file in a folder.

    An event is a row; a line that is not JSON, or a purchase without a transaction id, is rejected with its reason.

    Raises:
        DataError: there is no such file, or one cannot be read.
    """
    if path is None or not path.exists():
        raise DataError(
            "ga4 needs --path, a file or folder of exported events" + (f"; {path} is not there" if path else "")
        )
    files = sorted(each for each in ([path] if path.is_file() else path.iterdir()) if _suffix(each) in _READERS)
    if not files:
        raise DataError(f"{path} is or holds no .json, .jsonl, .json.gz, .jsonl.gz or .parquet file")
    names: dict[str, dict[str, Any]] = {}
    for file in files:
        rows: dict[str, list[dict[str, Any]]] = {"orders": [], "browsing": []}
        for number, event in enumerate(_events(file), start=1):
            _sort_event(event, number, rows, names)
            if sum(map(len, rows.values())) >= CHUNK_ROWS:
                yield from _drain(rows, file.name)
        yield from _drain(rows, file.name)
    yield Chunk(
        "items", "items of the events", pd.DataFrame(list(names.values()), columns=["item_id", "name", "category"])
    )


def _sort_event(
    event: dict[str, Any] | str, number: int, rows: dict[str, list[dict[str, Any]]], names: dict[str, dict[str, Any]]
) -> None:
    """Puts one event where it belongs; an event of no interest goes nowhere."""
    if isinstance(event, str):
        rows["orders"].append({"row": number, "rejected": event})
        return
    told = _told(event)
    common = {
        "row": number,
        "customer_id": told.get("user_id") or told.get("user_pseudo_id"),
        "ts": pd.to_datetime(_number(told.get("event_timestamp")), unit="us", utc=True, errors="coerce"),
    }
    items = [_told(item) for item in _several(event.get("items"))]
    for item in items:
        if item.get("item_id"):
            known = {"item_id": item["item_id"], "name": item.get("item_name") or item["item_id"]}
            names.setdefault(item["item_id"], {**known, "category": item.get("item_category")})
    if told.get("event_name") == "purchase":
        order = _told(event.get("ecommerce")).get("transaction_id") or _parameter(event, "transaction_id")
        rows["orders"] += [{**common, "order_id": order, **_line(item)} for item in items]
        if not items:
            rows["orders"].append({**common, "rejected": "a purchase without items"})
    elif action := ACTIONS.get(str(told.get("event_name"))):
        text = _parameter(event, "search_term")
        looked = [item["item_id"] for item in items if item.get("item_id")]
        if looked or text:
            rows["browsing"] += [
                {**common, "action": action, "item_id": item, "text": text} for item in looked or [None]
            ]


def _line(item: dict[str, Any]) -> dict[str, Any]:
    quantity = _number(item.get("quantity"), 1)
    amount = item.get("item_revenue")
    if amount is None:
        amount = (_number(item.get("price"), 0) or 0) * (quantity or 0)
    return {"item_id": item.get("item_id"), "quantity": quantity, "amount": amount}


def _number(value: Any, default: float | None = None) -> Any:
    if value is None:
        return default
    return pd.to_numeric(value, errors="coerce")


def _parameter(event: dict[str, Any], key: str) -> str | None:
    """As text: Analytics takes what looks like a number for one, a search for 4711 too."""
    for parameter in _several(event.get("event_params")):
        if parameter.get("key") == key:
            told = [each for each in _told(parameter.get("value")).values() if each is not None]
            return str(told[0]) if told else None
    return None


def _told(fields: Any) -> dict[str, Any]:
    """The plain values of an object, without those that are not set; none where it is no object."""
    if not isinstance(fields, dict):
        return {}
    return {name: value for name, value in fields.items() if value != NOT_SET and not isinstance(value, list | dict)}


def _several(objects: Any) -> list[dict[str, Any]]:
    """The objects of a list; none where it is no list."""
    return [each for each in objects if isinstance(each, dict)] if isinstance(objects, list) else []


def _drain(rows: dict[str, list[dict[str, Any]]], file: str) -> Iterator[Chunk]:
    columns = {
        "orders": ["customer_id", "order_id", "ts", "item_id", "quantity", "amount", "rejected"],
        "browsing": ["customer_id", "ts", "action", "item_id", "text"],
    }
    for table, found in rows.items():
        if found:
            frame = pd.DataFrame(found).set_index("row").rename_axis(None)
            yield Chunk(table, file, frame.reindex(columns=columns[table]))
            found.clear()


def _events(file: Path) -> Iterator[dict[str, Any] | str]:
    """Events, or the reason why a row is none."""
    try:
        yield from _READERS[_suffix(file)](file)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, pa.ArrowException) as error:
        raise DataError(f"{file} cannot be read: {error}") from None


def _json_lines(lines: Iterable[str]) -> Iterator[dict[str, Any] | str]:
    for line in lines:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            event = None
        yield event if isinstance(event, dict) else "not a JSON object"


def _plain(file: Path) -> Iterator[dict[str, Any] | str]:
    with file.open(encoding="utf-8") as lines:
        yield from _json_lines(lines)


def _gzipped(file: Path) -> Iterator[dict[str, Any] | str]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        yield from _json_lines(lines)


def _parquet(file: Path) -> Iterator[dict[str, Any] | str]:
    for batch in pq.ParquetFile(file, pre_buffer=False).iter_batches(CHUNK_ROWS):
        yield from batch.to_pylist()


def _suffix(file: Path) -> str:
    return "".join(file.suffixes[-2:]) if file.suffix == ".gz" else file.suffix


_READERS = {
    ".json": _plain,
    ".jsonl": _plain,
    ".json.gz": _gzipped,
    ".jsonl.gz": _gzipped,
    ".parquet": _parquet,
}
