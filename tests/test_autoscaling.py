"""cluster.yaml's autoscaler for real, with Ray's fake provider: a node is a raylet on this machine, a GPU a label."""

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
import torch.distributed
import yaml

from demand.dataset import Dataset
from ray_app.cluster import free_port
from tests.clusters import ROOT, Cluster, cluster, wait_until
from tests.conftest import CUTOFF

pytestmark = pytest.mark.drill
HEAD = "f" * 51 + "00000"
"""The id by which the fake provider knows the head."""
ENVIRONMENT = {
    "RAY_FAKE_CLUSTER": "1",
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD,
    "RAY_CLOUD_INSTANCE_ID": HEAD,
    "RAY_enable_autoscaler_v2": "1",  # as `ray up` starts heads
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_worker_maximum_startup_concurrency": "8",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # nothing takes these nodes away with a notice
}
IDLE_SECONDS = 12
TRIALS = 4
PATIENCE = 300.0
"""Seconds for some thirty processes to start on two cores, beside whatever else runs there."""


def described(address: str) -> dict[str, Any]:
    """cluster.yaml with the fake provider in place of AWS, nodes that these processors can bear, and less patience."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    types = config["available_node_types"]
    for each in types.values():
        each["resources"] |= {"CPU": min(each["resources"]["CPU"], 2)}
    types["ray.head.default"] = types.pop(config["head_node_type"])  # as the fake provider calls it
    provider = {
        "type": "external",  # `fake_multinode` wants a file that Ray's wheel lacks
        "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
        "gcs_address": address,
        "head_node_id": HEAD,
        "launch_multiple": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
    }
    return config | {
        "provider": provider,
        "head_node_type": "ray.head.default",
        "idle_timeout_minutes": IDLE_SECONDS / 60,
        "file_mounts": {},
        "cluster_synced_files": [],
    }


@pytest.fixture(scope="module")
def growing() -> Iterator[Cluster]:
    """A head alone, which starts workers when there is work."""
    if torch.distributed.is_nccl_available():
        pytest.skip("this torch is for CUDA: it would use the GPUs that are mere labels here")
    with cluster(**ENVIRONMENT) as made:
        config = described(made.address)
        file = made.state / "autoscaling.json"
        file.write_text(json.dumps(config))
        resources = config["available_node_types"]["ray.head.default"]["resources"]
        processors = resources.pop("CPU")
        made.start_head(
            f"--autoscaling-config={file}", f"--num-cpus={processors}", f"--resources={json.dumps(resources)}"
        )
        yield made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state folder of all that is done here."""
    return tmp_path_factory.mktemp("home")


def workers(growing: Cluster) -> int:
    """Nodes beside the head."""
    return len(growing.nodes()) - 1


def watched(growing: Cluster, command: "subprocess.Popen[str]") -> tuple[str, int]:
    """What a command said at its end, and the most workers that there were meanwhile."""
    most = 0
    end = time.monotonic() + PATIENCE
    while command.poll() is None and time.monotonic() < end:
        most = max(most, workers(growing))
        time.sleep(0.2)
    said, _ = command.communicate(timeout=1)
    assert command.returncode == 0, said
    return said, most


def test_a_sweep_grows_the_cluster_to_what_its_trials_ask_for_and_it_shrinks_after(
    growing: Cluster, shop: Dataset, home: Path
) -> None:
    assert workers(growing) == 0

    few = ("--preset", "tiny", "--customers", 20, "--set", "training.validation_customers=20")
    rates = ("--search", "grid", "--vary", "training.learning_rate=[0.001, 0.002, 0.004, 0.008]")
    words = ("--data", shop.folder, "--cutoff", CUTOFF, *few, "--prompt-format", "compact", "--stopping", "none")
    sweep = growing.demandcast("tune", *words, *rates, "--at-once", TRIALS, "--json", home=home)
    said, most = watched(growing, sweep)

    trials = json.loads(said.splitlines()[-1])["trials"]
    assert [each["metrics"]["progress"] for each in trials] == [1] * TRIALS
    assert most == TRIALS
    assert wait_until(lambda: workers(growing) == 0, IDLE_SECONDS + PATIENCE)


def test_then_predictions_for_all_customers_start_workers_again(growing: Cluster, shop: Dataset, home: Path) -> None:
    out = home / "predictions.parquet"
    words = ("--data", shop.folder, "--as-of", CUTOFF, "--out", out)
    _, most = watched(growing, growing.demandcast("predict", *words, home=home))

    assert most >= 1
    assert set(pq.read_table(out)["customer_id"].to_pylist()) == set(shop.customer_ids)


def test_and_so_does_an_endpoint(growing: Cluster, home: Path) -> None:
    assert wait_until(lambda: workers(growing) == 0, IDLE_SECONDS + PATIENCE)

    url = f"http://127.0.0.1:{(port := free_port())}"
    serve = growing.demandcast("serve", "--port", port, home=home)

    assert wait_until(lambda: serve.poll() is not None or answers(url), PATIENCE)
    assert workers(growing) == 1


def answers(url: str) -> bool:
    """Whether an endpoint predicts."""
    with contextlib.suppress(httpx.HTTPError):
        return httpx.post(f"{url}/v1/predict", json={"customer": {}}, timeout=PATIENCE).status_code == 200
    return False
