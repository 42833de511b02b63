"""`train --dry-run` as its users meet it: figures, refusals in one line, and nothing started or written."""

from pathlib import Path

import pytest

from demand.dataset import Dataset
from modeling import devices
from ray_app.presets import preset_names
from tests.ray_app.commandline import demandcast, last_json


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_is_estimated_for_eight_gpus_and_nothing_is_written(preset: str, home: Path) -> None:
    out, _ = demandcast(
        "train", "--preset", preset, "--workers", 8, "--set", "training.microbatches=8", "--dry-run", "--gpu", "h100",
        "--json", home=home,
    )  # fmt: skip

    found = last_json(out)
    assert found["fits"]
    assert found["layout"]["tensor"] * found["layout"]["pipeline"] * found["layout"]["copies"] == 8
    parts = ("weights", "gradients", "optimizer", "activations")
    assert found["memory_gib"]["total"] == pytest.approx(sum(found["memory_gib"][part] for part in parts))
    assert "2,222 items (no --data)" in found["assumed"]
    assert "assuming 40% of" in out
    assert not home.exists()


def test_a_dataset_brings_its_own_items_and_this_machine_its_memory(
    home: Path, shop: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_matmul_rate", lambda *_: 1e11)
    arguments = ("train", "--data", shop.folder, "--preset", "tiny", "--dry-run", "--device", "cpu", "--json")

    one = last_json(demandcast(*arguments, home=home)[0])
    two = last_json(demandcast(*arguments, "--workers", 2, home=home)[0])

    assert one["assumed"] == []
    assert one["parameters"]["total"] < last_json(
        demandcast("train", "--preset", "tiny", "--dry-run", "--json", home=home)[0]
    )["parameters"]["total"]  # fmt: skip
    assert two["memory_gib"]["device"] == pytest.approx(one["memory_gib"]["device"] / 2)
    assert two["tokens_per_second"] == pytest.approx(one["tokens_per_second"])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--gpu", "abacus"), "no device 'abacus': choose one of h100, a100-80gb"),
        (("--set", "layout.tensor=3"), "layout.tensor"),
        (("--gpu", "l4", "--workers", "3"), "--set training.microbatches=6"),
        (("--gpu", "l4", "--preset", "smollm2-135m", "--workers", "2", "--set", "layout.tensor=2"), "model.heads 9"),
        (("--data", "nowhere"), "nowhere is not a dataset folder"),
        (("--resume", "train-1"), "--dry-run is for a run that has not begun"),
        (
            ("--preset", "llama3-8b-lora", "--gpu", "h100", "--set", "layout.tensor=1", "--set",
             "layout.sequence_parallel=false", "--set", "layout.precision=fp32", "--set", "lora.rank=0"),
            "try --workers 4 --set layout.tensor=4",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line_that_names_what_to_change(
    home: Path, arguments: tuple[str, ...], named: str
) -> None:
    _, err = demandcast("train", "--dry-run", *arguments, home=home, code=2)

    assert named in err
    assert len(err.strip().splitlines()) == 1
