"""Evaluation: a model, the baselines and rankings from files answer the same questions about the same customers."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from demand.baselines.baseline import Baseline
from demand.baselines.problem import Problem
from demand.baselines.tuning import Choices, tune
from demand.comparison import MODEL, Comparison, Estimate, compare
from demand.customer import Customer
from demand.dataset import Dataset
from demand.errors import DataError, SettingsError
from demand.locations import Location
from demand.metrics import top_k
from demand.moments import iso
from demand.prompts import NEXT_ORDER
from demand.protocols import TEST, Cutoff, Protocol
from demand.questions import HORIZON, NEXT, Basket, Question, Questions
from demand.rankings import RankingFile
from demand.reliability import calibration_metrics, ranking_chance, reliability
from demand.slices import slices
from demand.value import bought, business_metrics, mean_ratings
from modeling.predictor import Predictor
from training.drift import validated_before
from training.totals import Totals, totals

TOP = 20
Rankings = dict[str, dict[str, np.ndarray]]
"""By question and method: (R, TOP) item indices, best first."""


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        report: plain JSON values. "protocol", "cutoff" and "horizon_days" (null where it has none), "customers"; by
            question (`demand.questions.PARTS`, as far as the protocol asks them) and method the means of the protocol's
            metrics; under "intervals", "differences", "slices", "calibration", "business" and "bought" more by
            question; "unseen", by question how well the items are ranked that nobody had bought, among themselves, by
            customers who bought one (not by rankings from files); "calibration_of", by method and question, of the
            baselines whose scores are chances; "settings" of the baselines; "demand", the totals summed up; "orders",
            how good the chance is that a customer orders at all within the horizon, over all customers with a history;
            "published", by method what the literature reports, where it does.
        totals: demand of the horizon by item, over all customers with a history; None without a horizon.
        items: the items' names, in the order of the totals.
    """

    report: dict[str, Any]
    totals: Totals | None
    items: list[str]


def evaluate(
    predictor: Predictor,
    dataset: Dataset,
    protocol: Protocol,
    baselines: Sequence[Baseline] = (),
    rankings: Sequence[RankingFile] = (),
    choices: Location | None = None,
) -> Evaluation:
    """Compares a model with baselines and with rankings from files.

    Baselines see all that lies before the test, validation too, and so does the model's table of sales.

    Args:
        protocol: who is asked what, and by which metrics the answers are judged.
        choices: folder in which the baselines' chosen settings are remembered.

    Raises:
        SettingsError: two methods have one name, a baseline cannot answer by the protocol, or the model learned by
            another or by what came after the cutoff.
        DataError: nobody can be asked; a file of rankings is not what it should be.
    """
    check_protocol(predictor, protocol)
    if isinstance(protocol, Cutoff):
        _check_cutoff(predictor, protocol.cutoff)
    dataset = protocol.of(dataset)
    predictor.read_sales(protocol.lines(dataset, TEST))
    catalogue = predictor.catalogue
    questions = protocol.questions(dataset, dataset.customer_ids, catalogue, TEST)
    parts = questions.parts
    _check_names(baselines, rankings, parts)
    for each in baselines:
        if each.one_moment and HORIZON not in parts:
            raise SettingsError(f"baseline '{each.name}' asks everyone at one moment, which {protocol.name} does not")
    if not questions.customers:
        then = (
            f"{iso(questions.cutoff)} and one in {questions.horizon_days} days" if HORIZON in parts else "the last one"
        )
        raise DataError(f"{dataset.folder}: no customer has {protocol.fewest(TEST)} orders before {then}")
    read = _read(rankings, questions, predictor)  # before the minutes that everything else takes
    remembered = Choices(choices / f"{_key(dataset, predictor, questions)}.json") if choices else None
    problem = Problem(questions, catalogue)
    settings = tune(baselines, problem, remembered)
    answers = {part: Answers.of(predictor, questions, part) for part in parts}
    unseen = np.flatnonzero(catalogue.orders == 0)
    ranked: Rankings = {part: {MODEL: top_k(each.rates, TOP)} for part, each in answers.items()}
    ranked_unseen: Rankings = {part: {MODEL: _among(unseen, each.rates)} for part, each in answers.items()}
    others: dict[str, dict[str, Any]] = {}
    for each in baselines:
        for part, scores in each.answers(problem, settings[each.name]).items():
            if part not in parts:
                continue
            ranked[part][each.name] = top_k(scores[: problem.asked], TOP)
            ranked_unseen[part][each.name] = _among(unseen, scores[: problem.asked])
            if each.chances:
                others.setdefault(each.name, {})[part] = judged_chances(scores, scores, answers[part].baskets)
    for part, found in read:
        ranked[part].update(found)
    demand = None
    if HORIZON in parts:
        demand = totals(answers[HORIZON].purchases, questions.everyone, answers[HORIZON].baskets, catalogue)
    days = questions.horizon_days
    report = {
        "protocol": protocol.name,
        "cutoff": iso(questions.cutoff) if days else None,
        "horizon_days": days or None,
        "customers": len(questions.customers),
        **_compared(ranked, questions, predictor, protocol),
        "unseen": _of_unseen(ranked_unseen, questions, unseen, protocol),
        "calibration": {
            part: judged_chances(each.chances, each.everyones_rates, each.baskets) for part, each in answers.items()
        },
        "calibration_of": others,
        "settings": {name: dict(each) for name, each in settings.items()},
        **({"demand": demand.summary(), "orders": _orders(answers[HORIZON])} if demand else {}),
        **({"published": protocol.published} if protocol.published else {}),
    }
    return Evaluation(report, demand, catalogue.names)


