"""The end of a run: its best snapshot becomes a calibrated checkpoint."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from modeling.checkpoint import save_checkpoint
from modeling.predictor import Predictor
from modeling.snapshot import checkpoint_of
from training.calibration import calibrate
from training.run import Plan, draw


def finish(plan: Plan, run: str, checkpoint: Path, metrics: dict[str, Any], out: Path) -> dict[str, Any]:
    """Makes a snapshot a checkpoint, calibrates it on validation and writes the model folder `out`.

    Returns:
        The model's card.
    """
    dataset = plan.dataset()
    trained = checkpoint_of(checkpoint)
    customers = draw(dataset.customer_ids, plan.customers, plan.settings.training.seed)
    calibration = calibrate(Predictor(trained), dataset, customers, plan.protocol)
    card = {
        "run": run,
        "data": {key: dataset.manifest[key] for key in ("source", "content_hash", "customers", "orders")},
        "protocol": plan.protocol.name,
        **plan.protocol.described(),
        "customers": len(customers),
        "settings": plan.settings.model_dump(mode="json"),
        "validation": metrics,
    }
    save_checkpoint(replace(trained, calibration=calibration, card=card), out)
    return card
