"""Row checks: which rows of a table may enter a dataset, and why the others may not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from demand.errors import DataError
from demand.tables import TABLES, TIMESTAMP


def split_rows(table: str, frame: pd.DataFrame, file: str) -> tuple[pa.Table, pd.Series]:
    """Splits raw rows into those that fit the table's schema and the reasons why others do not.

    Args:
        table: a name of TABLES.
        frame: raw rows under the contract's column names, values of any type.
        file: named in errors.

    Returns:
        The good rows as an Arrow table of the contract's schema, in their order, and for each row of the frame the
        reason against it, missing where it is good.

    Raises:
        DataError: a required column is missing altogether.
    """
    schema = TABLES[table]
    typed: dict[str, pd.Series] = {}
    reasons = pd.Series(pd.NA, index=frame.index, dtype="object")
    if "rejected" in frame:
        reasons = reasons.where(frame["rejected"].isna(), frame["rejected"])
    for field in schema:
        if field.name not in frame:
            if not field.nullable:
                raise DataError(f"{file}: no column '{field.name}', which the table '{table}' needs")
            typed[field.name] = pd.Series(None, index=frame.index, dtype="object")
            continue
        raw = frame[field.name]
        typed[field.name] = _PARSERS[field.type](raw)
        unreadable = typed[field.name].isna() & raw.notna()
        missing = raw.isna() | (raw.astype("object") == "")
        _mark(reasons, unreadable & ~missing, f"{field.name} cannot be read as {field.type}")
        if not field.nullable:
            _mark(reasons, missing, f"{field.name} is missing")
    for column, accepts, complaint in _RULES.get(table, ()):
        _mark(reasons, ~accepts(typed[column]), f"{column} {complaint}")
    good = reasons.isna()
    arrays = [pa.array(typed[each.name][good], type=each.type, from_pandas=True) for each in schema]
    return pa.Table.from_arrays(arrays, schema=schema), reasons


def _mark(reasons: pd.Series, where: pd.Series, reason: str) -> None:
    """The first complaint about a row stands."""
    reasons[where.fillna(False).astype(bool) & reasons.isna()] = reason


def as_text(raw: pd.Series) -> pd.Series:
    """Identifiers and other text as a dataset holds them; missing where there is nothing but white space."""
    if pd.api.types.is_float_dtype(raw) and (raw.dropna() % 1 == 0).all():
        raw = raw.astype("Int64")  # identifiers read as floats because one was missing
    text = raw.astype("string").str.strip()
    return text.mask(text == "")


def _number(raw: pd.Series) -> pd.Series:
    number = pd.to_numeric(raw, errors="coerce").astype("float64")
    return number.where(np.isfinite(number))


def _whole_number(raw: pd.Series) -> pd.Series:
    number = _number(raw)
    return number.where((number % 1 == 0) & number.between(-128, 127)).astype("Int8")


def _time(raw: pd.Series) -> pd.Series:
    time = pd.to_datetime(raw, errors="coerce", utc=True, format=None if raw.dtype.kind == "M" else "ISO8601")
    return time.where(time.dt.year.between(1, 9999))  # ISO 8601 knows years that no calendar library does


def _attributes(raw: pd.Series) -> pd.Series:
    return raw.map(_sorted_pairs)


def _sorted_pairs(value: Any) -> list[tuple[str, str]] | None:
    """Of a dict, or of pairs, as which Parquet's maps are read."""
    if isinstance(value, list) and all(isinstance(each, tuple) and len(each) == 2 for each in value):
        value = dict(value)
    return sorted(value.items()) if isinstance(value, dict) else None


_PARSERS: dict[pa.DataType, Callable[[pd.Series], pd.Series]] = {
    pa.string(): as_text,
    pa.float64(): _number,
    pa.int8(): _whole_number,
    TIMESTAMP: _time,
    TABLES["customers"].field("attributes").type: _attributes,
}

_FIRST, _LAST = pd.Timestamp("1971-01-01", tz="UTC"), pd.Timestamp("2100-01-01", tz="UTC")
"""Whatever lies outside stands for no date (0001-01-01, 1970-01-01, 9999-12-31), or comes of a wrong unit."""


def _plausible(moments: pd.Series) -> pd.Series:
    return moments.between(_FIRST, _LAST, inclusive="left")


_RULES: dict[str, tuple[tuple[str, Callable[[pd.Series], pd.Series], str], ...]] = {
    "orders": (
        ("ts", _plausible, "is not between 1971 and 2099"),
        ("quantity", lambda quantity: quantity > 0, "is not positive"),
        ("amount", lambda amount: amount >= 0, "is negative"),
    ),
    "browsing": (("ts", _plausible, "is not between 1971 and 2099"),),
    "reviews": (
        ("ts", _plausible, "is not between 1971 and 2099"),
        ("rating", lambda rating: rating.between(1, 5), "is not between 1 and 5"),
    ),
    "items": (("price", lambda price: price.isna() | (price >= 0), "is negative"),),
}
