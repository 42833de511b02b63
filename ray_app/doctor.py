"""Whether a cluster can do the job: each node is asked, and workers on all of them talk to each other."""

import importlib.metadata
import os
import platform
import secrets
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ray
import ray.exceptions
import ray.train
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from demand.locations import Location, reason, remove, split, write_text
from training.backend import Join

PACKAGES = ("demandcast", "ray", "torch", "megatron-core", "transformers", "pyarrow")
PATIENCE = 60.0
"""Seconds to wait for a node's answer, the start of a process there included."""
MOST_SKEW = 2.0
"""Seconds by which clocks may differ: answers say "as of now", and keys' limits count minutes."""
LEAST_DISK = 10 * 2**30
NUMBERS = 2**22
"""What workers add up, 16 MB each."""

State = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True)
class Finding:
    """One line of a doctor's report.

    Attributes:
        what: what was looked at.
        found: the facts.
        advice: what to do; empty where all is well.
    """

    what: str
    state: State
    found: str
    advice: str = ""


class Look:
    """What runs on a node, as a Ray actor."""

    def facts(self, home: Location, asked: str) -> dict[str, Any]:
        """Versions, disk, and whether the state folder there is the one that the asker sees and can be written."""
        return {
            "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
            "free": shutil.disk_usage(_disk_of(home)).free,
            "shared": (home / asked).is_file(),
            "writable": _writable(home / f"{asked}-{ray.get_runtime_context().get_node_id()[:8]}"),
        }

    def now(self) -> float:
        """The node's clock."""
        return time.time()


def examine(home: Location) -> Iterator[Finding]:
    """Everything there is to say about the cluster that this process is connected to, in order.

    Args:
        home: the state folder.
    """
    nodes = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
    names = _names(nodes)
    yield _nodes(nodes)
    yield _token()
    asked = f".doctor-{secrets.token_hex(4)}"
    try:
        write_text(home / asked, "")
    except OSError as error:
        yield Finding("storage", "failed", f"{home}: {reason(error)}", "let DEMANDCAST_HOME name a place of yours")
        return
    try:
        actors: dict[str, Any] = {
            node: ray.remote(Look)
            .options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))
            .remote()
            for node in nodes
        }
        facts = _answers({node: actor.facts.remote(home, asked) for node, actor in actors.items()})
        if silent := [names[node] for node in nodes if node not in facts]:
            yield Finding(
                "answers",
                "failed",
                f"no answer in {PATIENCE:.0f} s from {', '.join(silent)}",
                "look there for a full memory or disk, and whether the Python that runs Ray has demandcast",
            )
        by_name = {names[node]: each for node, each in facts.items()}
        yield versions({name: each["versions"] for name, each in by_name.items()})
        stored = storage(home, by_name)
        yield stored
        yield disk(home, {name: each["free"] for name, each in by_name.items()})
        yield clocks({names[node]: actors[node].now.remote for node in facts})
        yield _together(home) if stored.state == "ok" else Finding("workers", "skipped", "they need the storage")
    finally:
        for file in home.glob(f"{asked}*"):
            file.unlink()


def _nodes(nodes: Mapping[str, Any]) -> Finding:
    total = ray.cluster_resources()
    processors, gpus = total.get("CPU", 0), total.get("GPU", 0)
    found = f"{len(nodes)}, with {processors:g} CPUs and {gpus:g} GPUs"
    if not processors:
        return Finding(
            "nodes",
            "warning",
            found,
            "there is no worker yet: an autoscaler starts some when there is work; wait for one, then ask again",
        )
    return Finding("nodes", "ok", found)


def _token() -> Finding:
    if not os.environ.get("RAY_ADDRESS"):
        return Finding("token", "ok", "not needed: this cluster ends with the command")
    if os.environ.get("RAY_AUTH_MODE") == "token":
        return Finding("token", "ok", "Ray asks everyone for its token")
    return Finding(
        "token",
        "warning",
        "RAY_AUTH_MODE is not token: whoever reaches the head's ports can run code",
        "start all nodes with RAY_AUTH_MODE=token and one ~/.ray/auth_token, as cluster.yaml does",
    )


