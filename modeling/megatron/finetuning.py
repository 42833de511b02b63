"""One optimisation step after another, with Megatron-core's own data parallelism, optimizer and schedule."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig, finalize_model_grads
from megatron.core.optimizer import OptimizerConfig
from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler
from megatron.core.pipeline_parallel.schedules import get_forward_backward_func
from megatron.core.transformer.module import Float16Module
from torch import Tensor

from modeling.batch import Batch
from modeling.layout import LayoutSettings
from modeling.megatron.average import Average
from modeling.megatron.backbone import compile_layers
from modeling.megatron.model import DemandModel
from modeling.megatron.optimizer import WAITS_RATE, allocate_moments, build_optimizer, load_optimizer, sound_step
from modeling.megatron.private import Privacy, PrivateGradients
from modeling.megatron.shards import NAMED
from modeling.parallel import FUSES, ON_GPU, answers, device, fast_forward, seed_dropout

LEARNER = "learner."
FINAL_RATE = 0.05
"""The learning rate at the end, as a share of its peak."""


@dataclass(frozen=True)
class Schedule:
    """How fast and how long to learn; a gradient longer than `max_gradient_norm` is not learned from.

    `averaging` is the share of the running mean of the weights that a step leaves (modeling.megatron.average). With
    `privacy` each microbatch is one customer, who is hidden.
    """

    learning_rate: float
    warmup_steps: int
    total_steps: int
    weight_decay: float
    clip: float
    max_gradient_norm: float = 1_000.0
    averaging: float = 0.0
    privacy: Privacy | None = None


@dataclass(frozen=True)
class Step:
    """One step's outcome over all workers, with the gradient's norm before clipping.

    A step that was skipped changed no weight: its gradient was too long, or no number. What the step came to stays
    where it was computed until it is asked for: a GPU that is waited for after each step idles until the next begins.

    Attributes:
        totals_3: sum of the target items' losses, their number, and the number of tokens.
    """

    totals_3: Tensor
    gradient_norm: float
    skipped: bool = False

    @property
    def loss(self) -> float:
        """Per target item."""
        loss, targets, _ = self._totals
        return loss / max(targets, 1)

    @property
    def targets(self) -> int:
        """Target items."""
        return int(self._totals[1])

    @property
    def tokens(self) -> int:
        """Tokens that were read."""
        return int(self._totals[2])

    @cached_property
    def _totals(self) -> list[float]:
        totals: list[float] = self.totals_3.tolist()
        return totals


class FineTuning:
    """A model in training. Every process of the group holds its part of one and calls `step` equally often."""

    def __init__(self, model: DemandModel, schedule: Schedule, layout: LayoutSettings | None = None) -> None:
        layout = layout or LayoutSettings()
        mixed = layout.precision != "fp32"
        self.model = model.to(device())
        if FUSES and layout.compiles and model.settings.architecture == "gpt":
            compile_layers(model.core)
        self._max_gradient_norm = schedule.max_gradient_norm
        self._parallel = DistributedDataParallel(
            model.config,
            DistributedDataParallelConfig(
                use_distributed_optimizer=layout.distributed_optimizer,
                grad_reduce_in_fp32=True,
                overlap_grad_reduce=ON_GPU,  # beside the backward pass
            ),
            Float16Module(model.config, model) if mixed else model,
        )
        self._optimizer = build_optimizer(
            OptimizerConfig(
                optimizer="adam",
                lr=schedule.learning_rate,
                min_lr=schedule.learning_rate * FINAL_RATE,
                weight_decay=schedule.weight_decay,
                adam_beta2=0.95,
                clip_grad=0.0 if schedule.privacy else schedule.clip,  # each customer's was cut already
                bf16=mixed,
                use_distributed_optimizer=layout.distributed_optimizer,
            ),
            self._parallel,
            None if schedule.privacy else WAITS_RATE,  # noise would be learned as fast
        )
        self._private = PrivateGradients(self._parallel, schedule.privacy) if schedule.privacy else None
        self._average, self._steps = Average(model, schedule.averaging), 0
        self._rates = OptimizerParamScheduler(
            self._optimizer,
            init_lr=0.0,
            max_lr=schedule.learning_rate,
            min_lr=schedule.learning_rate * FINAL_RATE,
            lr_warmup_steps=schedule.warmup_steps,
            lr_decay_steps=max(schedule.total_steps, schedule.warmup_steps + 1),
            lr_decay_style="cosine",
            start_wd=schedule.weight_decay,
            end_wd=schedule.weight_decay,
            wd_incr_steps=0,
            wd_incr_style="constant",
            use_checkpoint_opt_param_scheduler=False,  # of a snapshot it takes the step alone
            override_opt_param_scheduler=True,
        )
        model.config.finalize_model_grads_func = finalize_model_grads
        model.config.grad_scale_func = self._optimizer.scale_loss
        model.config.no_sync_func = self._parallel.no_sync

    def step(self, microbatches: Iterable[Batch], seeds: Sequence[int]) -> Step:
        """Learns from one global batch, of which this process has some microbatches.

        Args:
            microbatches: where this process computes, at least as many as seeds, each taken when its turn comes; the
                same for all processes that hold one copy of the model.
            seeds: one for each microbatch. They alone decide what dropout drops, so that a global batch gives the same
                loss however many workers share it, and a resumed run goes on as if it had not stopped.
        """
        self._parallel.train()
        self._parallel.zero_grad_buffer()
        self._optimizer.zero_grad()
        self._rates.step(1)
        data = _in_pairs(microbatches, seeds)
        if self._private:
            outcomes = self._fill_privately(self._private, data)
        else:
            outcomes = self._run(data, len(seeds), forward_only=False)
        norm, stepped = sound_step(self._optimizer, self._max_gradient_norm)
        if stepped:
            self._steps += 1
            self._average.update(self._steps)
        totals_3 = torch.zeros(3, dtype=torch.float64, device=device())
        if answers() and outcomes:
            totals_3 = torch.stack(outcomes).sum(0)
        dist.all_reduce(totals_3)
        return Step(totals_3, norm, skipped=not stepped)

    def _fill_privately(self, gradients: PrivateGradients, data: Iterator[tuple[Batch, int]]) -> list[Tensor]:
        """Gradients of customers, one after another; what each came to."""
        outcomes: list[Tensor] = []

        def losses() -> Iterator[Tensor]:
            for each in data:
                loss, loss_of = _forward(iter([each]), self._parallel)
                outcomes.append(loss_of(loss)[2])
                yield loss

        gradients.fill(losses())
        return outcomes

    @torch.no_grad()
    def forecasts(self, microbatches: Iterable[Batch], count: int) -> list[np.ndarray]:
        """What the mean of the weights answers at the queries of so many microbatches, (R, 1 + V) each.

        On the processes that `answers` names; nothing on the others.
        """
        self._parallel.eval()
        if not count:
            return []
        with self._average.in_place():
            found = self._run(_in_pairs(microbatches, repeat(0)), count, forward_only=True)
        return [forecast.numpy() for forecast in found] if answers() else []

    def _run(self, data: Iterator[tuple[Batch, int]], count: int, forward_only: bool) -> list[Tensor]:
        """Megatron's schedule over microbatches: what each came to, or without a backward pass its forecasts."""
        found: list[Tensor] = get_forward_backward_func()(
            forward_step_func=_forward,
            data_iterator=data,
            model=[self._parallel],
            num_microbatches=count,
            seq_length=1,  # shapes travel with what a pipeline stage sends
            micro_batch_size=1,
            forward_only=forward_only,
            collect_non_loss_data=forward_only,
        )
        return found

    def sharded_state(self, is_loading: bool = False) -> dict[str, Any]:
        """All that a later run in any layout needs to go on as if nothing had happened, as Megatron describes it.

        "model" is what answers, the mean of the weights; "learner" the weights that go on learning.
        """
        allocate_moments(self._optimizer)
        learner = self._average.learned(self.model.sharded_state_dict(prefix=LEARNER, metadata=dict(NAMED)))
        optimizer = self._optimizer.sharded_state_dict(learner, is_loading=is_loading, metadata=dict(NAMED))
        model = self._average.sharded(self.model.sharded_state_dict(metadata=dict(NAMED)))
        rates = {**self._rates.state_dict(), "steps": self._steps}
        return {"model": model, "learner": learner, "optimizer": optimizer, "rates": rates}

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of `sharded_state`, whose tensors were filled."""
        learner = {name.removeprefix(LEARNER): weight for name, weight in state["learner"].items()}
        self.model.load_state_dict({**state["model"], **learner}, strict=False)
        self._average.load(state["model"])
        load_optimizer(self._optimizer, state["optimizer"])
        self._steps = state["rates"].pop("steps")
        self._rates.load_state_dict(state["rates"])


def _in_pairs(microbatches: Iterable[Batch], seeds: Iterable[int]) -> Iterator[tuple[Batch, int]]:
    """Each with its seed; of an iterator of batches no more are taken than there are seeds."""
    return ((batch, seed) for seed, batch in zip(seeds, microbatches, strict=False))


def _forward(data: Iterator[tuple[Batch, int]], model: Any) -> tuple[Tensor, Callable[..., Any]]:
    """Megatron's forward step: the output, and the function that makes a loss of it."""
    batch, seed = next(data)
    seed_dropout(seed, model.config.sequence_parallel)
    with fast_forward():
        output = model(batch, learn=model.training)

    def loss_of(output: Tensor, non_loss_data: bool = False) -> Any:
        if non_loss_data:
            return output.float().cpu()
        targets, tokens = (torch.full((), len(each), device=device()) for each in (batch.targets_Y, batch.tokens_T))
        return output, targets.int(), torch.stack([output.detach(), targets, tokens]).double()

    return output, loss_of
