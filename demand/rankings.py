"""Rankings that another method wrote to a file, to be compared with the model's."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from demand.catalogue import Catalogue
from demand.errors import DataError, SettingsError
from demand.locations import Location, location
from demand.questions import HORIZON, NEXT, PARTS
from demand.tables import read_schema, read_table

COLUMNS = ("customer_id", "rank", "item_id")
_SUFFIXES = {".next": (NEXT,), ".horizon": (HORIZON,)}


@dataclass(frozen=True)
class RankingFile:
    """A Parquet file of rankings, laid out as 'demandcast predict --out' does.

    Attributes:
        name: what tables call the method.
        parts: which of the two questions (demand.questions.PARTS) it answers.
    """

    name: str
    file: Location
    parts: tuple[str, ...] = PARTS

    @classmethod
    def parse(cls, text: str) -> "RankingFile":
        """Reads NAME=FILE, which answers both questions, or NAME.next=FILE or NAME.horizon=FILE for one of them.

        Raises:
            SettingsError: the text has another form.
        """
        name, equals, file = text.partition("=")
        parts = next((parts for suffix, parts in _SUFFIXES.items() if name.endswith(suffix)), PARTS)
        if parts != PARTS:
            name = name.rpartition(".")[0]
        if not (name and equals and file):
            raise SettingsError(f"--rankings {text}: write NAME=FILE, NAME.next=FILE or NAME.horizon=FILE")
        return cls(name, location(file), parts)

    def read(self, customers: Sequence[str], catalogue: Catalogue, k: int) -> np.ndarray:
        """The k first items of each customer. (R, k) catalogue indices, -1 where the catalogue lacks the item.

        Raises:
            DataError: the file cannot be read, lacks a column, a customer or a rank, or names an item twice.
        """
        table = self._table().filter(pc.is_in(pc.field("customer_id"), pa.array(customers, pa.string())))
        table = table.filter(pc.less_equal(pc.field("rank"), k)).sort_by(
            [("customer_id", "ascending"), ("rank", "ascending")]
        )
        rows = table.to_pandas()
        missing = set(customers) - set(rows["customer_id"])
        if missing:
            some = min(missing)
            raise self._wrong(
                "customer_id", f"{len(missing):,} of {len(customers):,} customers asked about are missing, as '{some}'"
            )
        sizes = rows.groupby("customer_id")["rank"].transform("size")
        places = rows.groupby("customer_id").cumcount() + 1
        if len(bad := rows[(rows["rank"] != places) | (sizes != k)]):
            raise self._wrong(
                "rank", f"customer '{bad['customer_id'].iloc[0]}' lacks some of the ranks 1 to {k}, or has one twice"
            )
        if len(bad := rows[rows.duplicated(["customer_id", "item_id"])]):
            first = bad.iloc[0]
            raise self._wrong("item_id", f"customer '{first['customer_id']}' has '{first['item_id']}' twice")
        return self._indices(rows, customers, catalogue, k)

    def _indices(self, rows: pd.DataFrame, customers: Sequence[str], catalogue: Catalogue, k: int) -> np.ndarray:
        items = rows["item_id"].map(catalogue.index).fillna(-1).to_numpy(dtype=np.int64)
        if (items < 0).all():
            raise self._wrong("item_id", f"no item is in the catalogue, as '{rows['item_id'].iloc[0]}'")
        by_customer = dict(zip(rows["customer_id"].iloc[::k], items.reshape(-1, k), strict=True))
        return np.array([by_customer[each] for each in customers])

    def _table(self) -> pa.Table:
        try:
            found = read_schema(self.file)
            for column in COLUMNS:
                if column not in found.names:
                    raise self._wrong(column, "is missing")
            table = read_table(self.file, columns=list(COLUMNS))
        except (pa.ArrowException, OSError):
            raise DataError(f"{self.file} is not a readable Parquet file") from None
        for column, kind in (("customer_id", pa.string()), ("rank", pa.int64()), ("item_id", pa.string())):
            try:
                table = table.set_column(table.column_names.index(column), column, table[column].cast(kind))
            except pa.ArrowException:
                raise self._wrong(column, f"cannot be read as {kind}") from None
            if table[column].null_count:
                raise self._wrong(column, f"is empty in {table[column].null_count:,} rows")
        return table

    def _wrong(self, column: str, what: str) -> DataError:
        return DataError(f"{self.file}: column '{column}': {what}")