def _answers(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What came in time."""
    ray.wait(list(asked.values()), num_returns=len(asked), timeout=PATIENCE)
    answers = {}
    for node, answer in asked.items():
        try:
            answers[node] = ray.get(answer, timeout=0)
        except ray.exceptions.RayError:
            continue
    return answers


def versions(by_node: Mapping[str, Mapping[str, str]]) -> Finding:
    """Whether all nodes have the same versions of what matters."""
    first: Mapping[str, str] = next(iter(by_node.values()), {})
    differing = {}
    for name in first:
        found = {node: versions[name] for node, versions in by_node.items()}
        if len(set(found.values())) > 1:
            differing[name] = ", ".join(f"{version} on {node}" for node, version in found.items())
    if differing:
        words = "; ".join(f"{name}: {each}" for name, each in differing.items())
        return Finding(
            "versions", "failed", words, "install the same constraints.txt everywhere, then restart Ray there"
        )
    return Finding("versions", "ok", ", ".join(f"{name} {version}" for name, version in first.items()))


def storage(home: Location, by_node: Mapping[str, Mapping[str, Any]]) -> Finding:
    """Whether all nodes share the state folder, and may write there."""
    bad = [name for name, each in by_node.items() if not (each["shared"] and each["writable"])]
    if bad:
        return Finding(
            "storage",
            "failed",
            f"{home} is not there, not the same or not writable on {', '.join(bad)}",
            "let DEMANDCAST_HOME name a folder that all nodes share (NFS, EFS), the same path and user, or a bucket",
        )
    return Finding("storage", "ok", f"{home} is written and read on every node")


def disk(home: Location, free: Mapping[str, int]) -> Finding:
    """Whether there is room; `free` in bytes."""
    found = ", ".join(f"{name} {size / 2**30:.0f} GiB" for name, size in free.items())
    if full := [name for name, size in free.items() if size < LEAST_DISK]:
        return Finding(
            "disk",
            "warning",
            f"free: {found}",
            f"make room on {', '.join(full)}: runs keep two snapshots each under {home}",
        )
    return Finding("disk", "ok", f"free: {found}")


def clocks(asking: Mapping[str, Callable[[], Any]]) -> Finding:
    """Whether clocks agree: each against ours at the middle of a question, half whose length the difference may err."""
    skews = {}
    for name, ask in asking.items():
        begin = time.time()
        there = ray.get(ask(), timeout=PATIENCE)
        end = time.time()
        skews[name] = max(abs(there - (begin + end) / 2) - (end - begin) / 2, 0.0)
    if wrong := [f"{name} by {skew:.1f} s" for name, skew in skews.items() if skew > MOST_SKEW]:
        return Finding("clocks", "failed", f"off: {', '.join(wrong)}", "run chrony or another NTP client on every node")
    return Finding("clocks", "ok", f"within {max(skews.values(), default=0.0):.2f} s")


def _together(home: Location) -> Finding:
    """Workers, one on each node or GPU, add up numbers as training does."""
    total, available = ray.cluster_resources(), ray.available_resources()
    gpus = int(total.get("GPU", 0))
    kind, what = ("GPU", "NCCL") if gpus else ("CPU", "gloo")
    workers = gpus or max(sum(1 for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")), 2)
    if available.get(kind, 0) < workers or available.get("CPU", 0) < workers:
        return Finding(
            "workers",
            "skipped",
            f"{workers} {kind}s are wanted, {available.get(kind, 0):g} are free",
            "ask again when they are",
        )
    path, filesystem = split(home / "doctor")
    trainer = TorchTrainer(
        _add_up,  # type: ignore[arg-type]  # returns something
        torch_config=Join(backend="nccl" if gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=bool(gpus),
            resources_per_worker={"CPU": 1, "GPU": int(bool(gpus))},
            placement_strategy="SPREAD",
        ),
        run_config=RunConfig(name=f"doctor-{secrets.token_hex(4)}", storage_path=path, storage_filesystem=filesystem),
    )
    try:
        spoken, speed = trainer.fit().return_value  # type: ignore[attr-defined]
    except ray.train.TrainingFailedError as error:
        cause = str(next(iter(getattr(error, "worker_failures", {}).values()), error)).strip().splitlines()[-1]
        return Finding(
            "workers",
            "failed",
            f"{workers} workers cannot add up over {what}: {cause[:200]}",
            "open all ports between nodes; where a node has several addresses, name the network card with "
            f"{'NCCL' if gpus else 'GLOO'}_SOCKET_IFNAME",
        )
    finally:
        remove(home / "doctor")
    if gpus and spoken != "nccl":
        return Finding(
            "workers", "failed", f"{workers} GPUs that nothing would use", "install a torch with CUDA on every node"
        )
    return Finding("workers", "ok", f"{workers} add up over {what}, {speed:,.0f} MB/s each")


def _add_up() -> tuple[str, float]:
    """All-reduce of 16 MB, five times; the sum is checked. Returns the backend and MB a second."""
    import torch
    import torch.distributed as dist

    device = "cuda" if torch.cuda.is_available() and dist.get_backend() == "nccl" else "cpu"
    numbers = torch.ones(NUMBERS, device=device)
    dist.all_reduce(numbers)  # which connects them
    begin, times = time.perf_counter(), 5
    for _ in range(times):
        dist.all_reduce(numbers.fill_(1.0))
    wrong = not bool((numbers == dist.get_world_size()).all())
    if wrong:
        raise ArithmeticError("the sum is wrong")
    seconds = time.perf_counter() - begin
    return dist.get_backend(), times * numbers.nbytes / 2**20 / seconds


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _disk_of(home: Location) -> Path:
    """Where a node keeps what it works on: the state folder, or copies of what lies in a remote one."""
    if not isinstance(home, Path):
        return Path(tempfile.gettempdir())
    return next(each for each in (home, *home.parents) if each.exists())


def _writable(file: Location) -> bool:
    try:
        write_text(file, "")
    except OSError:
        return False
    return True


def _names(nodes: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """By node, what people call it: its address, with its number where several have that."""
    addresses = {node: str(each["NodeManagerAddress"]) for node, each in nodes.items()}
    taken = Counter(addresses.values())
    return {node: each if taken[each] == 1 else f"{each} ({node[:6]})" for node, each in addresses.items()}