def check_protocol(predictor: Predictor, protocol: Protocol) -> None:
    """Raises SettingsError where a model learned by another protocol, and so may have seen the answers."""
    learned = predictor.checkpoint.card.get("protocol", "cutoff")
    if learned != protocol.name:
        raise SettingsError(
            f"this model learned by the protocol {learned} and may have seen what the protocol {protocol.name} asks: "
            f"train one with --protocol {protocol.name}"
        )


def _check_cutoff(predictor: Predictor, cutoff: int) -> None:
    """Raises SettingsError where a model learned from, or was chosen by, what it would be asked about."""
    card = predictor.checkpoint.card
    if "validated_before" in card and validated_before(card) > cutoff:
        learned, asked = iso(validated_before(card)), iso(cutoff)
        raise SettingsError(
            f"this model learned from, or was chosen by, what came before {learned} and so after {asked}: evaluate it "
            f"with --cutoff {learned}, or train one with --cutoff {asked}"
        )


@dataclass(frozen=True)
class Answers:
    """The model's answers to one question, and what came of it.

    The next order is judged by the customers asked about; a horizon by everyone with a history, asked about first, for
    an order that does not come is part of the answer.

    Attributes:
        asked: how many are asked about.
        orders: (R,) the chance that each customer orders at all.
        everyones_rates, chances, purchases: (R, V), see modeling.predictor.
        baskets: what each customer bought.
    """

    asked: int
    orders: np.ndarray
    everyones_rates: np.ndarray
    chances: np.ndarray
    purchases: np.ndarray
    baskets: list[Basket]

    @classmethod
    def of(cls, predictor: Predictor, questions: Questions, part: str) -> "Answers":
        people: list[Customer] = questions.customers if part == NEXT else questions.everyone
        days = NEXT_ORDER if part == NEXT else questions.horizon_days
        moments = questions.moments if part == NEXT else [questions.cutoff] * len(people)
        asked = [Question(each, moment, days) for each, moment in zip(people, moments, strict=True)]
        forecasts = predictor.forecasts(asked)
        orders, rates = forecasts[:, 0], forecasts[:, 1:]
        baskets = questions.next_baskets if part == NEXT else questions.horizon_baskets + questions.other_baskets
        chances = predictor.calibrate(rates, asked)
        purchases = predictor.purchases(rates, chances, asked)
        return cls(len(questions.customers), orders, rates, chances, purchases, baskets)

    @property
    def rates(self) -> np.ndarray:
        """Those of the customers asked about, (R, V)."""
        return self.everyones_rates[: self.asked]


