"""Context parallelism: several processes share each pack's tokens, and look at one another's keys and values.

The pack is cut into twice as many chunks as processes; each process holds one from the front and one from the back, so
that all have as much to look back at. Keys and values are gathered in each layer (Grattafiori et al., 2024, "The
Llama 3 Herd of Models", section 3.3.2), and hidden states once, for the head.

Shapes: T tokens of a pack, C of them in this process.
"""

from dataclasses import dataclass

import torch
from megatron.core import parallel_state
from megatron.core.tensor_parallel import gather_from_sequence_parallel_region
from torch import Tensor

from modeling.parallel import device


@dataclass(frozen=True)
class Split:
    """This process's tokens of a pack.

    Attributes:
        chunks: where its chunks begin and end.
        mine_C: positions of its tokens.
        order_T: for each token of the pack its place among all processes' tokens, one process after the other.
    """

    chunks: tuple[tuple[int, int], ...]
    mine_C: Tensor
    order_T: Tensor

    @classmethod
    def of(cls, tokens: int) -> "Split | None":
        """Of a pack whose tokens are a multiple of twice the processes; none where one process holds all."""
        processes = parallel_state.get_context_parallel_world_size()
        if processes == 1:
            return None
        size = tokens // (2 * processes)
        begins = [(rank * size, (2 * processes - 1 - rank) * size) for rank in range(processes)]
        chunks = [tuple((begin, begin + size) for begin in each) for each in begins]
        held = [torch.cat([torch.arange(*chunk, device=device()) for chunk in each]) for each in chunks]
        rank = parallel_state.get_context_parallel_rank()
        return cls(chunks[rank], held[rank], torch.cat(held).argsort())

    def gather(self, part: Tensor) -> Tensor:
        """(C, …) of this process -> (T, …) of all; gradients from all processes add up."""
        group = parallel_state.get_context_parallel_group()
        whole: Tensor = gather_from_sequence_parallel_region(part, group=group)[self.order_T]
        return whole
