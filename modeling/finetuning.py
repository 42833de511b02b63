"""One optimisation step after another, with Megatron-core's own data parallelism, optimizer and schedule."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig, finalize_model_grads
from megatron.core.optimizer import OptimizerConfig, get_megatron_optimizer
from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler
from megatron.core.pipeline_parallel.schedules import get_forward_backward_func
from torch import Tensor

from modeling.batch import Batch
from modeling.head import order_loss
from modeling.model import DemandModel
from modeling.parallel import device, fast_forward

FINAL_RATE = 0.05
"""The learning rate at the end, as a share of its peak."""


@dataclass(frozen=True)
class Schedule:
    """How fast and how long to learn."""

    learning_rate: float
    warmup_steps: int
    total_steps: int
    weight_decay: float
    clip: float


@dataclass(frozen=True)
class Step:
    """One step's outcome over all workers: loss per target item, how many items and tokens, norm before clipping."""

    loss: float
    targets: int
    tokens: int
    gradient_norm: float


class FineTuning:
    """A model in training. Every process of the group holds one and calls `step` equally often."""

    def __init__(self, model: DemandModel, schedule: Schedule) -> None:
        self.model = model.to(device())
        self._parallel = DistributedDataParallel(model.config, DistributedDataParallelConfig(), model)
        self._optimizer = get_megatron_optimizer(
            OptimizerConfig(
                optimizer="adam",
                lr=schedule.learning_rate,
                min_lr=schedule.learning_rate * FINAL_RATE,
                weight_decay=schedule.weight_decay,
                adam_beta2=0.95,
                clip_grad=schedule.clip,
            ),
            [self._parallel],
        )
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
        )
        model.config.finalize_model_grads_func = finalize_model_grads
        model.config.grad_scale_func = self._optimizer.scale_loss
        model.config.no_sync_func = self._parallel.no_sync

    def step(self, microbatches: Sequence[Batch], seeds: Sequence[int]) -> Step:
        """Learns from one global batch, of which this process has some microbatches.

        Args:
            seeds: one for each microbatch. They alone decide what dropout drops, so that a global batch gives the same
                loss however many workers share it, and a resumed run goes on as if it had not stopped.
        """
        self.model.train()
        self._parallel.zero_grad_buffer()
        self._optimizer.zero_grad()
        self._rates.step(1)
        losses = get_forward_backward_func()(
            forward_step_func=_forward,
            data_iterator=iter(zip(microbatches, seeds, strict=True)),
            model=[self._parallel],
            num_microbatches=len(microbatches),
            seq_length=1,  # shapes matter to pipeline stages only
            micro_batch_size=1,
            forward_only=False,
        )
        _, gradient_norm, _ = self._optimizer.step()
        tokens = sum(len(batch.tokens_T) for batch in microbatches)
        totals = torch.tensor(
            [sum(float(each["loss"]) for each in losses), sum(each["targets"] for each in losses), tokens],
            dtype=torch.float64,
            device=device(),
        )
        dist.all_reduce(totals)
        loss, targets, tokens = totals.tolist()
        return Step(loss / max(targets, 1), int(targets), int(tokens), float(gradient_norm or 0.0))

    def state(self) -> dict[str, Any]:
        """All that a later process needs, beside the weights, to go on as if nothing had happened."""
        return {"optimizer": self._optimizer.state_dict(), "rates": self._rates.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of `state`, after the model's weights were loaded."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._rates.load_state_dict(state["rates"])


def _forward(data: Iterator[tuple[Batch, int]], model: Callable[[Batch], Tensor]) -> tuple[Tensor, Callable[..., Any]]:
    """Megatron's forward step: the output, and the function that makes a loss of it."""
    batch, seed = next(data)
    torch.manual_seed(seed)
    with fast_forward():
        loss = order_loss(model(batch), batch)

    def loss_of(loss: Tensor) -> tuple[Tensor, Tensor, dict[str, Any]]:
        targets = torch.tensor(len(batch.targets_Y), dtype=torch.int, device=device())
        return loss, targets, {"loss": loss.detach(), "targets": len(batch.targets_Y)}

    return loss, loss_of
