"""What is built on Megatron-core: the network, how it learns, and how it is spread over processes.

Megatron-core hands its fused functions to torch.compile as soon as it is imported, and that loads a compiler: 4 of the
9 seconds until a process can start. Where there is no GPU none of these functions is called, so they are left as they
are.
"""

import torch

if torch.cuda.is_available():
    from megatron.core import parallel_state, tensor_parallel
else:
    compiles, torch.compile = torch.compile, lambda function: function  # type: ignore[assignment]
    try:
        from megatron.core import parallel_state, tensor_parallel
        from megatron.core.jit import disable_jit_fuser
    finally:
        torch.compile = compiles
    disable_jit_fuser()  # for the parts of Megatron-core that are imported later

__all__ = ["parallel_state", "tensor_parallel"]
