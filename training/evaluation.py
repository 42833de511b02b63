"""Evaluation: a model, the baselines and rankings from files answer the same questions about the same customers."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from demand.baselines.baseline import Baseline
from demand.baselines.problem import Problem
from demand.baselines.tuning import Choices, tune
from demand.comparison import MODEL, Comparison, Estimate, compare
from demand.customer import Customer
from demand.dataset import Dataset
from demand.errors import DataError, SettingsError
from demand.metrics import top_k
from demand.moments import iso
from demand.prompts import NEXT_ORDER
from demand.questions import HORIZON, NEXT, PARTS, Basket, Questions, ask
from demand.rankings import RankingFile
from demand.reliability import calibration_metrics, reliability
from demand.slices import slices
from demand.value import bought, business_metrics, mean_ratings
from modeling.predictor import Predictor, Question
from training.totals import Totals, totals

TOP = 20
Rankings = dict[str, dict[str, np.ndarray]]
"""By question and method: (R, TOP) item indices, best first."""


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        report: plain JSON values. "cutoff", "horizon_days", "customers"; by question (`demand.questions.PARTS`) and
            method the means of `demand.metrics.METRICS`; under "intervals", "differences", "slices", "calibration",
            "business" and "bought" more by question; "calibration_of", by method and question, of the baselines whose
            scores are chances; "settings" of the baselines; "demand", the totals summed up.
        totals: demand of the horizon by item, over all customers with a history.
        items: the items' names, in the order of the totals.
    """

    report: dict[str, Any]
    totals: Totals
    items: list[str]


def evaluate(
    predictor: Predictor,
    dataset: Dataset,
    cutoff: int,
    horizon_days: int,
    baselines: Sequence[Baseline] = (),
    rankings: Sequence[RankingFile] = (),
    choices: Path | None = None,
) -> Evaluation:
    """Compares a model with baselines and with rankings from files.

    Args:
        cutoff: histories end before it; the truth lies from it on.
        choices: folder in which the baselines' chosen settings are remembered.

    Raises:
        SettingsError: two methods have one name.
        DataError: no customer has three orders before the cutoff and one within the horizon; a file of rankings is not
            what it should be.
    """
    _check_names(baselines, rankings)
    catalogue = predictor.catalogue
    questions = ask(dataset.customers(), catalogue, cutoff, horizon_days)
    if not questions.customers:
        raise DataError(
            f"{dataset.folder}: no customer has 3 orders before {iso(cutoff)} and one in {horizon_days} days"
        )
    read = _read(rankings, questions, predictor)  # before the minutes that everything else takes
    remembered = Choices(choices / f"{_key(dataset, predictor, questions)}.json") if choices else None
    problem = Problem(questions, catalogue)
    settings = tune(baselines, problem, remembered)
    answers = {part: _Answers.of(predictor, questions, part) for part in PARTS}
    ranked: Rankings = {part: {MODEL: top_k(each.rates, TOP)} for part, each in answers.items()}
    others: dict[str, dict[str, Any]] = {}
    for each in baselines:
        for part, scores in each.answers(problem, settings[each.name]).items():
            ranked[part][each.name] = top_k(scores[: problem.asked], TOP)
            if each.chances:
                others.setdefault(each.name, {})[part] = _calibration(scores, scores, answers[part].baskets)
    for part, found in read:
        ranked[part].update(found)
    everything = _compared(ranked, questions, predictor)
    demand = totals(answers[HORIZON].chances, questions.everyone, answers[HORIZON].baskets, catalogue)
    report = {
        "cutoff": iso(cutoff),
        "horizon_days": horizon_days,
        "customers": len(questions.customers),
        **everything,
        "calibration": {
            part: _calibration(each.chances, each.everyones_rates, each.baskets) for part, each in answers.items()
        },
        "calibration_of": others,
        "settings": {name: dict(each) for name, each in settings.items()},
        "demand": demand.summary(),
    }
    return Evaluation(report, demand, catalogue.names)


