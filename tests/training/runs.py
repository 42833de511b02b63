"""Runs on the tests' shop, and their loss curves."""

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from ray.train import Result

from demand.dataset import Dataset
from demand.moments import moment
from demand.protocols import Cutoff
from modeling.layout import LayoutSettings
from modeling.state import load_state
from ray_app.presets import load_settings
from tests.conftest import CUTOFF
from training.crew import crew
from training.run import Plan


def plan(shop: Dataset, workers: int = 1, **settings: object) -> Plan:
    values = {f"training.{name}": value for name, value in settings.items()}
    settings = load_settings("tiny").with_values(values)
    return Plan(data=shop.folder, settings=settings, protocol=Cutoff(cutoff=moment(CUTOFF)), workers=workers)


def losses(result: Result) -> list[float]:
    """The curve of a run up to its last checkpoint."""
    assert result.checkpoint is not None
    return load_state(Path(result.checkpoint.path), "plain")["extra"]["losses"]


def work(config: dict[str, Any]) -> int | None:
    """Two reports of those who work, who add up how many they are."""
    with crew(LayoutSettings(tensor=2), microbatches=4) as member:
        if not member.works:
            member.attend()
            return None
        count = torch.ones(1)
        dist.all_reduce(count)
        for number in range(2):
            folder = Path(config["scratch"]) / f"{member.rank}-{number}"
            folder.mkdir()
            (folder / f"part-{member.rank}").write_text(str(number))
            member.report({"number": number}, folder)
    return int(count)
