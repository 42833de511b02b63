"""How the forecasting benchmark judges: the same items and customers for all, by values worked out by hand."""

import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

judged = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "forecasts.py"))["judged"]
UNITS = [
    ("mean", "a", 4.0),
    ("mean", "b", 2.0),
    ("demandcast", "b", 3.0),
    ("demandcast", "a", 5.0),
    ("demandcast", "asked by one", 99.0),
]
CHANCES = [
    ("recency", "1", 0.9),
    ("recency", "2", 0.2),
    ("demandcast", "2", 0.5),
    ("demandcast", "1", 0.5),
    ("demandcast", "asked by one", 0.5),
]
THEN = [("1", "a", 6.0), ("1", "b", 1.0), ("3", "b", 1.0), ("asked by one", "asked by one", 9.0)]


def test_methods_are_judged_on_what_all_of_them_answer() -> None:
    units = pd.DataFrame(UNITS, columns=["method", "item_id", "units"])
    for level, far in ((50, 1), (80, 2), (95, 4)):
        units[f"low_{level}"], units[f"high_{level}"] = units.units - far, units.units + far
    chances = pd.DataFrame(CHANCES, columns=["method", "customer_id", "chance"])
    then = pd.DataFrame(THEN, columns=["customer_id", "item_id", "quantity"])

    found = judged(units, chances, then)

    assert found.loc["mean", ["WAPE", "bias"]].tolist() == pytest.approx([2 / 8, -2 / 8])
    assert found.loc["mean", ["in 50%", "in 80%", "in 95%"]].tolist() == [0.5, 1, 1]
    scores = [2 / 2 + (0.5 * 1 + 1) + 0.2 * 2 + 0.05 * 4, 0.5 * 1 + 0.2 * 2 + 0.05 * 4]  # of a and of b
    assert found.loc["mean", "score"] == pytest.approx(sum(scores) / 3.5 / 8)
    assert found.loc["demandcast", ["WAPE", "bias"]].tolist() == pytest.approx([2 / 8, 0])
    assert found.loc["recency", ["AUC", "log loss"]].tolist() == pytest.approx([1, -np.log([0.9, 0.8]).mean()])
    assert found.loc["demandcast", ["AUC", "Brier"]].tolist() == pytest.approx([0.5, 0.25])
