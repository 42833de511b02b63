"""A state folder with a model that `train` made, for all tests of commands that need one."""

from pathlib import Path

import pytest

from demand.dataset import Dataset
from tests.conftest import CUTOFF
from tests.ray_app.commandline import demandcast, last_json


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def training(shop: Dataset) -> tuple[object, ...]:
    """A run of several checkpoints."""
    longer = ("training.reports_per_epoch=6", "training.microbatch_tokens=256", "training.epochs=4")
    settings = [word for assignment in longer for word in ("--set", assignment)]
    return ("train", "--data", shop.folder, "--preset", "tiny", "--cutoff", CUTOFF, *settings)


@pytest.fixture(scope="session")
def trained(ray_cluster: None, home: Path, training: tuple[object, ...]) -> dict:
    """What `train --json` printed; its model is the champion."""
    out, _ = demandcast(*training, "--json", home=home)
    return {**last_json(out), "out": out}
