"""A registered model learns on from newer data."""

from collections.abc import Mapping, Sequence
from typing import Any

from demand.errors import SettingsError
from demand.locations import Location
from demand.moments import DAY, moment
from demand.protocols.cutoff import VALIDATION_DAYS
from modeling.checkpoint import load_checkpoint
from modeling.registry import ModelVersion
from ray_app import jobs
from ray_app.home import Home
from training.drift import trained_before
from training.run import Plan
from training.settings import parse_assignment, settings_from

FINE_TUNING: Mapping[str, Any] = {"training.epochs": 2, "training.refit": True}
RATE_SHARE = 0.3
"""Of the rate that a model learned all by: it has learned most of it already. One that learned on before keeps its."""


def fine_tuning(
    model: ModelVersion,
    data: Location,
    cutoff: str,
    home: Home,
    assignments: Sequence[str] = (),
    customers: int | None = None,
    workers: int = 1,
) -> Plan:
    """A plan by which a model learns on: from questions since it last learned, and of four weeks before validation at
    least. The model stays as it is; its settings hold, but for these and for `assignments`, as --set takes them.

    Raises:
        SettingsError: the model does not tell how it was trained, or a setting is unknown.
    """
    card = load_checkpoint(model.checkpoint).card
    if "settings" not in card:
        raise SettingsError(f"{model} does not tell how it was trained: only one that 'train' made can learn on")
    settings = settings_from(card["settings"])
    rate = settings.training.learning_rate * (1 if card.get("trained_since") else RATE_SHARE)
    values = {**FINE_TUNING, "training.learning_rate": rate, "base": str(model)}
    settings = settings.with_values({**values, **dict(parse_assignment(each) for each in assignments)})
    plan = jobs.make_plan(data, settings, cutoff, customers, workers, home, name=model.name)
    return plan.model_copy(update={"since": min(trained_before(card), moment(cutoff) - 2 * VALIDATION_DAYS * DAY)})
