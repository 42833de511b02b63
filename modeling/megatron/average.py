"""The running mean of a model's weights, which answers better than the weights of any one step.

Exponential, as in Polyak & Juditsky (1992, "Acceleration of Stochastic Approximation by Averaging") and Tarvainen &
Valpola (2017, arXiv:1703.01780), and shorter at the start, so that it does not remember where training began.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from megatron.core.dist_checkpointing.dict_utils import dict_list_map_inplace
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from modeling.megatron.model import DemandModel


class Average:
    """The mean of the learned weights that this process holds, in 32 bits."""

    def __init__(self, model: DemandModel, decay: float) -> None:
        """`decay` is the share of the mean that a step leaves; 0 keeps no mean: the weights themselves stand for it."""
        self._model, self._decay = model, decay
        self._learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._means = self._weights() if decay else []

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the weights after a step, the first of which is step 1."""
        if not self._decay:
            return
        decay = min(self._decay, step / (step + 9))
        weights: list[Tensor | Any] = [parameter.detach().float() for parameter in self._learned]
        get_ema_multi_avg_fn(decay)(self._means, weights, step)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model answers with the mean."""
        if not self._means:
            yield
            return
        own = [parameter.detach().clone() for parameter in self._learned]
        self._put(self._means)
        try:
            yield
        finally:
            self._put(own)

    def sharded(self, state: dict[str, Any]) -> dict[str, Any]:
        """Megatron's description of the model's weights, with the mean in the place of those that are learned."""
        answering = self._means or self._weights()
        means = {weight.data_ptr(): mean for weight, mean in zip(self._learned, answering, strict=True)}

        def exchange(each: Any) -> Any:
            if isinstance(getattr(each, "data", None), Tensor):
                each.data = means.get(each.data.data_ptr(), each.data)
                each.dtype = each.data.dtype
            return each

        dict_list_map_inplace(exchange, state)
        return state

    def learned(self, state: dict[str, Any]) -> dict[str, Any]:
        """Of Megatron's description of the model's weights those that are learned."""
        weights = {weight.data_ptr() for weight in self._learned}
        return {
            name: each
            for name, each in state.items()
            if not isinstance(getattr(each, "data", None), Tensor) or each.data.data_ptr() in weights
        }

    def load(self, state: dict[str, Any]) -> None:
        """The inverse of `sharded`, whose tensors were filled."""
        names = {id(parameter): name for name, parameter in self._model.named_parameters()}
        for parameter, mean in zip(self._learned, self._means, strict=bool(self._means)):
            mean.copy_(state[names[id(parameter)]])

    def _weights(self) -> list[Tensor]:
        return [weight.detach().to(torch.float32, copy=True) for weight in self._learned]

    @torch.no_grad()
    def _put(self, weights: list[Tensor]) -> None:
        for parameter, weight in zip(self._learned, weights, strict=True):
            parameter.copy_(weight)
