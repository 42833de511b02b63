"""Megatron-core's optimizer over this process's part of a model; it can refuse a step, and move between layouts."""

from typing import Any

import torch
from megatron.core.distributed import DistributedDataParallel
from megatron.core.optimizer import (
    MegatronOptimizer,
    OptimizerConfig,
    ParamGroupOverride,
    ParamKey,
    clip_grads,
    get_megatron_optimizer,
    get_standard_config_overrides,
)
from megatron.core.optimizer.distrib_optimizer import DistributedOptimizer
from megatron.core.utils import local_multi_tensor_l2_norm
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_

RATES = ("max_lr", "min_lr")
"""What a group of parameters keeps of its schedule."""
WAITS_RATE = 1e-2
"""At which the wait for the next order is learned: its network reads habits alone and is the same in every model, so
that what suits it does not hang on what suits the rest, at whose rate one epoch leaves it half taught
(docs/quality.md)."""


def build_optimizer(
    config: OptimizerConfig, model: DistributedDataParallel, waits_rate: float | None
) -> MegatronOptimizer:
    """Adam with or without states shared among the copies of the model, whose state can be described from the start.

    Args:
        waits_rate: the peak of the learning rate of the wait for the next order; none where that is the others'.
    """
    kept = {
        ParamKey(name=("*.word_embeddings.weight", "*output_words.weight", "*calendar.*.weight")): ParamGroupOverride(
            wd_mult=0.0
        )
    }
    # Weight decay would wear down the embeddings of tokens and days that are seldom seen, or not learned.
    overrides = {**get_standard_config_overrides(config), **kept}
    if waits_rate:
        least = waits_rate * config.min_lr / config.lr
        # lr_mult changes nothing: by it and wd_mult a loaded state's groups find those of this run.
        waits = ParamGroupOverride(max_lr=waits_rate, min_lr=least, lr_mult=WAITS_RATE)
        overrides[ParamKey(name="*.wait_*")] = waits
    optimizer = get_megatron_optimizer(config, [model], overrides)
    for each in optimizer.chained_optimizers:
        if isinstance(each, DistributedOptimizer) and isinstance(each.optimizer, torch.optim.Adam):
            _keep_steps(each)
    _fuse(optimizer)
    return optimizer


def _fuse(optimizer: MegatronOptimizer) -> None:
    """Has PyTorch's Adam, which stands in for Transformer Engine's, update each parameter in one pass.

    Megatron does not ask for it, and a loaded state brings its own choice along.
    """
    for each in optimizer.chained_optimizers:
        if isinstance(each.optimizer, torch.optim.Adam):
            for group in each.optimizer.param_groups:
                group.update(fused=True, foreach=False)
            for parameter, state in each.optimizer.state.items():
                if "step" in state:
                    state["step"] = state["step"].to(parameter.device)


def allocate_moments(optimizer: MegatronOptimizer) -> None:
    """Makes room for the moments: over PyTorch's Adam, Megatron can describe them only after a first step."""
    for each in optimizer.chained_optimizers:
        if isinstance(each.optimizer, torch.optim.Adam):
            for parameter in (one for group in each.optimizer.param_groups for one in group["params"]):
                moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
                each.optimizer.state.setdefault(parameter, {"step": parameter.new_zeros(()), **moments})


def load_optimizer(optimizer: MegatronOptimizer, state: dict[str, Any]) -> None:
    """Megatron's load_state_dict, also of a state before the first step, which Megatron leaves out where it is zero.

    Learning rates stay this run's, which may be another than the one that left the state.
    """
    inner = state.get("optimizer", state)
    if "state" in inner:
        inner["state"].setdefault("common_step", torch.zeros(()))
    rates = [{name: group[name] for name in RATES} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group.update(rate)
    _fuse(optimizer)


def sound_step(optimizer: MegatronOptimizer, limit: float) -> tuple[float, bool]:
    """Clips and steps as Megatron's own `step` does, but not where the gradient is longer than `limit` or no number.

    It clips by PyTorch in one pass, where Megatron's stand-in for Apex makes a second gradient on the way.

    Returns:
        The gradient's norm before clipping, and whether there was a step; the same on every process.
    """
    optimizer.prepare_grads()
    norm = float(optimizer.get_grad_norm())
    if not norm <= limit:
        return norm, False
    for each in optimizer.chained_optimizers:
        parameters = each.get_parameters()
        if parameters and 0 < each.config.clip_grad < norm:
            clip_grads_with_norm_(parameters, each.config.clip_grad, torch.tensor(norm))
    optimizer.step_with_ready_grads()
    return norm, True


def _keep_steps(optimizer: Any) -> None:
    """Megatron-core 0.16 forgets, where it loads a distributed optimizer over PyTorch's Adam, that steps are tensors.

    It asks what was loaded for them again, and gives one tensor to all parameters, which each of them would count up.
    """
    fill = optimizer._set_main_param_and_optimizer_states

    def fill_with_step(parameter: nn.Parameter, tensors: dict[str, Tensor]) -> None:
        group, place = optimizer.model_param_group_index_map[parameter]
        state = optimizer.optimizer.state[optimizer.optimizer.param_groups[group]["params"][place]]
        state["step"] = state["step"].clone()
        fill(parameter, {"step": state["step"], **tensors})

    optimizer._set_main_param_and_optimizer_states = fill_with_step


def _norm(chunk: int, overflow: Tensor, gradients: list[list[Tensor]], each: bool) -> tuple[Tensor, None]:
    """The length of all gradients together, by the shape of Apex's function: Megatron's stand-in for it waits for the
    device at every parameter."""
    norms = torch._foreach_norm(gradients[0])
    return torch.linalg.vector_norm(torch.stack(norms)).view(1), None


if clip_grads.l2_norm_impl is local_multi_tensor_l2_norm:
    clip_grads.l2_norm_impl = _norm
