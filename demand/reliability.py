"""How far predicted chances can be believed: calibration error, Brier score and log loss of yes-or-no events."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

BINS = 20
SMALLEST_CHANCE = 1e-12


@dataclass(frozen=True)
class Bin:
    """Events of similar predicted chance: how likely they were said to be, how often they came, how many they are."""

    predicted: float
    happened: float
    count: int


def reliability(chances: np.ndarray, happened: np.ndarray, bins: int = BINS) -> list[Bin]:
    """Events in order of their chance, split into bins of equal number (give or take one), least likely first.

    Args:
        chances: predicted, of any shape.
        happened: of the same shape, true where the event came.
    """
    order = np.argsort(chances, axis=None, kind="stable")
    parts = zip(
        np.array_split(chances.ravel()[order], bins), np.array_split(happened.ravel()[order], bins), strict=True
    )
    return [
        Bin(float(np.mean(chance, dtype=np.float64)), float(np.mean(came)), len(chance))
        for chance, came in parts
        if len(chance)
    ]


def expected_calibration_error(bins: list[Bin]) -> float:
    """The mean gap between predicted and observed over bins, weighted by size (Naeini, Cooper & Hauskrecht, 2015)."""
    total = sum(each.count for each in bins)
    return sum(each.count * abs(each.predicted - each.happened) for each in bins) / total


def brier_score(chances: np.ndarray, happened: np.ndarray) -> float:
    """The mean squared distance of chances from what came (Brier, 1950); 0 is perfect."""
    return float(np.mean((chances.astype(np.float64) - happened) ** 2))


def log_loss(chances: np.ndarray, happened: np.ndarray) -> float:
    """The mean of -log of the chance given to what came, in nats; 0 is perfect."""
    given = np.where(happened, chances, 1 - chances.astype(np.float64))
    return float(-np.mean(np.log(np.maximum(given, SMALLEST_CHANCE))))


def ranking_chance(chances: np.ndarray, happened: np.ndarray) -> float:
    """The chance that what came was given a higher chance than what did not (AUC, by the rank sums of Mann and Whitney,
    1947); half of it is luck. NaN where all came, or nothing."""
    came = int(happened.sum())
    pairs = came * (happened.size - came)
    if not pairs:
        return float("nan")
    ranks = pd.Series(chances).rank().to_numpy()
    return float((ranks[happened].sum() - came * (came + 1) / 2) / pairs)


def calibration_metrics(chances: np.ndarray, happened: np.ndarray) -> dict[str, float]:
    """ "ece" (equal-mass bins), "brier" and "log_loss" of events, arrays of one shape."""
    return {
        "ece": expected_calibration_error(reliability(chances, happened)),
        "brier": brier_score(chances, happened),
        "log_loss": log_loss(chances, happened),
    }
