"""Megatron-core on a machine without a GPU.

Megatron-core 0.16 asks for CUDA by name in three kinds of places: factory calls and `.cuda()`, the state of the CUDA
random generator, and the distributed optimizer's check of tensor types. Here they are sent to the CPU. This module is
imported only where no GPU is found; `without_redirection` keeps it out of a model's forward pass.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class _CudaOnCpu(TorchFunctionMode):
    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if function is torch.Tensor.cuda:
            return args[0]
        if function is torch.Tensor.type and len(args) == 1 and not kwargs:
            return function(*args).replace("torch.", "torch.cuda.")
        device = kwargs.get("device")
        if device is not None and not isinstance(device, int) and torch.device(device).type == "cuda":
            kwargs["device"] = "cpu"
        return function(*args, **kwargs)


_installed = False
_redirected = threading.local()


def redirect_cuda_to_cpu() -> None:
    """Sends everything that asks for CUDA to the CPU, for the rest of this thread. Does it once."""
    global _installed
    if not hasattr(_redirected, "mode"):
        _redirected.mode = _CudaOnCpu()
        _redirected.mode.__enter__()
    if _installed:
        return
    from modeling.megatron import tensor_parallel

    random = tensor_parallel.random

    torch.cuda.current_device = lambda: torch.device("cpu")  # type: ignore[assignment,return-value]
    torch.cuda.synchronize = lambda *_: None
    torch.cuda.manual_seed = torch.manual_seed  # type: ignore[assignment]
    torch.cuda.get_rng_state = lambda *_, **__: torch.get_rng_state()
    random._get_cuda_rng_state = lambda *_, **__: torch.get_rng_state()
    random._set_cuda_rng_state = lambda state, *_, **__: torch.set_rng_state(state)
    _installed = True


def without_redirection() -> AbstractContextManager[None]:
    """A block in which tensor functions are called directly: faster, and nothing in it may ask for CUDA."""
    return torch._C.DisableTorchFunction()
