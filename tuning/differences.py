"""Where two trials answer differently: customers of whom one foresaw much and the other little."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from demand.dataset import draw
from demand.locations import location
from demand.metrics import top_k
from demand.prompts import NEXT_ORDER
from demand.protocols import VALIDATION
from demand.questions import Question, Questions
from modeling.predictor import Predictor
from modeling.snapshot import checkpoint_of
from training.job import VALIDATION_METRIC
from training.run import Plan
from tuning.plan import Trial
from tuning.space import FORMAT

ASKED, SHOWN = 200, 10
"""Customers of validation who are asked, and items that are looked at."""


@dataclass(frozen=True)
class Difference:
    """One customer, without a name.

    Attributes:
        orders: in the history.
        bought: names of the items of the next order.
        answers: by trial, the names of its first items.
        scores: by trial, the validation metric.
    """

    orders: int
    bought: tuple[str, ...]
    answers: tuple[tuple[str, ...], tuple[str, ...]]
    scores: tuple[float, float]


def best_of_two_formats(trials: Sequence[Trial]) -> tuple[Trial, Trial] | None:
    """Of trials, best first: the best one, and the best of another prompt format, if there are both."""
    able = [trial for trial in trials if trial.checkpoint]
    others = [trial for trial in able if trial.config.get(FORMAT) != able[0].config.get(FORMAT)]
    return (able[0], others[0]) if others else None


def differences(plan: Plan, pair: tuple[Trial, Trial], count: int) -> tuple[list[Difference], list[Difference]]:
    """Those whom the first trial answers best compared with the second, and the other way round; `count` of each at
    most, from customers whom validation asks."""
    dataset = plan.dataset()
    training = plan.settings.training
    customers = draw(dataset.customer_ids, plan.customers, training.seed)
    customers = draw(draw(customers, training.validation_customers, training.seed + 1), ASKED, training.seed)
    predictors = [Predictor(checkpoint_of(location(str(trial.checkpoint)))) for trial in pair]
    catalogue = predictors[0].catalogue
    questions = plan.protocol.questions(dataset, customers, catalogue, VALIDATION)
    asked = [
        Question(customer, moment, NEXT_ORDER)
        for customer, moment in zip(questions.customers, questions.moments, strict=True)
    ]
    if not asked:
        return [], []
    first, second = (top_k(predictor.rates(asked), SHOWN) for predictor in predictors)
    scores = [plan.protocol.measure(each, questions.next_order)[VALIDATION_METRIC] for each in (first, second)]
    lead = scores[0] - scores[1]
    found = [_difference(row, questions, (first, second), scores, catalogue.names) for row in range(len(asked))]
    order = np.argsort(-lead, kind="stable")
    return (
        [found[row] for row in order[:count] if lead[row] > 0],
        [found[row] for row in order[::-1][:count] if lead[row] < 0],
    )


def _difference(
    row: int,
    questions: Questions,
    ranked: tuple[np.ndarray, np.ndarray],
    scores: Sequence[np.ndarray],
    names: Sequence[str],
) -> Difference:
    bought, *answers = (
        tuple(names[item] for item in items) for items in (questions.next_order[row], *(each[row] for each in ranked))
    )
    return Difference(
        orders=len(questions.customers[row].orders),
        bought=bought,
        answers=(answers[0], answers[1]),
        scores=(float(scores[0][row]), float(scores[1][row])),
    )
