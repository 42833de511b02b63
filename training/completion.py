"""The end of a run: its best snapshot becomes a calibrated checkpoint."""

from dataclasses import replace
from typing import Any

from demand.dataset import draw
from demand.locations import Location
from demand.moments import iso
from demand.protocols import TEST, VALIDATION
from modeling.checkpoint import save_checkpoint
from modeling.golden import golden_requests
from modeling.predictor import Predictor
from modeling.snapshot import checkpoint_of
from training.calibration import calibrate
from training.card import INTENDED_USE, described, judged, limits, promised
from training.run import Plan


def finish(
    plan: Plan, run: str, checkpoint: Location, metrics: dict[str, Any], out: Location, refit: Location | None = None
) -> dict[str, Any]:
    """Makes a snapshot a checkpoint, calibrates it on validation and writes the model folder `out`.

    Args:
        refit: the snapshot whose weights are kept in place of the other's, of a model that learned from the validation
            orders too. It cannot be calibrated on them, so it takes the calibration of the model that was chosen.

    Returns:
        The model's card.
    """
    dataset = plan.dataset()
    trained = checkpoint_of(checkpoint)
    customers = draw(dataset.customer_ids, plan.customers, plan.settings.training.seed)
    predictor = Predictor(trained)
    calibration = calibrate(predictor, dataset, customers, plan.protocol)
    card: dict[str, Any] = {
        "run": run,
        "intended_use": INTENDED_USE,
        "data": described(dataset, len(customers)),
        "protocol": plan.protocol.name,
        "trained_since": plan.since and iso(plan.since),
        "trained_before": plan.protocol.boundary(TEST if refit else VALIDATION),
        "validated_before": plan.protocol.boundary(TEST),
        "customers": len(customers),
        "settings": plan.settings.model_dump(mode="json"),
        "privacy": promised(plan.settings.privacy, trained.card["account"]),
        "validation": metrics,
        **judged(predictor, calibration, dataset, customers, plan.protocol),
    }
    kept = checkpoint_of(refit) if refit else trained
    card["limits"] = limits(card, kept.catalogue, refit is not None)
    kept = replace(kept, calibration=calibration, card=card)
    save_checkpoint(replace(kept, golden=golden_requests(Predictor(kept))), out)
    return card
