"""The whole chain on the Complete Journey at the smallest size; a second run reuses the first."""

import json
import os
import subprocess
import sys
from pathlib import Path

from modeling.registry import Registry
from ray_app.chain import BASELINES
from ray_app.cluster import free_port


def test_the_whole_chain_runs_and_is_reused(tmp_path: Path) -> None:
    sizes = ["--preset", "tiny", "--customers", "60", "--tune-customers", "40", "--trials", "1"]
    command = [sys.executable, "-m", "ray_app.cli", "run", *sizes, "--port", str(free_port()), "--json"]
    results = []
    for _ in range(2):
        process = subprocess.run(
            command, env={**os.environ, "DEMANDCAST_HOME": str(tmp_path)}, capture_output=True, text=True, timeout=3_000
        )
        assert process.returncode == 0, process.stdout + process.stderr
        results.append(json.loads(process.stdout.strip().splitlines()[-1]))
        if len(results) == 1:
            assert Registry(tmp_path).resolve("demand@champion").version == 2
            Registry(tmp_path).promote("demand@1")  # the sweep's, which a second run is to leave as it is
            (tuned,) = (tmp_path / "chain").glob("tune-*.json")
            tuned.unlink()  # as if the first had been killed just before

    first, second = results
    assert set(first["seconds"]) == {"import", "tune", "train", "evaluate", "serve"}
    assert set(first["evaluation"]["next_order"]) == {"model", *BASELINES.split(",")}
    assert abs(first["evaluation"]["next_order"]["tifu-knn"]["ndcg@10"] - 0.3070) < 0.005
    assert abs(first["evaluation"]["next_order"]["tifu-knn"]["recall@20"] - 0.3341) < 0.005
    assert len(first["answer"]["demands"]) == 10
    assert second["model"] == first["model"]
    assert second["evaluation"] == first["evaluation"]
    assert "reusing" in process.stdout
    assert len([*(tmp_path / "sweeps").glob("*.json")]) == 1
    assert first["model"] == "demand@2"
    assert Registry(tmp_path).resolve("demand@champion").version == 1
