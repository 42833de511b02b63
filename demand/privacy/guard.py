"""What an import does for people's privacy, row by row."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from demand.errors import DataError
from demand.locations import Location
from demand.privacy.consent import Consent
from demand.privacy.pseudonyms import PseudonymKey
from demand.privacy.texts import Cleaner

TEXTS = ("reviews", "browsing")
"""Tables with free text."""


@dataclass
class Guard:
    """Leaves out who gave no consent, cleans texts, keeps attributes that are allowed, and turns ids into pseudonyms.

    Attributes:
        key: by default ids stay as they are.
        consent: by default everybody takes part.
        attributes: names of those that are kept; by default all.
        cleaner: of texts.
    """

    key: PseudonymKey | None = None
    consent: Consent | None = None
    attributes: Sequence[str] | None = None
    cleaner: Cleaner = field(default_factory=Cleaner)
    _left_out: set[str] = field(default_factory=set, init=False)
    _seen: set[str] = field(default_factory=set, init=False)

    @property
    def withholds(self) -> bool:
        """Whether rows that cannot be read must not be kept as they are: nobody knows which of their cells is an id."""
        return self.key is not None or self.consent is not None

    def rows(self, table: str, rows: pa.Table) -> pa.Table:
        """Checked rows of a table, as they may be kept."""
        if "customer_id" not in rows.column_names:
            return rows
        if self.consent:
            given = self.consent.given(rows["customer_id"])
            self._left_out.update(pc.unique(rows["customer_id"].filter(pc.invert(given))).to_pylist())
            rows = rows.filter(given)
        if table in TEXTS:
            rows = _with(rows, "text", self.cleaner.column(rows["text"]))
        if table == "customers" and self.attributes is not None:
            rows = _with(rows, "attributes", self._allowed(rows["attributes"].combine_chunks()))
        if self.key:
            rows = _with(rows, "customer_id", self.key.customers(rows["customer_id"]))
            if "order_id" in rows.column_names:
                rows = _with(rows, "order_id", self.key.orders(rows["order_id"]))
        return rows

    def cleaned(self, texts: pd.Series) -> pd.Series:
        """The free text of rows that are set aside."""
        column = self.cleaner.column(pa.chunked_array([pa.array(texts, pa.string(), from_pandas=True)]))
        return pd.Series(column.to_pylist(), index=texts.index, dtype="string")

    def _allowed(self, attributes: pa.MapArray) -> pa.MapArray:
        self._seen.update(pc.unique(attributes.keys).to_pylist())
        kept = pc.is_in(attributes.keys, pa.array(self.attributes, pa.string()))
        before = np.concatenate([[0], np.cumsum(kept.to_numpy(zero_copy_only=False))])
        ends = pa.array(before[attributes.offsets.to_numpy()], pa.int32())
        keys, values = attributes.keys.filter(kept), attributes.items.filter(kept)
        return pa.MapArray.from_arrays(ends, keys, values, mask=attributes.is_null())

    def check(self, manifest: dict[str, Any], out: Location) -> None:
        """Compares with the manifest of the dataset `out` that an import is to replace.

        Raises:
            DataError: other pseudonyms or none would take the place of its own, or those come back whom it left out.
        """
        before = manifest.get("privacy", {})
        if "pseudonyms" in before and (
            self.key is None or self.key.fingerprint != before["pseudonyms"]["key_fingerprint"]
        ):
            given = "another pseudonym key" if self.key else "no pseudonym key"
            raise DataError(f"{out} was made with a pseudonym key, and this is {given}: choose another --out")
        if "consent" in before and self.consent is None:
            raise DataError(
                f"{out} has nobody without consent, and this import would take everybody: "
                "give --consent FILE, or choose another --out"
            )

    def summary(self) -> dict[str, Any]:
        """What was done, for the manifest; no key and nobody's id.

        Raises:
            DataError: an attribute is allowed that nobody has.
        """
        done: dict[str, Any] = {}
        if self.key:
            done["pseudonyms"] = {"method": "HMAC-SHA256", "key_fingerprint": self.key.fingerprint}
        if self.consent:
            done["consent"] = {"customers_left_out": len(self._left_out)}
        if self.attributes is not None:
            if missing := sorted(set(self.attributes) - self._seen):
                has = ", ".join(sorted(self._seen)) or "none"
                raise DataError(f"--attributes {missing[0]}: no customer has such an attribute; there are {has}")
            done["attributes"] = sorted(self.attributes)
        if found := {kind: count for kind, count in self.cleaner.found.items() if count}:
            done["texts_cleaned"] = found
        return done


def _with(rows: pa.Table, name: str, values: pa.Array) -> pa.Table:
    place = rows.schema.get_field_index(name)
    return rows.set_column(place, rows.schema.field(place), values)
