"""The whole chain with data and state folder in a bucket, with a worker that is killed and a store that goes away."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from demand.locations import location
from tests.conftest import CUTOFF, write_shop
from tests.object_store import BUCKET, ObjectStore, object_store
from tests.processes import below
from tests.training.test_faults import TRAINING

pytestmark = pytest.mark.drill

DATA = f"s3://{BUCKET}/data/shop"
QUICK = ("--data", DATA, "--cutoff", CUTOFF, "--preset", "tiny")
PORT = 18741


class Commands:
    """The command line in processes of their own, whose state folder lies in the bucket."""

    def __init__(self, store: ObjectStore, folder: Path) -> None:
        self.store = store
        self.environment: Mapping[str, str] = {
            **os.environ,
            **store.environment,
            "DEMANDCAST_HOME": f"s3://{BUCKET}/home",
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        }

    @contextmanager
    def begun(self, *words: object) -> Iterator[subprocess.Popen[str]]:
        """A command that runs; it is ended with the block."""
        process = subprocess.Popen(
            [sys.executable, "-m", "ray_app.cli", *map(str, words)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.communicate()

    def done(self, *words: object) -> dict:
        """What a command's last line says."""
        with self.begun(*words, "--json") as process:
            out, err = process.communicate()
        assert process.returncode == 0, out + err
        return json.loads(out.strip().splitlines()[-1])

    def snapshots(self, run: str) -> list[str]:
        """Of a run, in the bucket."""
        home = location(f"s3://{BUCKET}/home{self.store.options}")
        return [each.parent.name for each in (home / "runs" / run).glob("checkpoint_*/manifest-*")]


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    folder = tmp_path_factory.mktemp("commands")
    with pytest.MonkeyPatch.context() as patch, object_store() as store:
        for name, value in store.environment.items():
            patch.setenv(name, value)
        commands = Commands(store, folder)
        commands.done("data", "import", "csv", "--path", write_shop(folder / "shop"), "--out", DATA)
        yield commands


def run_of(process: subprocess.Popen[str]) -> str:
    """The name of the run that a command has begun."""
    assert process.stdout is not None
    return process.stdout.readline().split()[1]


def wait_for_snapshot(commands: Commands, run: str, process: subprocess.Popen[str]) -> None:
    """Until the run has kept a snapshot."""
    while not commands.snapshots(run):
        assert process.poll() is None, process.communicate()
        time.sleep(0.2)


def test_a_worker_that_is_killed_goes_on_from_what_lies_in_the_bucket(commands: Commands) -> None:
    words = (*QUICK, "--set", "training.epochs=12", "--set", "training.reports_per_epoch=1", "--json")
    with commands.begun("train", *words) as process:
        wait_for_snapshot(commands, run_of(process), process)
        workers = below(psutil.Process(process.pid), TRAINING)
        for worker in workers:
            worker.kill()
        out, err = process.communicate()

    assert workers
    assert process.returncode == 0, out + err
    assert json.loads(out.strip().splitlines()[-1])["model"] == "demand@1"


def test_a_model_is_searched_evaluated_served_and_asked_for_all_customers(commands: Commands) -> None:
    swept = commands.done("tune", *QUICK, "--trials", 2, "--prompt-format", "compact")
    assert len(swept["trials"]) == 2
    report = f"s3://{BUCKET}/reports/evaluation.html"
    words = ("--data", DATA, "--cutoff", CUTOFF, "--baselines", "global-top", "--horizon-days", 7, "--report", report)
    assert "model" in commands.done("evaluate", *words, "--model", swept["model"])["next_order"]
    assert "<html" in location(report).read_text()[:200]
    out = f"s3://{BUCKET}/out/predictions.parquet"
    asked = commands.done("predict", "--data", DATA, "--as-of", CUTOFF, "--out", out, "--model", swept["model"])
    assert asked["customers"] == 40
    with commands.begun("serve", "--model", swept["model"], "--port", PORT, "--json") as process:
        assert process.stdout is not None
        assert any("serving" in line for line in process.stdout)
        question = {
            "customer": {"customer_id": "c", "purchase_history": []},
            "as_of": f"{CUTOFF}T00:00:00Z",
            "top_k": 3,
        }
        answer = httpx.post(f"http://127.0.0.1:{PORT}/v1/predict", json=question, timeout=60)
    assert len(answer.json().get("demands", ())) == 3, answer.text


def test_an_outage_ends_a_run_in_one_line_and_it_goes_on_afterwards(commands: Commands) -> None:
    words = (*QUICK, "--set", "training.epochs=20", "--set", "training.reports_per_epoch=1", "--name", "outage")
    with commands.begun("train", *words) as process:
        run = run_of(process)
        wait_for_snapshot(commands, run, process)
        commands.store.go()
        _, err = process.communicate()
    commands.store.come()

    assert process.returncode == 2
    said = [line for line in err.splitlines() if line.startswith("demandcast: ")]
    assert len(said) == 1
    assert "NETWORK_CONNECTION" in said[0]
    assert f"--resume {run}" in said[0]
    assert commands.done("train", "--resume", run, "--name", "outage")["model"] == "outage@1"
