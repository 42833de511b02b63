"""Gradient boosting on hand-made features, by the package `lightgbm` (an extra: demandcast[baselines]).

What wins purchase prediction in practice: boosted trees (Ke et al., NIPS 2017) read, as numbers, everything that our
model reads of a customer. They learn from weekly questions before the cutoff, whose answers lie before it too.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from demand.baselines.candidates import POPULAR, SMALLEST, Candidates, Shelf, bought, candidates, sales_of
from demand.baselines.popularity import personal_top
from demand.baselines.problem import Problem
from demand.moments import DAY, WEEK
from demand.prompts import NEXT_ORDER
from demand.record import Record
from demand.sales import Sales

WEEKS = 8
"""Earlier questions of each customer."""
ROWS = 3_000_000
"""About as many candidates are learned from at most; of more, those that were not bought are thinned."""
BLOCK = 256
"""Customers answered at a time."""
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

    def chances(self, predicted: np.ndarray) -> np.ndarray:
        """What trees predict, as chances: where the others are thinned, odds are too high (He et al., ADKDD 2014)."""
        chances: np.ndarray = self.kept * predicted / (1 - predicted + self.kept * predicted)
        return chances


def _chances(problem: Problem, days: int, settings: dict[str, Any]) -> np.ndarray:
    """Candidates by the trees, everything else below the customer's last candidate in the order of sales."""
    lessons = problem.once(("lessons", days), lambda: _lessons(problem, days))
    if lessons is None:
        return _unlearned(problem)
    trees = _fit(lessons, **settings)
    shelf, asked = problem.once(("asked", days, problem.asked), lambda: _asked(problem, days))
    chances = np.empty((problem.asked, len(problem.catalogue)), dtype=np.float32)
    for start in range(0, problem.asked, BLOCK):
        block = asked[start : start + BLOCK]
        predicted = lessons.chances(trees.predict(np.concatenate([each.features for each in block])))
        ends = np.cumsum([len(each.items) for each in block])
        for row, (each, chance) in enumerate(zip(block, np.split(predicted, ends[:-1]), strict=True), start):
            rest = lessons.rest * each.expected * shelf.shares
            chances[row] = rest / (1 + rest / chance.min())  # below the candidates, and hardly changed where far below
            chances[row, each.items] = chance
    return chances


def _unlearned(problem: Problem) -> np.ndarray:
    """Where no earlier question was answered: the share of the customer's orders with the item, one order more."""
    shares: np.ndarray = personal_top(problem) / (problem.orders[: problem.asked, None] + 1)
    return shares


def _records(problem: Problem) -> list[Record]:
    return problem.once("records", lambda: [Record.of(each, problem.catalogue) for each in problem.questions.everyone])


def _sales(problem: Problem) -> Sales:
    return problem.once("sales", lambda: sales_of(_records(problem), len(problem.catalogue)))


def _asked(problem: Problem, days: int) -> tuple[Shelf, list[Candidates]]:
    moments, records = np.array([problem.questions.cutoff]), _records(problem)
    shelf = Shelf.at(problem.questions.cutoff, _sales(problem))
    return shelf, [next(candidates(each, moments, days, [shelf])) for each in records[: problem.asked]]


def _lessons(problem: Problem, days: int) -> Lessons | None:
    """Weekly questions, the last so that its answer is known at the cutoff; None where nobody bought a candidate."""
    from lightgbm import Dataset

    window = problem.questions.horizon_days
    last = problem.questions.cutoff - (WEEK if days == NEXT_ORDER else window * DAY)
    moments = last - WEEK * np.arange(WEEKS)
    records = _records(problem)
    shelves = [Shelf.at(moment, _sales(problem)) for moment in moments.tolist()]
    most = sum(WEEKS * (len(np.unique(each.items)) + POPULAR) for each in records)
    kept = min(1.0, ROWS / max(most, 1))
    random = np.random.default_rng(SEED)
    features, labels = [], []
    missed, tried = 0, SMALLEST
    for record in records:
        truths = {
            place: truth
            for place, moment in enumerate(moments.tolist())
            if (truth := bought(record, moment, days, window)) is not None
        }
        asked = list(truths)
        found = candidates(record, moments[asked], days, [shelves[place] for place in asked])
        for place, each in zip(asked, found, strict=True):
            label = np.isin(each.items, truths[place])
            chosen = label | (random.random(len(label)) < kept)
            features.append(each.features[chosen])
            labels.append(label[chosen])
            missed += len(truths[place]) - int(label.sum())
            tried += each.expected * float(1 - shelves[place].shares[each.items].sum())
    if not any(each.any() for each in labels):
        return None
    table = np.concatenate(features)
    features.clear()  # the table is all that is needed, and the largest thing here
    data = Dataset(table, np.concatenate(labels), params=PARAMETERS).construct()
    return Lessons(data, kept, missed / tried)


def _fit(lessons: Lessons, rounds: int, leaves: int, learning_rate: float) -> Any:
    from lightgbm import train

    return train({**PARAMETERS, "num_leaves": leaves, "learning_rate": learning_rate}, lessons.data, rounds)
