"""The end of a run: its best snapshot becomes a calibrated checkpoint."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from demand.dataset import Dataset
from demand.moments import iso
from modeling.checkpoint import save_checkpoint
from modeling.predictor import Predictor
from modeling.snapshot import checkpoint_of
from training.calibration import calibrate
from training.run import VALIDATION_DAYS, Plan, draw


def finish(plan: Plan, run: str, checkpoint: Path, metrics: dict[str, Any], out: Path) -> dict[str, Any]:
    """Makes a snapshot a checkpoint, calibrates it on the validation period and writes the model folder `out`.

    Returns:
        The model's card.
    """
    dataset = Dataset.open(plan.data)
    trained = checkpoint_of(checkpoint)
    customers = draw(dataset.customer_ids, plan.customers, plan.settings.training.seed)
    calibration = calibrate(Predictor(trained), dataset, customers, plan.training_end, VALIDATION_DAYS)
    card = {
        "run": run,
        "data": {key: dataset.manifest[key] for key in ("source", "content_hash", "customers", "orders")},
        "trained_before": iso(plan.training_end),
        "validated_before": iso(plan.cutoff),
        "customers": len(customers),
        "settings": plan.settings.model_dump(mode="json"),
        "validation": metrics,
    }
    save_checkpoint(replace(trained, calibration=calibration, card=card), out)
    return card
