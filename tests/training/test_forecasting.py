"""What all customers together will buy: parts of them, as they come from all processors, and what cannot be asked."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from demand.catalogue import Catalogue
from demand.dataset import Dataset
from demand.errors import DataError
from demand.importing import import_dataset
from demand.moments import DAY, moment
from demand.questions import Question
from demand.sources import SourceOptions, source
from demand.uses.outlook import Outlook
from demand.uses.stores import Placed
from demand.uses.supply import Split
from tests.conftest import CUTOFF, STORES
from training.applications import wanted
from training.forecasting import Places, _sold, forecast
from training.prediction import Asked

AS_OF = moment(CUTOFF)


def test_what_comes_in_parts_is_what_it_was(shop: Dataset, catalogue: Catalogue) -> None:
    customers = list(shop.customers(before=AS_OF))
    purchases = np.random.default_rng(0).random((len(customers), len(catalogue)))

    def asked(rows: slice, days: int) -> Outlook:
        expected = days * purchases[rows]
        questions = [Question(each, AS_OF, days) for each in customers[rows]]
        return Outlook(catalogue, questions, purchases[rows, 0], expected, expected, expected)

    written = [Places(stores=True)(asked(rows, days)) for rows in (slice(15), slice(15, None)) for days in (7, 28)]
    rows = pa.concat_tables(written)
    pieces = [rows.slice(start, 2) for start in range(0, len(rows), 2)]  # as Ray cuts them, wherever that is

    for days in (7, 28):
        found = Placed.total([Places.read(each, days) for each in pieces]).among(STORES)
        np.testing.assert_allclose(found.parts, Placed.of(asked(slice(None), days)).among(STORES).parts)


def test_what_was_sold_is_told_by_week_and_store(shop: Dataset, catalogue: Catalogue) -> None:
    asked = Asked(shop.folder, Path("no-model"), AS_OF, horizon_days=10)
    lines = shop.table("orders").to_pandas()
    days = (lines.ts.astype("int64") - AS_OF) // DAY

    found = _sold(asked, Split(stores=True, weeks=True), STORES, catalogue)

    assert found.shape == (2, 2, len(catalogue))
    week = lines[days.between(7, 9) & (lines.store == "south") & (lines.item_id == "item b1")]
    assert found[1, 1, catalogue.index["item b1"]] == week.quantity.sum()
    assert found.sum() == lines[days.between(0, 9)].quantity.sum()
    assert (found.sum((0, 1)) == _sold(asked, Split(), [""], catalogue)[0, 0]).all()


def test_stores_that_no_order_names_are_not_asked_for(tmp_path: Path) -> None:
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "orders.csv").write_text(
        "customer_id,order_id,ts,item_id,quantity,amount\nc,o,2024-01-01,milk,1,1\n"
    )
    import_dataset("csv", source("csv", SourceOptions(path=tmp_path / "csv")), tmp_path / "data")

    with pytest.raises(DataError, match="no order says in which store"):
        forecast(Asked(tmp_path / "data", Path("no-model"), AS_OF, 28), Split(stores=True), tmp_path / "out.parquet")


def test_an_audience_is_asked_for_among_what_the_model_knows() -> None:
    known = Catalogue(pa.table({"item_id": ["a", "b", "c"], "category": ["fruit", None, "fruit"]}))

    assert wanted(known, ["c", "b", "c"], None) == ("c", "b")
    assert wanted(known, [], "fruit") == ("a", "c")
    for items, category, words in (
        (["b", "new"], None, "the model knows no item 'new'"),
        ([], "new", "the model knows no item of the category 'new'"),
        ([], None, "give items, or a category"),
        (["b"], "fruit", "give items, or a category"),
    ):
        with pytest.raises(DataError, match=words):
            wanted(known, items, category)
