"""The scaling benchmark runs, and the data that it makes are what it says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.scaling import replicate
from demand.dataset import Dataset
from demand.importing import import_dataset
from demand.sources import SourceOptions, source

ROOT = Path(__file__).resolve().parent.parent


def test_rows_come_again_with_fresh_customers_and_orders(shop: Dataset, tmp_path: Path) -> None:
    replicate(shop.folder, 3, tmp_path / "source")

    manifest = import_dataset("parquet", source("parquet", SourceOptions(path=tmp_path / "source")), tmp_path / "data")

    once = shop.manifest
    assert [manifest[each] for each in ("customers", "orders")] == [3 * once[each] for each in ("customers", "orders")]
    assert manifest["rows"] == {**once["rows"], **{each: 3 * once["rows"][each] for each in ("orders", "customers")}}
    first = next(shop.customers())
    twin = next(Dataset.open(tmp_path / "data").customers([f"{first.customer_id}~2"]))
    assert (twin.orders, twin.attributes) == (first.orders, first.attributes)


@pytest.mark.drill
def test_every_stage_is_measured(shop: Dataset, tmp_path: Path) -> None:
    options = ["--data", shop.folder, "--times", "2", "--preset", "tiny", "--steps", "4", "--json", tmp_path / "json"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scaling", *map(str, options)], cwd=ROOT, capture_output=True, text=True
    )

    assert not done.returncode, done.stderr
    figures = json.loads((tmp_path / "json").read_text())
    assert [each["stage"] for each in figures] == ["import", "render", "train", "predict"]
    assert all(min(each["amount"], each["rate"], each["memory"], each["processor_seconds"]) > 0 for each in figures)
    assert "of linear" in done.stdout
