"""What a customer is called, and where that stands."""

import json
import re
from collections.abc import Collection, Iterable
from functools import cached_property, reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

LONG = 8
"""Characters from which on an id is looked for everywhere. Shorter ones are words and quantities as well."""
CUSTOMER = "customer_id"
CELLS = " | "
"""Between the cells of a row in the quarantine, of which the customer's id comes first."""


class Identity:
    """One or more customers, by their ids: as shops know them, or pseudonyms.

    An id counts as a whole value of a column customer_id, in tables and JSON alike, and as the first cell of a row that
    was set aside. Ids that can be told from words and numbers, of LONG characters and neither letters nor digits alone,
    count as words wherever they stand; a number may as well be an order's or an item's.
    """

    def __init__(self, ids: Collection[str], anywhere: bool = True) -> None:
        """`anywhere` is for few customers: each of their telling ids is looked for in every text."""
        self.ids, self._anywhere = frozenset(ids), anywhere

    def __repr__(self) -> str:
        return f"Identity({len(self.ids)} ids)"  # which must not reach a log

    @cached_property
    def telling(self) -> list[str]:
        """The ids that are looked for everywhere."""
        plain = (each for each in self.ids if len(each) < LONG or each.isalpha() or each.isdigit())
        return sorted(self.ids.difference(plain)) if self._anywhere else []

    @cached_property
    def _ids(self) -> pa.Array:
        return pa.array(sorted(self.ids), pa.string())

    @cached_property
    def _words(self) -> str:
        """RE2: a telling id that stands alone, with nothing beside it that could belong to a longer word or number."""
        return rf"(?:^|[^\w.\-])(?:{'|'.join(map(re.escape, self.telling))})(?:$|[^\w\-])"

    @cached_property
    def in_text(self) -> re.Pattern[bytes]:
        """Finds an id in the bytes of a text, JSON or not."""
        values = _any_of(f'"{each}"' for each in _written(self.ids))
        numbers = _any_of(filter(str.isdigit, self.ids))
        words = _any_of(_written(self.telling))
        pattern = rf'"{CUSTOMER}"\s*:\s*(?:{values}|{numbers}(?!\w))|(?<![\w.-]){words}(?![\w-])'
        return re.compile(pattern.encode())

    @cached_property
    def in_bytes(self) -> re.Pattern[bytes]:
        """Finds a telling id in bytes of any kind."""
        return re.compile(b"|".join(re.escape(each.encode()) for each in self.telling) or b"(?!)")

    def rows(self, table: pa.Table) -> pa.ChunkedArray:
        """Which rows of a table name the customer, as booleans."""
        found = [pa.chunked_array([np.zeros(len(table), dtype=bool)])]
        if CUSTOMER in table.column_names:
            found.append(pc.fill_null(pc.is_in(table[CUSTOMER].cast(pa.string()), self._ids), False))
        if {"file", "row", "reason", "text"} == set(table.column_names):
            first = [text.split(CELLS, 1)[0] for text in table["text"].to_pylist()]
            found.append(pc.is_in(pa.chunked_array([pa.array(first, pa.string())]), self._ids))
        if self.telling:
            others = (table[name] for name in table.column_names if name != CUSTOMER)  # an id may hold another
            found += [pa.chunked_array([self._mentions(column.combine_chunks())]) for column in others]
        return reduce(pc.or_, found)

    def _mentions(self, column: Any) -> pa.Array:
        """Where a telling id stands in a column, however deep."""
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            return pc.fill_null(pc.match_substring_regex(column, self._words), False)
        found = np.zeros(len(column), dtype=bool)
        if pa.types.is_map(column.type):
            ends = column.offsets.to_numpy()
            rows = np.repeat(np.arange(len(column)), np.diff(ends))
            for part in (column.keys, column.items):
                inner = self._mentions(part.slice(ends[0], ends[-1] - ends[0]))
                found[rows[inner.to_numpy(zero_copy_only=False)]] = True
        elif pa.types.is_struct(column.type):
            for part in column.flatten():
                found |= self._mentions(part).to_numpy(zero_copy_only=False)
        elif pa.types.is_nested(column.type):
            inner = self._mentions(pc.list_flatten(column))
            found[pc.list_parent_indices(column).filter(inner).to_numpy(zero_copy_only=False)] = True
        return pa.array(found)


def _written(ids: Iterable[str]) -> set[str]:
    """As they are, and as JSON may have them."""
    return {written for each in ids for written in (each, json.dumps(each)[1:-1])}


def _any_of(texts: Iterable[str]) -> str:
    """A pattern; of none, one that is found nowhere."""
    return f"(?:{'|'.join(map(re.escape, sorted(texts))) or '(?!)'})"
