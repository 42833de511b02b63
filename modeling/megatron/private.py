"""Gradients that hide each customer (DP-SGD; Abadi et al., CCS 2016, arXiv:1607.00133).

Each customer's gradient is cut to a length, and noise is added to their sum, large against what any one of them can
change. Opacus takes such gradients by hooks on PyTorch's own layers, which Megatron's are not: here each customer is a
backward pass of its own.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from megatron.core.distributed import DistributedDataParallel
from torch import Tensor

from modeling.parallel import device


@dataclass(frozen=True)
class Privacy:
    """How customers are hidden.

    Attributes:
        clip: largest length of a customer's gradient.
        noise: standard deviation of what is added to each number of the sum, in clips.
        customers: how many are expected in a step; the sum is divided by it, for how many came is a secret too.
    """

    clip: float
    noise: float
    customers: float


class PrivateGradients:
    """Fills a model's gradients; every process holds all of the model, and has some of a step's customers."""

    def __init__(self, model: DistributedDataParallel, privacy: Privacy) -> None:
        self._model, self._privacy = model, privacy
        self._noise = torch.Generator(device()).manual_seed(secrets.randbits(63))  # no seed that anybody could know

    def fill(self, losses: Iterable[Tensor]) -> None:
        """Puts the noisy mean of customers' gradients where the optimizer looks for it.

        Args:
            losses: one for each customer of this process, worked out when its turn comes.
        """
        sums = [torch.zeros_like(each) for each in self._gradients]
        for loss in losses:
            self._model.zero_grad_buffer()
            with self._model.no_sync():
                loss.backward()
            length = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(each) for each in self._gradients]))
            if not torch.isfinite(length):
                continue
            share = torch.clamp(self._privacy.clip / length, max=1.0)
            for total, gradient in zip(sums, self._gradients, strict=True):
                total.addcmul_(gradient, share)
        for total, gradient in zip(sums, self._gradients, strict=True):
            if dist.get_rank() == 0:
                deviation = self._privacy.noise * self._privacy.clip
                total.add_(torch.randn(total.shape, generator=self._noise, device=total.device), alpha=deviation)
            dist.all_reduce(total)
            gradient.copy_(total.div_(self._privacy.customers))

    @property
    def _gradients(self) -> list[Tensor]:
        """Megatron's buffers, in 32 bits, of which each parameter's gradient is a part."""
        return [buffer.grad_data for buffer in self._model.buffers]
