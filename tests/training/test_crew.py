"""A worker that the layout has no use for waits for the others, and none of them for it."""

from pathlib import Path

import pytest
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from tests.training.runs import work

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.mark.drill
def test_of_three_workers_two_work_in_a_layout_of_two(tmp_path: Path) -> None:
    trainer = TorchTrainer(
        work,  # type: ignore[arg-type]
        train_loop_config={"scratch": str(tmp_path)},
        scaling_config=ScalingConfig(num_workers=3, resources_per_worker={"CPU": 0.5}),
        run_config=RunConfig(name="crew", storage_path=str(tmp_path / "runs")),
    )

    result = trainer.fit()

    assert result.return_value == 2
    assert result.metrics == {"number": 1}
    assert sorted(file.name for file in Path(result.checkpoint.path).iterdir()) == ["part-0", "part-1"]
