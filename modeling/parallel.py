"""Process groups and devices: one place that knows whether there is a GPU and how many processes work together."""

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import psutil
import torch
import torch.distributed as dist
from torch import Tensor

from modeling.layout import LayoutSettings

ON_GPU = torch.cuda.is_available()
FUSES = ON_GPU and any(map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang")))
"""Whether chains of small operations become one kernel: torch.compile makes it, and needs a C compiler for that."""

GLOO_CARD = "GLOO_SOCKET_IFNAME"
"""Environment variable with the network card that gloo uses."""
LOOPBACK = "127.0.0.1"
STAGE_OFFSET = 100
"""Between the seeds of pipeline stages, as in Megatron-LM: layers of one are not those of another again."""


def initialize(seed: int = 0, layout: LayoutSettings | None = None) -> None:
    """Readies Megatron-core in this process: process group, parallel state, random states.

    A process group that exists (made by Ray Train) is used; otherwise this process works alone. Calling it again only
    sets the seed.
    """
    os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "1")
    if not ON_GPU:
        from modeling.cpu import redirect_cuda_to_cpu

        redirect_cuda_to_cpu()
    from modeling.megatron import parallel_state, tensor_parallel

    layout = layout or LayoutSettings()
    alone = not dist.is_initialized()
    with _gloo_on(network_card(LOOPBACK)) if alone else nullcontext():
        if alone:
            store = dist.HashStore()  # type: ignore[attr-defined]
            dist.init_process_group("nccl" if ON_GPU else "gloo", store=store, rank=0, world_size=1)
        if not parallel_state.model_parallel_is_initialized():
            sizes = layout.tensor, layout.pipeline
            parallel_state.initialize_model_parallel(*sizes, context_parallel_size=layout.context)
    seed += STAGE_OFFSET * parallel_state.get_pipeline_model_parallel_rank()
    torch.manual_seed(seed)
    tensor_parallel.model_parallel_cuda_manual_seed(seed, force_reset_rng=True)


def network_card(address: str) -> str | None:
    """The network card of this host that has an address, if one has."""
    cards = psutil.net_if_addrs().items()
    return next((card for card, addresses in cards if any(each.address == address for each in addresses)), None)


@contextmanager
def _gloo_on(card: str | None) -> Iterator[None]:
    """Groups that are made meanwhile use a network card. gloo else asks for the address of the host's own name, for
    each group, which takes minutes where no name server answers."""
    before = os.environ.get(GLOO_CARD)
    if card and not before:
        os.environ[GLOO_CARD] = card
    try:
        yield
    finally:
        if not before:
            os.environ.pop(GLOO_CARD, None)


def device() -> torch.device:
    """Where this process computes."""
    return torch.device("cuda", torch.cuda.current_device()) if ON_GPU else torch.device("cpu")


def on_device(tensor: Tensor) -> Tensor:
    """A host's tensor where this process computes, on its way while the device still does something else."""
    return tensor.pin_memory().to(device(), non_blocking=True) if ON_GPU else tensor


def seed_dropout(seed: int, sequence_parallel: bool) -> None:
    """Decides what dropout drops: the same on processes that hold the same layers of the same tokens, other values on
    the others."""
    from modeling.megatron import parallel_state, tensor_parallel

    place = parallel_state.get_pipeline_model_parallel_rank()
    place = place * parallel_state.get_context_parallel_world_size() + parallel_state.get_context_parallel_rank()
    if sequence_parallel:
        place = place * parallel_state.get_tensor_model_parallel_world_size()
        place += parallel_state.get_tensor_model_parallel_rank()
    seed += 1_000_000_007 * place
    torch.manual_seed(seed)
    if sequence_parallel:  # Megatron then drops by states of its own
        tensor_parallel.model_parallel_cuda_manual_seed(seed)


def share() -> tuple[int, int]:
    """Which copy of the model this process belongs to, and how many copies share the data."""
    from modeling.megatron import parallel_state

    return parallel_state.get_data_parallel_rank(), parallel_state.get_data_parallel_world_size()


def answers() -> bool:
    """Whether this process speaks for its copy of the model: the first that holds the last stage."""
    from modeling.megatron import parallel_state

    ranks = parallel_state.get_tensor_model_parallel_rank(), parallel_state.get_context_parallel_rank()
    return ranks == (0, 0) and parallel_state.is_pipeline_last_stage()


def highest_of_tensor_group(values: Tensor) -> Tensor:
    """The elementwise maximum over the processes that share each layer. Nothing flows back through it."""
    from modeling.megatron import parallel_state

    group = parallel_state.get_tensor_model_parallel_group()
    if group.size() > 1:
        dist.all_reduce(values, dist.ReduceOp.MAX, group=group)
    return values


def fast_forward() -> AbstractContextManager[None]:
    """Wraps forward passes: without a GPU it lifts the redirection of CUDA calls from the hot path."""
    if ON_GPU:
        return nullcontext()
    from modeling.cpu import without_redirection

    return without_redirection()
