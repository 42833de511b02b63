"""Calibration metrics, against values worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demand.reliability import (
    Bin,
    brier_score,
    calibration_metrics,
    expected_calibration_error,
    log_loss,
    ranking_chance,
    reliability,
)

CHANCES = np.array([[0.9, 0.1], [0.4, 0.2]])
HAPPENED = np.array([[True, False], [False, True]])


def test_bins_hold_equal_numbers_in_order_of_chance() -> None:
    bins = reliability(CHANCES, HAPPENED, bins=2)

    assert bins == [Bin(pytest.approx(0.15), 0.5, 2), Bin(pytest.approx(0.65), 0.5, 2)]


def test_errors_worked_out_by_hand() -> None:
    assert expected_calibration_error(reliability(CHANCES, HAPPENED, bins=2)) == pytest.approx((0.35 + 0.15) / 2)
    assert brier_score(CHANCES, HAPPENED) == pytest.approx((0.1**2 + 0.1**2 + 0.4**2 + 0.8**2) / 4)
    assert log_loss(CHANCES, HAPPENED) == pytest.approx(-np.log([0.9, 0.9, 0.6, 0.2]).mean())


def test_bins_of_unequal_size_count_by_their_size() -> None:
    bins = [Bin(0.5, 0.5, 1), Bin(0.5, 1.0, 3)]

    assert expected_calibration_error(bins) == pytest.approx(0.375)


def test_certainty_that_proves_wrong_costs_much_but_not_infinitely() -> None:
    assert 20 < log_loss(np.array([0.0]), np.array([True])) < 40


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_chances_that_are_true_are_better_than_the_same_chances_shifted(seed: int) -> None:
    rng = np.random.default_rng(seed)
    chances = rng.uniform(0.05, 0.6, 20_000)
    happened = rng.random(20_000) < chances

    true, shifted = calibration_metrics(chances, happened), calibration_metrics(chances + 0.2, happened)

    assert true["ece"] < 0.03
    assert shifted["ece"] == pytest.approx(0.2, abs=0.03)
    assert true["brier"] < shifted["brier"]
    assert true["log_loss"] < shifted["log_loss"]


def test_ranking_is_the_share_of_pairs_in_order_where_equals_count_half() -> None:
    came = np.array([True, False, True, False, False])

    assert ranking_chance(np.array([0.9, 0.1, 0.4, 0.4, 0.6]), came) == pytest.approx((3 + 1.5) / 6)
    assert np.isnan(ranking_chance(np.ones(3), np.ones(3, dtype=bool)))
