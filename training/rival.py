"""Another model among the methods that a model is compared with."""

from collections.abc import Sequence

import numpy as np

from demand.baselines.baseline import Baseline
from demand.baselines.problem import Problem
from demand.prompts import NEXT_ORDER
from demand.questions import Question
from modeling.predictor import Predictor


def rival(name: str, predictor: Predictor) -> Baseline:
    """A model as a baseline of another one. Items are told by their ids; those that it does not know come last.

    Args:
        predictor: with the sales of what lies before the questions (Predictor.read_sales).
    """

    def scores(problem: Problem, asked: Sequence[Question]) -> np.ndarray:
        index = problem.catalogue.index
        known = [(place, index[item]) for place, item in enumerate(predictor.catalogue.item_ids) if item in index]
        here, there = np.array(known, dtype=np.int64).reshape(-1, 2).T
        found = np.zeros((len(asked), len(index)), dtype=np.float32)
        found[:, there] = predictor.rates(asked)[:, here]
        return found

    def next_order(problem: Problem) -> np.ndarray:
        pairs = zip(problem.questions.customers, problem.questions.moments, strict=True)
        return scores(problem, [Question(each, moment, NEXT_ORDER) for each, moment in pairs])

    def horizon(problem: Problem) -> np.ndarray:
        questions = problem.questions
        return scores(
            problem, [Question(each, questions.cutoff, questions.horizon_days) for each in questions.customers]
        )

    return Baseline(name, next_order, horizon_score=horizon)
