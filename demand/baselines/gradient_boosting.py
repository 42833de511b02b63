"""Gradient boosting on hand-made features, by the package `lightgbm` (an extra: demandcast[baselines]).

What wins purchase prediction in practice: boosted trees (Ke et al., NIPS 2017) read everything that our model reads of a
customer as numbers. They learn from weekly questions before the cutoff, whose answers lie before it too.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from demand.baselines.candidates import FEATURES, Candidates, Sales, bought, candidates
from demand.baselines.popularity import personal_top
from demand.baselines.problem import Problem
from demand.moments import WEEK, DAY
from demand.prompts import NEXT_ORDER
from demand.record import Record

WEEKS = 8
"""Earlier questions of each customer."""
ROWS = 3_000_000
"""About as many candidates are learned from: more take memory and minutes, and teach little."""
SEED = 7
PARAMETERS = {
    "objective": "binary",
    "min_data_in_leaf": 100,
    "lambda_l2": 1.0,
    "deterministic": True,
    "force_row_wise": True,
    "feature_pre_filter": False,  # so that one dataset serves all settings
    "seed": SEED,
    "verbosity": -1,
}


def next_chances(problem: Problem, **settings: Any) -> np.ndarray:
    """The chance of each item in the next order, (R, V) float32."""
    return _chances(problem, NEXT_ORDER, settings)


def horizon_chances(problem: Problem, **settings: Any) -> np.ndarray:
    """The chance of each item in all orders of the horizon, (R, V) float32."""
    return _chances(problem, problem.questions.horizon_days, settings)


@dataclass(frozen=True)
class Lessons:
    """Answered questions of earlier cutoffs.

    Attributes:
        data: a lightgbm.Dataset: every candidate that was bought, and a share of those that were not.
        kept: that share.
        rest: of a customer's expected items, how many are none of the candidates, over their share of sales.
    """

    data: Any
    kept: float
    rest: float


def _chances(problem: Problem, days: int, settings: dict[str, Any]) -> np.ndarray:
    """Candidates by the trees, everything else below the customer's last candidate in the order of sales."""
    lessons = problem.once(("lessons", days), lambda: _lessons(problem, days))
    if lessons is None:
        return _unlearned(problem)
    trees = _fit(lessons, **settings)
    sold = problem.once("sales", lambda: Sales.before([problem.questions.cutoff], _records(problem), len(problem.catalogue)))[0]
    asked: list[Candidates] = problem.once(("asked", days, problem.asked), lambda: _asked(problem, days, sold))
    chances = np.empty((problem.asked, len(problem.catalogue)), dtype=np.float32)
    predicted = trees.predict(np.concatenate([each.features for each in asked]))
    # of the candidates not bought only a share was seen: odds are so many times too high (He et al., ADKDD 2014)
    predicted = lessons.kept * predicted / (1 - predicted + lessons.kept * predicted)
    ends = np.cumsum([len(each.items) for each in asked])
    for row, (each, chance) in enumerate(zip(asked, np.split(predicted, ends[:-1]), strict=True)):
        rest = lessons.rest * each.expected * sold.shares
        chances[row] = rest / (1 + rest / chance.min())  # about as it is where small, and always below
        chances[row, each.items] = chance
    return chances


def _unlearned(problem: Problem) -> np.ndarray:
    """Where no earlier question was answered: the share of the customer's orders with the item, one order more."""
    shares: np.ndarray = personal_top(problem) / (problem.orders[: problem.asked, None] + 1)
    return shares


def _records(problem: Problem) -> list[Record]:
    return problem.once("records", lambda: [Record.of(each, problem.catalogue) for each in problem.questions.everyone])


def _asked(problem: Problem, days: int, sold: Sales) -> list[Candidates]:
    moments = np.array([problem.questions.cutoff])
    return [next(candidates(each, moments, days, [sold])) for each in _records(problem)[: problem.asked]]


def _lessons(problem: Problem, days: int) -> Lessons | None:
    """What is asked weekly, the last time so that the answer is known at the cutoff; None where nothing can be learned."""
    from lightgbm import Dataset

    window = problem.questions.horizon_days
    last = problem.questions.cutoff - (WEEK if days == NEXT_ORDER else window * DAY)
    moments = last - WEEK * np.arange(WEEKS)
    records = _records(problem)
    sales = Sales.before(moments.tolist(), records, len(problem.catalogue))
    most = sum(len(np.unique(each.items)) + 100 for each in records) * WEEKS
    kept = min(1.0, ROWS / max(most, 1))
    random = np.random.default_rng(SEED)
    features, labels, missed, tried = [], [], 0, 0.0
    for record in records:
        truths = [bought(record, moment, days, window) for moment in moments]
        asked = [place for place, truth in enumerate(truths) if truth is not None]
        if not asked:
            continue
        for place, each in zip(asked, candidates(record, moments[asked], days, [sales[place] for place in asked])):
            label = np.isin(each.items, truths[place])
            chosen = label | (random.random(len(label)) < kept)
            features.append(each.features[chosen])
            labels.append(label[chosen])
            missed += len(truths[place]) - label.sum()
            tried += each.expected * (1 - sales[place].shares[each.items].sum())
    if not any(each.any() for each in labels):
        return None
    label = np.concatenate(labels)
    table = np.concatenate(features)
    features.clear()
    data = Dataset(table, label, feature_name=[f"f{i}" for i in range(len(FEATURES))], params=PARAMETERS).construct()
    return Lessons(data, kept, missed / max(tried, 1e-9))


def _fit(lessons: Lessons, rounds: int, leaves: int, learning_rate: float) -> Any:
    from lightgbm import train

    return train({**PARAMETERS, "num_leaves": leaves, "learning_rate": learning_rate}, lessons.data, rounds)
