"""Ray Train for real: workers, checkpoints, faults."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import ray
from ray.train import Result

from demand.dataset import Dataset
from demand.errors import DataError, SettingsError
from demand.moments import moment
from modeling.state import load_state
from ray_app.presets import load_settings
from tests.conftest import CUTOFF
from training.run import Plan, Prepared, best, finish, fit, prepare

pytestmark = pytest.mark.usefixtures("ray_cluster")


def plan(shop: Dataset, workers: int = 1, **settings: object) -> Plan:
    values = {f"training.{name}": value for name, value in settings.items()}
    return Plan(
        data=shop.folder, settings=load_settings("tiny").with_values(values), cutoff=moment(CUTOFF), workers=workers
    )


def losses(result: Result) -> list[float]:
    """The curve of a run up to its last checkpoint."""
    assert result.checkpoint is not None
    return load_state(Path(result.checkpoint.path), "plain")["extra"]["losses"]


@pytest.fixture(scope="module")
def prepared(shop: Dataset) -> Prepared:
    return prepare(plan(shop, microbatch_tokens=256))


@pytest.fixture(scope="module")
def undisturbed(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The loss curve of a run that nothing disturbs."""
    return losses(fit(prepared, "undisturbed", tmp_path_factory.mktemp("runs")))


def test_two_workers_see_the_loss_of_one_on_the_same_global_batches(
    shop: Dataset, undisturbed: list[float], tmp_path: Path
) -> None:
    two = prepare(plan(shop, workers=2, microbatch_tokens=256))

    curve = losses(fit(two, "two", tmp_path, processors=1))

    assert curve[0] == pytest.approx(undisturbed[0], abs=1e-4)
    assert curve[:5] == pytest.approx(undisturbed[:5], abs=1e-3)


def test_a_killed_worker_costs_only_the_way_from_the_last_checkpoint(
    shop: Dataset, undisturbed: list[float], tmp_path: Path
) -> None:
    long = prepare(plan(shop, microbatch_tokens=256, reports_per_epoch=4, max_failures=3))
    killed = threading.Event()

    def kill_once() -> None:
        while not killed.is_set():
            if any(tmp_path.glob("killed/checkpoint_*")):
                for process in psutil.process_iter(["cmdline"]):
                    if "RayTrainWorker" in " ".join(process.info["cmdline"] or []):
                        os.kill(process.pid, signal.SIGKILL)
                        killed.set()
            time.sleep(0.02)

    watcher = threading.Thread(target=kill_once, daemon=True)
    watcher.start()
    result = fit(long, "killed", tmp_path)

    assert killed.is_set()
    assert losses(result) == pytest.approx(undisturbed, abs=1e-5)


def test_a_run_whose_driver_is_killed_frees_its_processors_also_beside_another_cluster(
    prepared: Prepared, tmp_path: Path
) -> None:
    """What Ray Tune does to a trial that it stops early, while another command's Ray runs on the same machine."""
    beside = "import ray, sys; ray.init(address='local', num_cpus=1); print(flush=True); sys.stdin.read()"
    drive = ray.remote(num_cpus=0)(lambda: fit(prepared, "abandoned", tmp_path, processors=1))
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


def test_a_finished_run_becomes_a_calibrated_model(prepared: Prepared, shop: Dataset, tmp_path: Path) -> None:
    checkpoint, metrics = best(fit(prepared, "model", tmp_path))

    card = finish(prepared.plan, "model", checkpoint, metrics, tmp_path / "model-folder")

    assert card["data"]["content_hash"] == shop.content_hash
    assert card["validation"]["ndcg@10"] > 0.4
    names = {file.name for file in (tmp_path / "model-folder").iterdir()}
    assert {"model.safetensors", "manifest.json", "calibration.json"} <= names
    assert not any(name.startswith(("shard", "plain")) for name in names)


def test_a_global_batch_that_the_workers_cannot_share_is_refused(shop: Dataset) -> None:
    with pytest.raises(SettingsError, match=r"training\.microbatches 3 cannot be shared by 2 workers"):
        prepare(plan(shop, workers=2, microbatches=3))


def test_too_little_data_is_refused(shop: Dataset) -> None:
    early = plan(shop).model_copy(update={"cutoff": moment("2024-01-02")})

    with pytest.raises(DataError, match="too few orders"):
        prepare(early)
