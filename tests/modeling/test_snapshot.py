"""Snapshots: what a process did not finish, or somebody altered, is never loaded."""

from pathlib import Path

import pytest

from demand.catalogue import Catalogue
from demand.errors import CheckpointError
from demand.formats import prompt_format
from demand.vocabulary import Vocabulary
from modeling.checkpoint import Checkpoint
from modeling.megatron.finetuning import FineTuning, Schedule
from modeling.megatron.model import DemandModel
from modeling.parallel import initialize
from modeling.settings import ModelSettings
from modeling.snapshot import checkpoint_of, load_snapshot, save_snapshot

SETTINGS = ModelSettings(layers=1, hidden=32, heads=2, ffn=64)


@pytest.fixture
def tuning(vocabulary: Vocabulary, catalogue: Catalogue) -> FineTuning:
    initialize(seed=1)
    model = DemandModel(SETTINGS, len(vocabulary), len(catalogue))
    return FineTuning(model, Schedule(1e-3, warmup_steps=1, total_steps=2, weight_decay=0.0, clip=1.0))


@pytest.fixture
def snapshot(tuning: FineTuning, vocabulary: Vocabulary, catalogue: Catalogue, tmp_path: Path) -> Path:
    description = Checkpoint(SETTINGS, prompt_format("compact"), vocabulary, catalogue, {})
    save_snapshot(tuning, description, {"losses": [1.0]}, tmp_path / "snapshot")
    return tmp_path / "snapshot"


def test_a_whole_snapshot_is_loaded(tuning: FineTuning, snapshot: Path) -> None:
    assert load_snapshot(tuning, snapshot) == {"losses": [1.0]}
    assert checkpoint_of(snapshot).settings == SETTINGS


def test_one_that_not_all_processes_finished_is_refused(tuning: FineTuning, snapshot: Path) -> None:
    (snapshot / "manifest-0-of-1.json").rename(snapshot / "manifest-0-of-2.json")

    with pytest.raises(CheckpointError, match="half-written: 1 of 2 processes finished it"):
        load_snapshot(tuning, snapshot)


def test_one_without_any_manifest_is_refused(tuning: FineTuning, snapshot: Path) -> None:
    (snapshot / "manifest-0-of-1.json").unlink()

    with pytest.raises(CheckpointError, match="half-written: 0 of 1"):
        load_snapshot(tuning, snapshot)


@pytest.mark.parametrize("what", ["shard", "plain"])
def test_a_file_cut_short_or_missing_is_refused_by_name(tuning: FineTuning, snapshot: Path, what: str) -> None:
    file = next(each for each in snapshot.iterdir() if each.name.startswith(what) and each.suffix == ".safetensors")
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(CheckpointError, match=rf"{file.name} is damaged"):
        checkpoint_of(snapshot)

    file.unlink()
    with pytest.raises(CheckpointError, match=rf"{file.name} is missing"):
        load_snapshot(tuning, snapshot)