def judged_chances(chances: np.ndarray, scores: np.ndarray, baskets: Sequence[Basket]) -> dict[str, Any]:
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


def _orders(answers: Answers) -> dict[str, float]:
    """ "auc", which is left out where all ordered or nobody did, and the calibration of the chance of an order."""
    ordered = np.array([len(each.items) > 0 for each in answers.baskets])
    auc = ranking_chance(answers.orders, ordered)
    return {
        "customers": len(ordered),
        "ordered": float(ordered.mean()),
        **({} if np.isnan(auc) else {"auc": auc}),
        **calibration_metrics(answers.orders, ordered),
    }


def _check_names(baselines: Sequence[Baseline], rankings: Sequence[RankingFile], parts: Sequence[str]) -> None:
    taken = {(MODEL, part) for part in parts} | {(each.name, part) for each in baselines for part in parts}
    for each in rankings:
        for part in set(parts) & set(each.parts):
            if (each.name, part) in taken:
                raise SettingsError(f"--rankings {each.name}: another method already has this name")
            taken.add((each.name, part))


def _read(
    rankings: Sequence[RankingFile], questions: Questions, predictor: Predictor
) -> list[tuple[str, dict[str, np.ndarray]]]:
    customers = [each.customer_id for each in questions.customers]
    k = min(TOP, len(predictor.catalogue))
    found = [(each, each.read(customers, predictor.catalogue, k)) for each in rankings]
    return [(part, {each.name: ranked}) for each, ranked in found for part in each.parts if part in questions.parts]


def _key(dataset: Dataset, predictor: Predictor, questions: Questions) -> str:
    """Equal where baselines would be tuned on the same questions."""
    asked = [dataset.content_hash, questions.cutoff, questions.horizon_days, *predictor.catalogue.item_ids]
    return hashlib.sha256("\n".join(map(str, asked)).encode()).hexdigest()[:16]


def _compared(ranked: Rankings, questions: Questions, predictor: Predictor, protocol: Protocol) -> dict[str, Any]:
    """The report's parts that compare methods."""
    ratings = mean_ratings(questions.everyone, predictor.catalogue)
    report: dict[str, Any] = {
        name: {} for name in (*ranked, "intervals", "differences", "slices", "business", "bought")
    }
    comparing = partial(compare, measure=protocol.measure, metrics=protocol.metrics)
    for part, methods in ranked.items():
        baskets = questions.baskets(part)
        comparison = comparing(methods, [each.items for each in baskets])
        report[part] = comparison.means
        report["intervals"][part] = _intervals(comparison.methods)
        report["differences"][part] = _plain(comparison.differences)
        report["slices"][part] = {
            name: _of_slice(comparing({key: each[part_of.rows] for key, each in methods.items()}, part_of.truths))
            for name, part_of in slices(questions, baskets, predictor.catalogue).items()
        }
        report["business"][part] = {name: business_metrics(each, baskets, ratings) for name, each in methods.items()}
        report["bought"][part] = bought(baskets, ratings)
    return report


def _among(items: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The best TOP of some items, (R, TOP) or as many as there are."""
    best: np.ndarray = items[top_k(scores[:, items], TOP)]
    return best


def _of_unseen(ranked: Rankings, questions: Questions, unseen: np.ndarray, protocol: Protocol) -> dict[str, Any]:
    """By question, where anybody bought one."""
    report = {}
    for part, methods in ranked.items():
        truths = [np.intersect1d(each.items, unseen) for each in questions.baskets(part)]
        rows = [row for row, truth in enumerate(truths) if len(truth)]
        if rows:
            chosen = {name: each[rows] for name, each in methods.items()}
            found = compare(chosen, [truths[row] for row in rows], protocol.measure, protocol.metrics)
            report[part] = {"items": len(unseen), **_of_slice(found)}
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
