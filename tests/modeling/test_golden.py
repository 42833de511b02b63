"""Golden requests: how far an answer may be off before a model counts as another."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from demand.errors import CheckpointError
from modeling.golden import Golden, check_golden_requests


def predictor(then: float, now: float) -> Any:
    """One that gave its only item a chance, and now gives another."""
    golden = Golden(as_of=0, horizon_days=28, items=(), chances={"a": then})
    catalogue = SimpleNamespace(index={"a": 0})
    checkpoint = SimpleNamespace(golden=(golden,))
    return SimpleNamespace(checkpoint=checkpoint, catalogue=catalogue, chances=lambda _: np.array([[now]]))


@pytest.mark.parametrize(("then", "now"), [(0.5, 0.519), (0.5, 0.481), (0.01, 0.0125), (0.0, 0.0009)])
def test_what_rounding_may_change_is_the_same(then: float, now: float) -> None:
    check_golden_requests(predictor(then, now))


@pytest.mark.parametrize(("then", "now"), [(0.5, 0.521), (0.01, 0.014), (0.01, 0.0), (0.0, 0.002), (0.5, float("nan"))])
def test_what_it_may_not_is_refused(then: float, now: float) -> None:
    with pytest.raises(CheckpointError, match="golden request"):
        check_golden_requests(predictor(then, now))
