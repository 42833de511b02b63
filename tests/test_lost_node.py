"""A node that dies in the middle of a sweep, with all that runs on it."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from demand.dataset import Dataset
from tests.clusters import Cluster, cluster, wait_until
from tests.conftest import CUTOFF
from tests.processes import below
from tests.training.test_faults import TRAINING
from tests.tuning.test_resume import last_report

pytestmark = pytest.mark.drill
NODES = ("north", "south")
FEW = ("--preset", "tiny", "--customers", 20, "--set", "training.validation_customers=20")
RATES = [0.001, 0.002, 0.003, 0.004]
PATIENCE = 240.0


@pytest.fixture(scope="module")
def standing() -> Iterator[Cluster]:
    """A head that only coordinates, and two nodes with a processor each."""
    with cluster() as made:
        made.start_head("--num-cpus=0")
        for name in NODES:
            made.start_worker("--num-cpus=1", f'--resources={{"{name}": 1}}')
        yield made


def test_a_sweep_ends_with_all_its_trials_and_none_that_was_done_runs_again(
    standing: Cluster, shop: Dataset, tmp_path: Path
) -> None:
    words = ("--data", shop.folder, "--cutoff", CUTOFF, *FEW, "--prompt-format", "compact", "--stopping", "none")
    rates = ("--search", "grid", "--vary", f"training.learning_rate={RATES}", "--at-once", len(NODES))
    sweep = standing.demandcast("tune", *words, *rates, "--json", home=tmp_path)
    said: list[str] = []
    reading = threading.Thread(target=lambda: said.extend(sweep.stdout or ()))
    reading.start()
    assert wait_until(lambda: any(": done" in line for line in said), PATIENCE), said
    finished = next(line.split()[1].rstrip(":") for line in said if ": done" in line)
    reported = last_report(tmp_path / "sweeps" / said[0].split()[1] / "trials" / finished)
    (raylet,) = standing.running(f"{NODES[0]},1")
    assert wait_until(lambda: below(raylet, TRAINING), PATIENCE), said

    for process in [raylet, *raylet.children(recursive=True)]:
        process.kill()
    reading.join(PATIENCE)

    assert sweep.wait(PATIENCE) == 0, said
    trials = {each["id"]: each for each in json.loads(said[-1])["trials"]}
    assert sorted(each["config"]["training.learning_rate"] for each in trials.values()) == RATES
    assert all(each["metrics"]["progress"] == 1 for each in trials.values())
    assert trials[finished]["metrics"]["training_seconds"] == reported["training_seconds"]
