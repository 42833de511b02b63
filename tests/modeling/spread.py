"""A pool of processes that train one small model in several layouts, one after the other, over gloo."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file

from demand.catalogue import Catalogue
from modeling.batch import Batch
from modeling.layout import LayoutSettings
from modeling.megatron.finetuning import FineTuning, Schedule
from modeling.megatron.lora import A, B
from modeling.megatron.model import DemandModel
from modeling.megatron.shards import load_shards, load_weights, save_shards
from modeling.parallel import initialize
from modeling.settings import LoraSettings, ModelSettings
from modeling.state import load_state, save_state

SCHEDULE = Schedule(3e-3, warmup_steps=2, total_steps=20, weight_decay=0.01, clip=0.5)
STEPS = 10
OFF = LoraSettings()


@dataclass(frozen=True)
class Program:
    """One run: in which layout, from where it starts, and after which step its state is kept."""

    name: str
    layout: LayoutSettings
    processes: int = 1
    lora: LoraSettings = OFF
    start: str | None = None
    keep_after: int | None = None


@dataclass(frozen=True)
class Stage:
    """What all programs share: a folder with weights.safetensors and microbatches, the model's shape, and catalogue."""

    folder: Path
    settings: ModelSettings
    vocabulary: int
    catalogue: Catalogue
    microbatches: int = 4

    def losses(self, name: str) -> list[float]:
        losses: list[float] = json.loads((self.folder / f"{name}.json").read_text())
        return losses

    def train(self, program: Program) -> list[float]:
        """This process's part of a program; its process group is there."""
        initialize(seed=0, layout=program.layout)
        model = DemandModel(
            self.settings, self.vocabulary, len(self.catalogue), program.layout, program.lora, self.catalogue
        )
        weights = load_file(self.folder / "weights.safetensors")
        factors = {name for name in weights if name.endswith((A, B)) and not program.lora.rank}
        load_weights(model, {name: tensor for name, tensor in weights.items() if name not in factors})
        tuning = FineTuning(model, SCHEDULE, program.layout)
        first = 0
        if program.start:
            kept = self.folder / program.start
            plain = load_state(kept, "plain")
            first = plain["step"]
            tuning.load_state(load_shards(tuning.sharded_state(is_loading=True), plain["state"], kept))
        losses = []
        for step in range(first, STEPS):
            losses.append(self._step(tuning, step, program.layout.tokens_multiple))
            if step + 1 == program.keep_after:
                kept = self.folder / program.name
                kept.mkdir(exist_ok=True)
                plain = save_shards(tuning.sharded_state(), kept)
                if dist.get_rank() == 0:
                    save_state({"step": step + 1, "state": plain}, kept, "plain")
        return losses

    def _step(self, tuning: FineTuning, step: int, multiple: int) -> float:
        from megatron.core import parallel_state

        rank, copies = parallel_state.get_data_parallel_rank(), parallel_state.get_data_parallel_world_size()
        mine = range(rank, self.microbatches, copies)
        seeds = [step * self.microbatches + place for place in mine]
        return tuning.step([self._batch(seed, multiple) for seed in seeds], seeds).loss

    def _batch(self, number: int, multiple: int) -> Batch:
        with np.load(self.folder / f"{number}.npz") as arrays:
            return Batch.from_arrays(dict(arrays), multiple)


def run(work: Sequence[tuple[Stage, Program]]) -> None:
    """Runs programs in processes of their own; losses are written to NAME.json in their stage's folder."""
    mp.spawn(_work, (list(work),), max(program.processes for _, program in work))


def _work(rank: int, work: list[tuple[Stage, Program]]) -> None:
    from megatron.core import parallel_state

    torch.set_num_threads(1)
    for stage, program in work:
        if rank < program.processes:
            meeting = f"file://{stage.folder}/meeting-{program.name}"
            dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=program.processes)
            losses = stage.train(program)
            if rank == 0:
                (stage.folder / f"{program.name}.json").write_text(json.dumps(losses))
            parallel_state.destroy_model_parallel()
            dist.destroy_process_group()
