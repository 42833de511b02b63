"""The benchmark of warm starts: who learns and who is asked."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks.results import made_of
from benchmarks.transfer import Shops
from demand.dataset import Dataset


def test_who_is_asked_is_in_no_shop_and_smaller_shops_are_parts_of_larger_ones(shop: Dataset, tmp_path: Path) -> None:
    shops = Shops.of(shop.folder, tmp_path, asked=10, seed=0)

    few, more = (Dataset.open(shops.shop(customers)) for customers in (5, 12))

    assert len(shops.asked) == 10
    assert (len(few.buyers()), len(more.buyers())) == (5, 12)
    assert set(few.buyers().to_pylist()) < set(more.buyers().to_pylist())
    assert not set(more.buyers().to_pylist()) & set(shops.asked)
    assert few.table("items").equals(shop.table("items"))
    assert pq.read_table(few.folder / "quarantine.parquet").num_rows == 0
    again = Shops.of(shop.folder, tmp_path, asked=10, seed=1)
    assert again.asked != shops.asked


def test_results_of_other_arguments_are_not_gone_on_with(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    made_of(out, {"preset": "nano", "seed": 0, "assignments": ["training.clip=1"]})

    made_of(out, {"preset": "nano", "seed": 0, "assignments": ["training.clip=1"]})
    with pytest.raises(SystemExit, match=r"results of another preset, seed .* give another --out"):
        made_of(out, {"preset": "tiny", "seed": 1, "assignments": ["training.clip=1"]})
