"""cluster.yaml's autoscaler for real, with Ray's fake provider: a node is a raylet on this machine, a GPU a label."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch.distributed
import yaml

from demand.dataset import Dataset
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
SMALL = ("--preset", "tiny", "--customers", 20, "--set", "training.validation_customers=20")
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


def workers(growing: Cluster) -> int:
    """Nodes beside the head."""
    return len(growing.nodes()) - 1


def test_a_sweep_grows_the_cluster_to_what_its_trials_ask_for_and_it_shrinks_after(
    growing: Cluster, shop: Dataset, tmp_path: Path
) -> None:
    assert workers(growing) == 0

    words = ("--data", shop.folder, "--cutoff", CUTOFF, *SMALL, "--prompt-format", "compact", "--stopping", "none")
    rates = "training.learning_rate=[0.001, 0.002, 0.004, 0.008]"
    sweep = growing.demandcast(
        "tune", *words, "--search", "grid", "--vary", rates, "--at-once", TRIALS, "--json", home=tmp_path
    )
    seen = []
    wait_until(lambda: seen.append(workers(growing)) or sweep.poll() is not None, PATIENCE)
    said, _ = sweep.communicate(timeout=1)

    assert sweep.returncode == 0, said
    trials = json.loads(said.splitlines()[-1])["trials"]
    assert [each["metrics"]["progress"] for each in trials] == [1] * TRIALS
    assert max(seen) == TRIALS
    assert all(each["resources_total"].get("GPU") == 1 for each in growing.nodes()[1:])
    assert wait_until(lambda: workers(growing) == 0, IDLE_SECONDS + PATIENCE)