@dataclass(frozen=True)
class _Answers:
    """The model's answers to one question, and what came of it.

    The next order is judged by the customers asked about; a horizon by everyone with a history, asked about first, for
    an order that does not come is part of the answer.
    """

    asked: int
    everyones_rates: np.ndarray
    chances: np.ndarray
    baskets: list[Basket]

    @classmethod
    def of(cls, predictor: Predictor, questions: Questions, part: str) -> "_Answers":
        people: list[Customer] = questions.customers if part == NEXT else questions.everyone
        days = NEXT_ORDER if part == NEXT else questions.horizon_days
        asked = [Question(each, questions.cutoff, days) for each in people]
        rates = predictor.rates(asked)
        baskets = questions.next_baskets if part == NEXT else questions.horizon_baskets + questions.other_baskets
        return cls(len(questions.customers), rates, predictor.calibrate(rates, asked), baskets)

    @property
    def rates(self) -> np.ndarray:
        """Those of the customers asked about, (R, V)."""
        return self.everyones_rates[: self.asked]


def _calibration(chances: np.ndarray, scores: np.ndarray, baskets: Sequence[Basket]) -> dict[str, Any]:
    """Over "all" pairs of customer and item, and over the "top20" items shown to each customer.

    Args:
        chances, scores: (R, V); items are shown by their score.
        baskets: what each row's customer bought.
    """
    happened = np.zeros(chances.shape, dtype=bool)
    for row, basket in enumerate(baskets):
        happened[row, basket.items] = True
    shown = top_k(scores, TOP)
    pairs = {
        "all": (chances, happened),
        f"top{TOP}": (np.take_along_axis(chances, shown, 1), np.take_along_axis(happened, shown, 1)),
    }
    return {
        name: {
            **calibration_metrics(*pair),
            "pairs": pair[0].size,
            "bins": [asdict(each) for each in reliability(*pair)],
        }
        for name, pair in pairs.items()
    }


def _check_names(baselines: Sequence[Baseline], rankings: Sequence[RankingFile]) -> None:
    taken = {(MODEL, part) for part in PARTS} | {(each.name, part) for each in baselines for part in PARTS}
    for each in rankings:
        for part in each.parts:
            if (each.name, part) in taken:
                raise SettingsError(f"--rankings {each.name}: another method already has this name")
            taken.add((each.name, part))


def _read(
    rankings: Sequence[RankingFile], questions: Questions, predictor: Predictor
) -> list[tuple[str, dict[str, np.ndarray]]]:
    customers = [each.customer_id for each in questions.customers]
    k = min(TOP, len(predictor.catalogue))
    found = [(each, each.read(customers, predictor.catalogue, k)) for each in rankings]
    return [(part, {each.name: ranked}) for each, ranked in found for part in each.parts]


def _key(dataset: Dataset, predictor: Predictor, questions: Questions) -> str:
    """Equal where baselines would be tuned on the same questions."""
    asked = [dataset.content_hash, questions.cutoff, questions.horizon_days, *predictor.catalogue.item_ids]
    return hashlib.sha256("\n".join(map(str, asked)).encode()).hexdigest()[:16]


def _compared(ranked: Rankings, questions: Questions, predictor: Predictor) -> dict[str, Any]:
    """The report's parts that compare methods."""
    ratings = mean_ratings(questions.everyone, predictor.catalogue)
    report: dict[str, Any] = {name: {} for name in (*PARTS, "intervals", "differences", "slices", "business", "bought")}
    for part, methods in ranked.items():
        baskets = questions.baskets(part)
        comparison = compare(methods, [each.items for each in baskets])
        report[part] = comparison.means
        report["intervals"][part] = _intervals(comparison.methods)
        report["differences"][part] = _plain(comparison.differences)
        report["slices"][part] = {
            name: _of_slice(compare({key: each[part_of.rows] for key, each in methods.items()}, part_of.truths))
            for name, part_of in slices(questions, baskets, predictor.catalogue).items()
        }
        report["business"][part] = {name: business_metrics(each, baskets, ratings) for name, each in methods.items()}
        report["bought"][part] = bought(baskets, ratings)
    return report


def _of_slice(comparison: Comparison) -> dict[str, Any]:
    return {
        "customers": comparison.customers,
        "methods": comparison.means,
        "intervals": _intervals(comparison.methods),
        "differences": _plain(comparison.differences),
    }


def _intervals(methods: Mapping[str, Mapping[str, Estimate]]) -> dict[str, dict[str, list[float]]]:
    return {name: {key: [each.low, each.high] for key, each in row.items()} for name, row in methods.items()}


def _plain(methods: Mapping[str, Mapping[str, Estimate]]) -> dict[str, dict[str, dict[str, float]]]:
    return {name: {key: asdict(each) for key, each in row.items()} for name, row in methods.items()}
