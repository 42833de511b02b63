"""What a run may ask of its Ray cluster: what is there, or comes when it is asked for."""

from typing import Literal

import ray

from demand.errors import SettingsError


def offered(kind: Literal["CPU", "GPU"]) -> int:
    """How many the cluster has, or grows to when they are asked for.

    Ray's autoscaler tells nobody what it would start. So the head of a cluster that grows has resources that nothing
    takes, CPU_to_come and GPU_to_come: what all its workers have together where they are most.
    """
    cluster = ray.cluster_resources()
    return int(max(cluster.get(kind, 0), cluster.get(f"{kind}_to_come", 0)))


def has_gpus(workers: int) -> bool:
    """Whether there is a GPU for each of a run's workers."""
    return offered("GPU") >= workers


def check(workers: int) -> None:
    """Raises SettingsError where there are GPUs, and not for all of a run's workers: it would take none of them."""
    if 0 < (gpus := offered("GPU")) < workers:
        raise SettingsError(f"{workers} workers want {workers} GPUs, and there are {gpus}: choose --workers {gpus}")


def processors(workers: int, runs: int = 1) -> float:
    """How many each worker of so many runs at once can have: one beside a GPU, else as many as the nodes that are there
    allow. A part of one only where there will never be enough."""
    if has_gpus(workers):
        return 1
    nodes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    for share in range(max(nodes), 0, -1):
        if sum(node // share for node in nodes) >= workers * runs:
            return share
    return min(offered("CPU") / (workers * runs), 1) or 1
