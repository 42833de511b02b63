"""A model's card: what it learned from, when, how good it is for whom, and what it cannot do (Mitchell et al., FAT*
2019, arXiv:1810.03993). Judged on the validation period; the test is for reporting alone."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from demand.catalogue import Catalogue
from demand.dataset import Dataset
from demand.errors import DataError
from demand.metrics import top_k
from demand.moments import DAY, moment
from demand.protocols import VALIDATION, Protocol
from demand.questions import HORIZON, NEXT
from demand.slices import Slice, slices
from demand.vocabulary import LONGEST_HORIZON
from modeling.calibration import Calibration
from modeling.predictor import Predictor
from training.calibration import sampled
from training.evaluation import TOP, Answers, judged_chances
from training.settings import PrivacySettings

INTENDED_USE = (
    "Tells what customers of the shop whose data it learned from will buy, how much of it and when: to order goods, to "
    "choose what to show and whom to ask. Not for another shop, and not for decisions on people's rights, credit or "
    "prices."
)
FEW = 100
"""Customers, below whom figures are rough."""
YEAR = 365


def described(dataset: Dataset, customers: int) -> dict[str, Any]:
    """The data: where it came from, how much of it there is, and a hash that equal data has, too.

    Args:
        customers: who took part.
    """
    known = ("source", "content_hash", "customers", "orders", "first_order", "last_order", "rows")
    return {**{name: dataset.manifest[name] for name in known if name in dataset.manifest}, "took_part": customers}


def judged(
    predictor: Predictor, calibration: Calibration, dataset: Dataset, customers: Sequence[str], protocol: Protocol
) -> dict[str, Any]:
    """What the card says of validation: "horizon_days" (null where none is asked about), "quality", by question and
    slice, and "calibration", what was fitted and how near chances came.

    Customers are others than those whom the curves were fitted to, if there are enough.

    Args:
        predictor: of the model that was chosen, which has not learned from validation.
    """
    fitted, others = sampled(customers), sampled(customers, other=True)
    questions = protocol.questions(dataset, others, predictor.catalogue, VALIDATION)
    horizon = {"horizon_days": protocol.horizon_days(VALIDATION) or None}
    told = {"fitted": calibration.model_dump(), "customers_fitted": len(fitted), "held_out": others != fitted}
    if not questions.customers:
        return {**horizon, "quality": {}, "calibration": told}
    quality: dict[str, Any] = {}
    reliability: dict[str, Any] = {}
    for part in questions.parts:
        answers = Answers.of(predictor, questions, part)
        ranked = top_k(answers.rates, TOP)
        baskets = questions.baskets(part)
        parts = slices(questions, baskets, predictor.catalogue)
        parts["all"] = Slice(np.arange(len(baskets)), [each.items for each in baskets])
        quality[part] = {
            name: {"customers": len(each.rows), **_means(ranked[each.rows], each.truths, protocol)}
            for name, each in parts.items()
        }
        days = questions.horizon_days if part == HORIZON else 0
        chances = calibration.chance(answers.everyones_rates, days)
        reliability[part] = judged_chances(chances, answers.everyones_rates, answers.baskets)
    return {**horizon, "quality": quality, "calibration": {**told, "reliability": reliability}}


def promised(privacy: PrivacySettings, account: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What the card says of differential privacy: epsilon and delta, and by what noise and draw they are kept; nothing
    where nothing was promised.

    Args:
        account: training.accounts.Account, as a snapshot keeps it.
    """
    return {"epsilon": privacy.epsilon, "delta": privacy.delta, **account} if account else None


def _means(ranked: np.ndarray, truths: Sequence[np.ndarray], protocol: Protocol) -> dict[str, float]:
    measured = protocol.measure(ranked, truths)
    return {name: float(measured[name].mean()) for name in protocol.metrics}


def limits(card: Mapping[str, Any], catalogue: Catalogue, refit: bool) -> list[str]:
    """What the model cannot do, or nobody knows whether it can, in sentences that follow from its card.

    Args:
        catalogue: with the sales that it learned from.
        refit: whether the weights learned from the validation orders too, after they were judged.
    """
    return [*_of_data(card["data"], card["trained_before"], catalogue), *_of_quality(card, refit), *_of_privacy(card)]


def _of_privacy(card: Mapping[str, Any]) -> Iterator[str]:
    if promise := card["privacy"]:
        yield (
            f"Differential privacy (epsilon {promise['epsilon']:g}, delta {promise['delta']:g}) is promised of what "
            "training learned from each customer; sums of sales, words of profiles, calibration and figures are exact."
        )


def _of_data(data: Mapping[str, Any], trained_before: str, catalogue: Catalogue) -> Iterator[str]:
    if never_sold := int((catalogue.orders == 0).sum()):
        yield f"{never_sold:,} of {len(catalogue):,} items were in no order it learned from; their names alone tell."
    rows = data.get("rows", {})
    for table, what in (("reviews", "reviews"), ("browsing", "browsing"), ("customers", "demographics")):
        if rows and not rows.get(table):
            yield f"The data held no {what}: it has not learned what these tell."
    if rows.get("quarantine"):
        yield f"{rows['quarantine']:,} rows of the source were left out at the import."
    try:
        days = (moment(trained_before) - moment(data["first_order"])) // DAY
    except (DataError, KeyError):  # each customer's end is another, or an import does not say when data begins
        return
    if days < 2 * YEAR:
        met = "has not met every season" if days < YEAR else "has met no season twice"
        yield f"It learned from {days:,} days, so it {met}."


def _of_quality(card: Mapping[str, Any], refit: bool) -> Iterator[str]:
    quality = card["quality"]
    if not quality:
        yield "Too few customers ordered in the validation period to say how good it is."
        return
    if HORIZON not in quality:
        yield "It was asked about the next order alone: it cannot be relied on for a horizon."
    else:
        yield (
            f"It was judged on the {card['horizon_days']} days before {card['validated_before']}; longer horizons, "
            f"up to {LONGEST_HORIZON} days, were not judged, nor how long it stays as good."
        )
        yield (
            "Whether its forecast intervals hold was not judged; those of departments were too narrow on The Complete "
            "Journey, those of items and categories were not (docs/uses.md)."
        )
    if refit:
        yield "All figures are of the model before it learned from the validation orders too."
    by_slice = {name: each for name, each in quality[NEXT].items() if name != "all"}
    for name, each in by_slice.items():
        if each["customers"] < FEW:
            yield f"Figures for '{name}' are of {each['customers']} customers only."
    usual = quality[NEXT]["all"]["ndcg@10"]
    worst, low = min(((name, each["ndcg@10"]) for name, each in by_slice.items()), key=lambda each: each[1])
    yield f"It is worst for '{worst}': ndcg@10 {low:.3f} in the next order, against {usual:.3f} for all."
    off = card["calibration"]["reliability"][NEXT][f"top{TOP}"]["ece"]
    yield f"The chances of the {TOP} items likeliest in a next order were off by {off:.3f} on average."
