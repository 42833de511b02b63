"""CSV and Parquet files under any column names, by a mapping in YAML.

    orders:
      file: sales.csv                     # relative to the path
      columns: {customer_id: cust, order_id: basket, ts: when, item_id: sku, quantity: qty, amount: total}
    customers: {file: people.csv, columns: {customer_id: cust}, attributes: [age, city]}

Without a mapping, files are named after the tables and columns after the contract; `orders` must be there.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from demand.errors import DataError
from demand.importing import Chunk
from demand.locations import reason
from demand.tables import TABLES

CHUNK_ROWS = 200_000
IMPORTED = [name for name in TABLES if name != "quarantine"]


class TableMapping(BaseModel):
    """Where one table comes from: `columns` maps the contract's names to the file's."""

    model_config = ConfigDict(extra="forbid")

    file: str
    columns: dict[str, str]
    attributes: list[str] = []


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
    for table, mapped in (_read_mapping(mapping) if mapping else _by_contract(kind, path)).items():
        file = path / mapped.file
        if not file.is_file():
            raise DataError(f"{file}: no such file, named by the mapping of '{table}'")
        first = 1
        for frame in frames(kind, file, [*mapped.columns.values(), *mapped.attributes]):
            frame.index = pd.RangeIndex(first, first + len(frame))
            first += len(frame)
            yield Chunk(table, mapped.file, _renamed(frame, mapped))


def _read_mapping(file: Path) -> dict[str, TableMapping]:
    try:
        mappings = TypeAdapter(dict[str, TableMapping]).validate_python(yaml.safe_load(file.read_text()))
    except OSError as error:
        raise DataError(f"{file}: {reason(error)}") from None
    except yaml.YAMLError as error:
        raise DataError(f"{file} is not valid YAML: {str(error).splitlines()[0]}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None
    for table, mapped in mappings.items():
        if table not in IMPORTED:
            raise DataError(f"{file}: no table '{table}': choose among {', '.join(IMPORTED)}")
        for column in mapped.columns:
            if column not in TABLES[table].names:
                raise DataError(f"{file}: {table} has no column '{column}', only {', '.join(TABLES[table].names)}")
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


def columns_of(kind: str, file: Path) -> list[str]:
    """Of a CSV or Parquet file. Raises DataError where it cannot be read."""
    try:
        return list(pd.read_csv(file, nrows=0).columns) if kind == "csv" else list(pq.read_schema(file).names)
    except (ValueError, OSError, pa.ArrowException) as error:
        raise DataError(f"{file} cannot be read: {str(error).splitlines()[0]}") from None


def frames(kind: str, file: Path, columns: list[str]) -> Iterator[pd.DataFrame]:
    """Some columns, some 200,000 rows at a time. Raises DataError where the file cannot be read or lacks one."""
    present = columns_of(kind, file)
    if missing := [column for column in columns if column not in present]:
        raise DataError(f"{file}: no column '{missing[0]}'")
    try:
        if kind == "csv":
            yield from pd.read_csv(file, usecols=columns, dtype=str, keep_default_na=False, chunksize=CHUNK_ROWS)
        else:
            for batch in pq.ParquetFile(file, pre_buffer=False).iter_batches(CHUNK_ROWS, columns=columns):
                yield batch.to_pandas()
    except (ValueError, OSError, pa.ArrowException) as error:
        raise DataError(f"{file} cannot be read: {str(error).splitlines()[0]}") from None


def _renamed(frame: pd.DataFrame, mapped: TableMapping) -> pd.DataFrame:
    """The contract's names over the file's columns; attributes gathered into one."""
    columns: dict[str, Any] = {ours: frame[theirs] for ours, theirs in mapped.columns.items()}
    if mapped.attributes:
        columns["attributes"] = [
            {name: str(value) for name, value in row.items() if pd.notna(value) and value != ""}
            for row in frame[mapped.attributes].to_dict("records")
        ]
    return pd.DataFrame(columns, index=frame.index)
