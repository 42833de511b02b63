"""How the forecasting benchmark judges: the same items and customers for all, by values worked out by hand."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "forecasts.py"
specification = importlib.util.spec_from_file_location("forecasts", FILE)
assert specification and specification.loader
forecasts = importlib.util.module_from_spec(specification)
specification.loader.exec_module(forecasts)


def test_methods_are_judged_on_what_all_of_them_answer() -> None:
    units = pd.DataFrame(
        [("a", 4.0, "mean"), ("b", 2.0, "mean"), ("b", 3.0, "demandcast"), ("a", 5.0, "demandcast")]
        + [("never asked", 99.0, "demandcast")],
        columns=["item_id", "units", "method"],
    )
    orders = pd.DataFrame(
        [("1", 0.9, "recency"), ("2", 0.2, "recency"), ("2", 0.5, "demandcast"), ("1", 0.5, "demandcast")]
        + [("only asked once", 0.5, "demandcast")],
        columns=["customer_id", "chance", "method"],
    )
    then = pd.DataFrame(
        [("1", "a", 6.0), ("1", "b", 1.0), ("3", "b", 1.0), ("only asked once", "never asked", 9.0)],
        columns=["customer_id", "item_id", "quantity"],
    )

    found = forecasts.judged(units, orders, then)

    assert found.loc["mean", ["WAPE", "bias"]].tolist() == pytest.approx([2 / 8, -2 / 8])
    assert found.loc["demandcast", ["WAPE", "bias"]].tolist() == pytest.approx([2 / 8, 0])
    assert found.loc["recency", ["AUC", "log loss"]].tolist() == pytest.approx([1, -np.log([0.9, 0.8]).mean()])
    assert found.loc["demandcast", ["AUC", "Brier"]].tolist() == pytest.approx([0.5, 0.25])
