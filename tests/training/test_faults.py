"""Faults injected for real: killed workers, lost nodes, full disks, gradients that are no numbers."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from demand.dataset import Dataset
from demand.errors import StoppedRunError, TrainingError
from modeling.snapshot import checkpoint_of, verify_snapshot
from tests.processes import below
from tests.training.runs import losses, plan
from training.run import Prepared, fit, prepare

TRAINING = "RayTrainWorker"

pytestmark = pytest.mark.usefixtures("ray_cluster")


def training_workers() -> list[psutil.Process]:
    """The workers of this test's own Ray that train now."""
    return below(psutil.Process(), TRAINING)


class Killer(threading.Thread):
    """Sends SIGKILL to a worker at each of some moments, one after the other."""

    def __init__(self, moments: list[Callable[[], bool]]) -> None:
        super().__init__(daemon=True)
        self.moments, self.kills, self.stopped = moments, 0, False

    def run(self) -> None:
        for moment in self.moments:
            workers = training_workers()
            while not (alive(workers) and moment()):
                if self.stopped:
                    return
                time.sleep(0.001)
                workers = workers if alive(workers) else training_workers()
            workers[-1].kill()
            workers[-1].wait()
            self.kills += 1


def alive(workers: list[psutil.Process]) -> bool:
    """Whether there are any, and none has ended."""
    try:
        return bool(workers) and all(each.status() != psutil.STATUS_ZOMBIE for each in workers)
    except psutil.NoSuchProcess:
        return False


@pytest.mark.drill
def test_workers_killed_at_any_moment_change_no_loss(
    two: Prepared, undisturbed_with_two: list[float], tmp_path: Path
) -> None:
    run = tmp_path / "killed"

    def saving() -> bool:
        return any(not list(folder.glob("manifest-*")) for folder in run.glob("checkpoint_*/"))

    def after_a_checkpoint() -> bool:
        return any(run.glob("checkpoint_*/manifest-1-of-2.json"))

    killer = Killer([lambda: not any(run.glob("checkpoint_*/")), saving, after_a_checkpoint])
    killer.start()
    try:
        result = fit(two, "killed", tmp_path, processors=1)
    finally:
        killer.stopped = True

    assert killer.kills == 3
    assert losses(result) == pytest.approx(undisturbed_with_two, abs=1e-5)
    assert result.checkpoint is not None
    verify_snapshot(Path(result.checkpoint.path))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for one checkpoint and a half."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1700k", "none", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs more rights than there are")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.drill
def test_a_full_disk_is_named_and_the_last_checkpoint_stays(shop: Dataset, small_disk: Path) -> None:
    prepared = prepare(plan(shop, microbatch_tokens=256, reports_per_epoch=6, max_failures=0))

    with pytest.raises(StoppedRunError, match=r"No space left on device.*goes on from its last checkpoint"):
        fit(prepared, "full", small_disk)

    first = min((small_disk / "full").glob("checkpoint_*/"), key=lambda folder: folder.name)
    assert checkpoint_of(first).weights


def test_too_many_skipped_steps_in_a_row_end_the_run_and_say_where(shop: Dataset, tmp_path: Path) -> None:
    prepared = prepare(plan(shop, microbatch_tokens=256, max_gradient_norm=1e-6, max_skipped=3))

    with pytest.raises(TrainingError, match=r"steps 1 to 3 had gradients .* rows 4 to 5 of the rendered"):
        fit(prepared, "stuck", tmp_path)


@pytest.mark.drill
def test_training_goes_on_with_one_worker_where_the_other_cannot_come_back(shop: Dataset, tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "tests.training.two_nodes", str(shop.folder), str(tmp_path)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=240, cwd=Path(__file__).parents[2])

    assert done.returncode == 0, done.stderr[-2000:]
    wrote, steps, expected = done.stdout.splitlines()[-1].rsplit(" ", 2)
    assert wrote == "manifest-0-of-1.json"
    assert steps == expected
