"""The GPU benchmark's script: a tiny shape runs through both sides anywhere, the others say what they need."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "train_gpu.py"


def test_a_tiny_shape_is_measured_on_both_sides(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"

    done = subprocess.run(
        [sys.executable, SCRIPT, "--shape", "tiny", "--rounds", "1", "--recompute", "--json", out],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    (shape,) = json.loads(out.read_text())
    (sides,) = shape["rounds"]
    assert shape["ratio"] == pytest.approx(
        sides["demandcast"]["tokens_per_second"] / sides["transformers"]["tokens_per_second"]
    )
    layer = 32 * (2 * 32 + 2 * 16) + 3 * 32 * 64
    pairs = 12 * 32 * 64 / 2
    layers = 2 * (6 * layer + pairs)
    assert sides["transformers"]["operations"] == layers + 6 * 32 * (256 + 2_222)
    habits = 128 * (29 + 6 + 128) * 64 / 2  # of each query with the items before it
    head = (32 * 32 + 32 * 128 + 32 * 2_222 + habits) * 20 / 64
    spared = (6 * 3 * 32 * 64 + pairs) * (1 - 20 / 64)  # the last layer works at the queries
    assert sides["demandcast"]["operations"] == pytest.approx(layers + 6 * head - spared)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_a_real_shape_is_refused_in_one_line() -> None:
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stderr.splitlines() == ["no GPU that PyTorch can use is here: only --shape tiny runs without one"]
