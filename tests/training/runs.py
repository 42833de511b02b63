"""Runs on the tests' shop, and their loss curves."""

from pathlib import Path

from ray.train import Result

from demand.dataset import Dataset
from demand.moments import moment
from modeling.state import load_state
from ray_app.presets import load_settings
from tests.conftest import CUTOFF
from training.run import Plan


def plan(shop: Dataset, workers: int = 1, **settings: object) -> Plan:
    values = {f"training.{name}": value for name, value in settings.items()}
    return Plan(
        data=shop.folder, settings=load_settings("tiny").with_values(values), cutoff=moment(CUTOFF), workers=workers
    )


def losses(result: Result) -> list[float]:
    """The curve of a run up to its last checkpoint."""
    assert result.checkpoint is not None
    return load_state(Path(result.checkpoint.path), "plain")["extra"]["losses"]
