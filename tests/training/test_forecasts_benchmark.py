"""How the forecasting benchmark judges: the same items and customers for all, by values worked out by hand."""

import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

benchmark = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "forecasts.py"))
UNITS = [
    ("mean", "a", 4.0),
    ("mean", "b", 2.0),
    ("demandcast", "b", 3.0),
    ("demandcast", "a", 5.0),
    ("demandcast", "asked by one", 99.0),
    ("sold", "a", 6.0),
    ("sold", "b", 2.0),
    ("sold", "asked by one", 9.0),
]
CHANCES = [
    ("recency", "1", 0.9),
    ("recency", "2", 0.2),
    ("demandcast", "2", 0.5),
    ("demandcast", "1", 0.5),
    ("demandcast", "asked by one", 0.5),
]


def test_methods_are_judged_on_what_all_of_them_forecast() -> None:
    units = pd.DataFrame(UNITS, columns=["method", "unique_id", "units"])
    for level, far in ((50, 1), (80, 2), (95, 4)):
        units[f"low_{level}"], units[f"high_{level}"] = units.units - far, units.units + far

    found = benchmark["judged"](units)

    assert found.loc["mean", ["WAPE", "bias"]].tolist() == pytest.approx([2 / 8, -2 / 8])
    assert found.loc["demandcast", ["WAPE", "bias"]].tolist() == pytest.approx([2 / 8, 0])
    assert found.loc["mean", ["in 50%", "in 80%", "in 95%"]].tolist() == [0.5, 1, 1]
    scores = [2 / 2 + (0.25 * 2 + 1) + 0.1 * 4 + 0.025 * 8, 0.25 * 2 + 0.1 * 4 + 0.025 * 8]  # of a and of b
    assert found.loc["mean", "score"] == pytest.approx(sum(scores) / 3.5 / 8)


def test_weeks_are_judged_one_by_one() -> None:
    units = pd.DataFrame(
        [("mean", "a", 1, 4.0), ("mean", "a", 2, 2.0), ("sold", "a", 2, 4.0), ("sold", "a", 1, 2.0)],
        columns=["method", "unique_id", "step", "units"],
    )
    ends = {f"{end}_{level}": units.units for end in ("low", "high") for level in (50, 80, 95)}

    assert benchmark["judged"](units.assign(**ends)).loc["mean", "WAPE"] == pytest.approx(4 / 6)


def test_chances_are_judged_on_customers_whom_all_know() -> None:
    chances = pd.DataFrame(CHANCES, columns=["method", "customer_id", "chance"])

    found = benchmark["judged_orders"](chances, pd.DataFrame({"customer_id": ["1", "3", "asked by one"]}))

    assert found.loc["recency", ["AUC", "log loss"]].tolist() == pytest.approx([1, -np.log([0.9, 0.8]).mean()])
    assert found.loc["demandcast", ["AUC", "Brier"]].tolist() == pytest.approx([0.5, 0.25])
