"""Ray Train for real: workers, checkpoints, faults."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import ray
from opacus.accountants import PRVAccountant

from demand.dataset import Dataset
from demand.errors import DataError, SettingsError
from demand.moments import moment
from demand.protocols import Cutoff
from modeling.predictor import Predictor
from tests.training.runs import losses, plan
from training.completion import finish
from training.run import Prepared, best, fit, prepare

pytestmark = pytest.mark.usefixtures("ray_cluster")


def test_two_workers_see_the_loss_of_one_on_the_same_global_batches(
    undisturbed: list[float], undisturbed_with_two: list[float]
) -> None:
    assert undisturbed_with_two[0] == pytest.approx(undisturbed[0], abs=1e-4)
    assert undisturbed_with_two[:5] == pytest.approx(undisturbed[:5], abs=1e-3)


@pytest.mark.drill
def test_a_run_whose_driver_is_killed_frees_its_processors_also_beside_another_cluster(
    one: Prepared, tmp_path: Path
) -> None:
    """What Ray Tune does to a trial that it stops early, while another command's Ray runs on the same machine."""
    beside = "import ray, sys; ray.init(address='local', num_cpus=1); print(flush=True); sys.stdin.read()"
    drive = ray.remote(num_cpus=0)(lambda: fit(one, "abandoned", tmp_path, processors=1))
    with subprocess.Popen([sys.executable, "-c", beside], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()

        driver = drive.remote()
        wait_until(lambda: any(tmp_path.glob("abandoned/checkpoint_*")))
        assert ray.available_resources()["CPU"] == 1
        ray.cancel(driver, force=True)

        wait_until(lambda: ray.available_resources()["CPU"] == 2)
        other.communicate()


def wait_until(seen: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"layout.tensor": 2}, id="tensor"),
        pytest.param({"layout.pipeline": 2, "model.layers": 2}, id="pipeline", marks=pytest.mark.drill),
    ],
)
def test_workers_share_one_model_and_it_becomes_a_calibrated_checkpoint(
    shop: Dataset, undisturbed: list[float], tmp_path: Path, values: dict[str, int]
) -> None:
    base = plan(shop, workers=2, microbatch_tokens=256)
    spread = base.model_copy(update={"settings": base.settings.with_values(values)})

    result = fit(prepare(spread), "spread", tmp_path, processors=1)
    checkpoint, metrics = best(result, tmp_path)
    card = finish(spread, "spread", checkpoint, metrics, tmp_path / "model")

    assert card["data"]["content_hash"] == shop.content_hash
    assert card["validation"]["ndcg@10"] > 0.4
    by_slice = card["quality"]["next_order"]
    assert by_slice["all"]["customers"] == by_slice["with demographics"]["customers"] == 40
    assert by_slice["repeat items"]["ndcg@10"] == by_slice["all"]["ndcg@10"]  # all buy favourites of their own
    assert not card["calibration"]["held_out"]  # all 40 were needed to fit
    assert sum(each["count"] for each in card["calibration"]["reliability"]["next_order"]["top20"]["bins"]) == 40 * 20
    assert "The data held no reviews: it has not learned what these tell." in card["limits"]
    names = {file.name for file in (tmp_path / "model").iterdir()}
    assert {"model.safetensors", "manifest.json", "calibration.json"} <= names
    assert not any(name.startswith(("shard", "plain")) for name in names)
    assert Predictor.load(tmp_path / "model").checkpoint.settings == spread.settings.model
    if "layout.tensor" in values:  # a pipeline needs another model, whose numbers are others
        assert losses(result)[:5] == pytest.approx(undisturbed[:5], abs=1e-3)


def test_a_private_run_learns_from_customers_drawn_by_chance_and_says_what_it_promises(
    shop: Dataset, tmp_path: Path
) -> None:
    base = plan(shop, workers=2, epochs=2, microbatches=3)
    private = base.model_copy(
        update={"settings": base.settings.with_values({"privacy.epsilon": 4, "privacy.customers_per_step": 10})}
    )

    prepared = prepare(private)
    rows = prepared.training.select_columns(["step", "lengths"]).to_pandas()
    result = fit(prepared, "private", tmp_path, processors=1)
    checkpoint, metrics = best(result, tmp_path, private=True)
    promise = finish(private, "private", checkpoint, metrics, tmp_path / "model")["privacy"]

    assert rows.step.is_monotonic_increasing
    assert 40 < len(rows) < 120  # 40 customers, twice on average
    assert metrics["progress"] == 1
    kept = {"noise": promise["noise"], "rate": 0.25, "customers_per_step": 10, "steps": 8}
    assert promise == {"epsilon": 4, "delta": 1e-5, **kept}
    accountant = PRVAccountant()
    accountant.history = [(promise["noise"], promise["rate"], promise["steps"])]
    assert 3.9 < accountant.get_epsilon(delta=1e-5) <= 4


def test_a_global_batch_that_the_workers_cannot_share_is_refused(shop: Dataset) -> None:
    with pytest.raises(SettingsError, match=r"training\.microbatches 3 cannot be shared by 2 workers"):
        prepare(plan(shop, workers=2, microbatches=3))


def test_too_little_data_is_refused(shop: Dataset) -> None:
    early = plan(shop).model_copy(update={"protocol": Cutoff(cutoff=moment("2024-01-02"))})

    with pytest.raises(DataError, match="too few orders"):
        prepare(early)
