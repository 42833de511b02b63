"""Process groups and devices: one place that knows whether there is a GPU and how many processes work together."""

import os
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.distributed as dist

ON_GPU = torch.cuda.is_available()


def initialize(seed: int = 0) -> None:
    """Readies Megatron-core in this process: process group, parallel state, random states.

    A process group that exists (made by Ray Train) is used; otherwise this process works alone. Calling it again only
    sets the seed.
    """
    os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "1")
    if not dist.is_initialized():
        alone = dist.HashStore()  # type: ignore[attr-defined]
        dist.init_process_group("nccl" if ON_GPU else "gloo", store=alone, rank=0, world_size=1)
    if not ON_GPU:
        from modeling.cpu import redirect_cuda_to_cpu

        redirect_cuda_to_cpu()
    from megatron.core import parallel_state, tensor_parallel

    if not parallel_state.model_parallel_is_initialized():
        parallel_state.initialize_model_parallel()
    torch.manual_seed(seed)
    tensor_parallel.model_parallel_cuda_manual_seed(seed, force_reset_rng=True)


def device() -> torch.device:
    """Where this process computes."""
    return torch.device("cuda", torch.cuda.current_device()) if ON_GPU else torch.device("cpu")


def fast_forward() -> AbstractContextManager[None]:
    """Wraps forward passes: without a GPU it lifts the redirection of CUDA calls from the hot path."""
    if ON_GPU:
        return nullcontext()
    from modeling.cpu import without_redirection

    return without_redirection()
