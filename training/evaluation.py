"""Evaluation: a model and the baselines answer the same questions about the same customers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from demand.baselines import BASELINES
from demand.dataset import Dataset
from demand.errors import DataError, SettingsError
from demand.metrics import ranking_metrics, top_k
from demand.moments import iso
from demand.prompts import NEXT_ORDER
from demand.questions import ask
from modeling.predictor import Predictor, Question

TOP = 20


def evaluate(
    predictor: Predictor, dataset: Dataset, cutoff: int, horizon_days: int, baselines: Sequence[str] = tuple(BASELINES)
) -> dict[str, Any]:
    """Ranking metrics of the next order and of all orders within the horizon, for the model and each baseline.

    Args:
        cutoff: histories end before it; the truth lies from it on.
        baselines: names in demand.baselines.BASELINES.

    Returns:
        {"cutoff", "customers", "next_order": {name: metrics}, "horizon": {name: metrics}}; the model's name is "model".

    Raises:
        SettingsError: a baseline is unknown.
        DataError: no customer has three orders before the cutoff and one within the horizon.
    """
    if unknown := sorted(set(baselines) - set(BASELINES)):
        raise SettingsError(f"no baseline '{unknown[0]}': choose among {', '.join(BASELINES)}, or all")
    catalogue = predictor.catalogue
    questions = ask(dataset.customers(), catalogue, cutoff, horizon_days)
    if not questions.customers:
        raise DataError(
            f"{dataset.folder}: no customer has 3 orders before {iso(cutoff)} and one in {horizon_days} days"
        )
    report: dict[str, Any] = {
        "cutoff": iso(cutoff),
        "horizon_days": horizon_days,
        "customers": len(questions.customers),
        "next_order": {},
        "horizon": {},
    }
    for part, days, truths in (
        ("next_order", NEXT_ORDER, questions.next_order),
        ("horizon", horizon_days, questions.horizon),
    ):
        rates = predictor.rates([Question(each, cutoff, days) for each in questions.customers])
        report[part]["model"] = _metrics(rates, truths)
    for name in baselines:
        scores = BASELINES[name](questions, catalogue)
        report["next_order"][name] = _metrics(scores, questions.next_order)
        report["horizon"][name] = _metrics(scores, questions.horizon)
    return report


def _metrics(scores: np.ndarray, truths: Sequence[np.ndarray]) -> dict[str, float]:
    return ranking_metrics(top_k(scores, TOP), truths)
