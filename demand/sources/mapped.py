"""CSV and Parquet files under any column names, by a mapping in YAML.

    orders:
      file: sales.csv                     # relative to the path
      columns: {customer_id: cust, order_id: basket, ts: when, item_id: sku, quantity: qty, amount: total}
    customers: {file: people.csv, columns: {customer_id: cust}, attributes: [age, city]}

Several tables may come from one file. What a file lacks may be the same for all rows (`values: {quantity: 1}`),
attributes may be renamed (`attributes: {age: "age:token"}`), other separators and clocks are named: `separator: "\t"`,
`timestamp_unit: s`.

Without a mapping, files are named after the tables and columns after the contract; `orders` must be there.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from demand.errors import DataError
from demand.importing import Chunk
from demand.locations import reason
from demand.tables import TABLES, TIMESTAMP

CHUNK_ROWS = 200_000
Unit = Literal["s", "ms", "us", "ns"]
IMPORTED = [name for name in TABLES if name != "quarantine"]
MOMENTS = {field.name for schema in TABLES.values() for field in schema if field.type == TIMESTAMP}


class TableMapping(BaseModel):
    """Where one table comes from.

    Attributes:
        columns: the file's names by the contract's.
        values: for columns of the contract that the file lacks, what stands in every row.
        attributes: of customers, columns that are kept as they are called, or the file's names by others.
        separator: of a CSV file's columns.
        timestamp_unit: what the file's times count since 1970 (UTC); by default they are written as ISO 8601 says.
    """

    model_config = ConfigDict(extra="forbid")

    file: str
    columns: dict[str, str]
    values: dict[str, str | int | float] = {}
    attributes: list[str] | dict[str, str] = []
    separator: str = Field(default=",", min_length=1, max_length=1)
    timestamp_unit: Unit | None = None

    @property
    def named_attributes(self) -> dict[str, str]:
        """The file's columns by the names that attributes are given."""
        return self.attributes if isinstance(self.attributes, dict) else {name: name for name in self.attributes}


def chunks(kind: str, path: Path | None, mapping: Path | None) -> Iterator[Chunk]:
    """The mapped tables, some 200,000 rows at a time.

    Args:
        kind: csv or parquet.
        path: the folder that holds the files.

    Raises:
        DataError: path or mapping are missing or wrong, or a file is missing, unreadable or lacks a mapped column.
    """
    if path is None or not path.is_dir():
        raise DataError(
            f"{kind} needs --path FOLDER, a folder with the {kind} files" + (f"; {path} is none" if path else "")
        )
    mappings = _read_mapping(mapping) if mapping else _by_contract(kind, path)
    readers = Counter(each.file for each in mappings.values())
    for table, mapped in mappings.items():
        file = path / mapped.file
        if not file.is_file():
            raise DataError(f"{file}: no such file, named by the mapping of '{table}'")
        told = mapped.file if readers[mapped.file] == 1 else f"{mapped.file}, {table}"
        first = 1
        columns = [*mapped.columns.values(), *mapped.named_attributes.values()]
        for frame in frames(kind, file, columns, mapped.separator):
            frame.index = pd.RangeIndex(first, first + len(frame))
            first += len(frame)
            yield Chunk(table, told, _renamed(frame, mapped))


def _read_mapping(file: Path) -> dict[str, TableMapping]:
    try:
        mappings = TypeAdapter(dict[str, TableMapping]).validate_python(yaml.safe_load(file.read_text()))
    except OSError as error:
        raise DataError(f"{file}: {reason(error)}") from None
    except UnicodeDecodeError:
        raise DataError(f"{file} is not text in UTF-8") from None
    except yaml.YAMLError as error:
        raise DataError(f"{file} is not valid YAML: {str(error).splitlines()[0]}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None
    for table, mapped in mappings.items():
        if table not in IMPORTED:
            raise DataError(f"{file}: no table '{table}': choose among {', '.join(IMPORTED)}")
        for column in (*mapped.columns, *mapped.values):
            if column not in TABLES[table].names:
                raise DataError(f"{file}: {table} has no column '{column}', only {', '.join(TABLES[table].names)}")
        for column in mapped.columns.keys() & mapped.values.keys():
            raise DataError(f"{file}: {table}.{column} has a column and a value: it can have one of them")
    if "orders" not in mappings:
        raise DataError(f"{file}: 'orders' is not mapped")
    return mappings


def _by_contract(kind: str, path: Path) -> dict[str, TableMapping]:
    found = [name for name in IMPORTED if (path / f"{name}.{kind}").is_file()]
    if "orders" not in found:
        raise DataError(f"{path} holds no orders.{kind}: name it so, or give --mapping FILE")
    mappings = {}
    for name in found:
        columns = columns_of(kind, path / f"{name}.{kind}")
        known = {column: column for column in TABLES[name].names if column in columns}
        spare = [column for column in columns if column not in known] if name == "customers" else []
        mappings[name] = TableMapping(file=f"{name}.{kind}", columns=known, attributes=spare)
    return mappings


def columns_of(kind: str, file: Path, separator: str = ",") -> list[str]:
    """Of a CSV or Parquet file. Raises DataError where it cannot be read."""
    try:
        if kind == "csv":
            return list(pd.read_csv(file, sep=separator, nrows=0).columns)
        return list(pq.read_schema(file).names)
    except (ValueError, OSError, pa.ArrowException) as error:
        raise DataError(f"{file} cannot be read: {str(error).splitlines()[0]}") from None


def frames(kind: str, file: Path, columns: list[str], separator: str = ",") -> Iterator[pd.DataFrame]:
    """Some columns, some 200,000 rows at a time. Raises DataError where the file cannot be read or lacks one."""
    present = columns_of(kind, file, separator)
    if missing := [column for column in columns if column not in present]:
        raise DataError(f"{file}: no column '{missing[0]}', only {', '.join(map(str, present))[:300]}")
    try:
        if kind == "csv":
            yield from pd.read_csv(
                file, sep=separator, usecols=columns, dtype=str, keep_default_na=False, chunksize=CHUNK_ROWS
            )
        else:
            for batch in pq.ParquetFile(file, pre_buffer=False).iter_batches(CHUNK_ROWS, columns=columns):
                yield batch.to_pandas(integer_object_nulls=True)  # floats would lose digits of long ids
    except (ValueError, OSError, pa.ArrowException) as error:
        raise DataError(f"{file} cannot be read: {str(error).splitlines()[0]}") from None


def _renamed(frame: pd.DataFrame, mapped: TableMapping) -> pd.DataFrame:
    """The contract's names over the file's columns, with the values of those it lacks; attributes gathered into one."""
    columns: dict[str, Any] = {ours: frame[theirs] for ours, theirs in mapped.columns.items()}
    if mapped.timestamp_unit:
        for ours in columns.keys() & MOMENTS:
            columns[ours] = _counted(columns[ours], mapped.timestamp_unit)
    if named := mapped.named_attributes:
        columns["attributes"] = [
            {ours: str(row[theirs]) for ours, theirs in named.items() if pd.notna(row[theirs]) and row[theirs] != ""}
            for row in frame[list(named.values())].to_dict("records")
        ]
    return pd.DataFrame({**columns, **mapped.values}, index=frame.index)


def _counted(raw: pd.Series, unit: Unit) -> pd.Series:
    """Moments from numbers; what is none stays as it is, for the checks to judge."""
    if raw.dtype.kind == "M":
        return raw
    moments = pd.to_datetime(pd.to_numeric(raw, errors="coerce"), unit=unit, utc=True, errors="coerce")
    return moments if moments.notna().all() else moments.astype("object").where(moments.notna(), raw)
