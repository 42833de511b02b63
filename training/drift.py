"""Drift: what has changed since a model learned, in what comes in, in its quality, and in what its answers bring."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from demand.comparison import MODEL
from demand.conversion import Conversion, conversion_lead
from demand.dataset import Dataset, earlier
from demand.errors import DataError
from demand.moments import DAY, iso, moment
from demand.questions import HORIZON, NEXT
from demand.stability import INCOMING, Signal, incoming_signals, intakes
from modeling.predictor import Predictor

RANKING = "ndcg@10"
NORMAL_95 = 1.96


def trained_before(card: Mapping[str, Any]) -> int:
    """The moment from which on a model has learned from nothing."""
    return moment(card["trained_before"])


def validated_before(card: Mapping[str, Any]) -> int:
    """The moment from which on nothing of a model was chosen by what happened."""
    return moment(card["validated_before"])


def incoming(predictor: Predictor, dataset: Dataset, as_of: int, days: int) -> list[Signal]:
    """What came in within the days before a moment, against all that the model learned from.

    Raises:
        DataError: nothing came in.
    """
    then, start = trained_before(predictor.checkpoint.card), as_of - days * DAY
    beginning = moment(dataset.manifest["first_order"])
    lines = dataset.lines(INCOMING, earlier(as_of))
    before, now = intakes(lines, [(beginning, then), (max(start, then), as_of)], known_before=then)
    if not len(now.ts):
        raise DataError(f"{dataset.folder}: no order from {iso(max(start, then))[:10]} to {iso(as_of)[:10]}")
    if not len(before.ts):
        raise DataError(f"{dataset.folder}: no order before {iso(then)[:10]}, which the model learned from")
    items = zip(predictor.catalogue.rows(), predictor.catalogue.orders, strict=True)
    groups = {item["item_id"]: item["category"] or item["item_id"] for item, orders in items if orders}
    return incoming_signals(before, now, groups)


def quality(report: Mapping[str, Any], card: Mapping[str, Any]) -> list[Signal]:
    """How a model did on the newest days, by `training.evaluation.Evaluation.report`, against its own validation."""
    mean, (_, high) = report[NEXT][MODEL][RANKING], report["intervals"][NEXT][MODEL][RANKING]
    expected = card["validation"][RANKING]
    shown = report["calibration"][NEXT]["top20"]["ece"]
    bins = report["calibration"][HORIZON]["all"]["bins"]
    came, said = (sum(each[key] * each["count"] for each in bins) for key in ("happened", "predicted"))
    return [
        Signal(
            RANKING,
            f"next order nDCG@10 {mean:.4f}, in validation {expected:.4f}",
            (expected - mean) / expected,
            (high - mean) / expected,
        ),
        Signal("calibration-error", f"chances of the 20 items shown are off by {shown:.2%} on average", shown),
        Signal(
            "purchases",
            f"{came:,.0f} items were bought within {report['horizon_days']} days where {said:,.0f} were expected",
            abs(came / said - 1),
            NORMAL_95 / max(came, 1) ** 0.5,  # as if purchases were independent
        ),
    ]


def converted(now: Conversion, before: Conversion) -> Signal:
    """What the model's answers brought of late, against what answers brought before; both showed something."""
    lead = conversion_lead(now, before)
    text = f"{now.rate:.2%} of what was shown was bought, {before.rate:.2%} before"
    return Signal("conversion", text, -lead.mean / before.rate, (lead.high - lead.mean) / before.rate)


def together(conversions: Iterable[Conversion]) -> Conversion:
    """Of several models as if they were one; nothing shown where there are none."""
    each = [*conversions, Conversion(np.zeros(0), np.zeros(0))]
    return Conversion(np.concatenate([one.shown for one in each]), np.concatenate([one.bought for one in each]))


def wins(report: Mapping[str, Any], over: str) -> bool:
    """Whether a model is to take another's place: its lead in nDCG@10 of the next order is beyond chance, and it is
    not beyond chance behind in recall@20 of the horizon."""
    leads = report["differences"]
    return bool(leads[NEXT][over][RANKING]["low"] > 0 and leads[HORIZON][over]["recall@20"]["high"] >= 0)
