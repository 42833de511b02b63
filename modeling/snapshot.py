"""Snapshots: what a run keeps of itself on its way. Any layout can go on from one, and a checkpoint is made of one.

shard-*.safetensors                   each process's part of weights and optimizer state
plain.json, plain.safetensors         everything else that the run needs to go on
model.json, vocabulary.json, …        as in a checkpoint
manifest-RANK-of-PROCESSES.json       hashes of what each process wrote; without all of them it is half-written
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch.distributed as dist

from demand.errors import CheckpointError
from demand.locations import Location, local
from modeling.checkpoint import Checkpoint, load_description, save_description, verify_manifest, write_manifest
from modeling.megatron.finetuning import FineTuning
from modeling.megatron.model import DemandModel
from modeling.megatron.shards import NAMED, load_shards, save_shards, whole_weights
from modeling.parallel import initialize
from modeling.settings import LoraSettings
from modeling.state import load_state, save_state


def save_snapshot(tuning: FineTuning, description: Checkpoint, extra: dict[str, Any], folder: Path) -> None:
    """Writes this process's part into an empty folder. Every process of the group calls it.

    Each gives a folder of its own; the snapshot is what all these folders hold together.

    Args:
        description: what the checkpoint will be, without weights.
        extra: plain JSON that the run needs to go on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rank, processes = dist.get_rank(), dist.get_world_size()
    plain = save_shards(tuning.sharded_state(), folder)
    if rank == 0:
        save_state({"tuning": plain, "extra": extra}, folder, "plain")
        save_description(description, folder)
    write_manifest(folder, f"manifest-{rank}-of-{processes}.json")


def load_snapshot(tuning: FineTuning, folder: Path) -> dict[str, Any]:
    """The inverse of save_snapshot, in any layout; returns `extra`.

    Raises:
        CheckpointError: the snapshot is half-written or damaged.
    """
    verify_snapshot(folder)
    plain = load_state(folder, "plain")
    tuning.load_state(load_shards(tuning.sharded_state(is_loading=True), plain["tuning"], folder))
    extra: dict[str, Any] = plain["extra"]
    return extra


def checkpoint_of(snapshot: Location) -> Checkpoint:
    """A snapshot as a checkpoint, put together in this process alone.

    Raises:
        CheckpointError: the snapshot is half-written or damaged.
    """
    with local(snapshot) as folder:
        verify_snapshot(folder)
        description = load_description(folder)
        initialize()
        lora = LoraSettings.model_validate(description.card.get("settings", {}).get("lora", {}))
        sizes = len(description.vocabulary), len(description.catalogue)
        model = DemandModel(description.settings, *sizes, lora=lora)
        state = load_shards({"model": model.sharded_state_dict(metadata=dict(NAMED))}, {}, folder)
        model.load_state_dict(state["model"], strict=False)
    return replace(description, weights=whole_weights(model))


def verify_snapshot(folder: Path) -> None:
    """Raises CheckpointError where a process's part is missing, or a file is missing or altered."""
    manifests = sorted(folder.glob("manifest-*-of-*.json"))
    processes = int(manifests[0].stem.rsplit("-", 1)[1]) if manifests else 1
    if len(manifests) != processes:
        raise CheckpointError(f"{folder} is half-written: {len(manifests)} of {processes} processes finished it")
    for manifest in manifests:
        verify_manifest(folder, manifest.name)
