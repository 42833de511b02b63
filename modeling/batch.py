"""Prompts packed end to end: what a model reads in one pass, without any padding.

Shapes: T tokens of all prompts in a row, S prompts, R queries, P pairs of a query and an item position, Y target items.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from demand.packing import pack
from demand.prompts import Prompt
from modeling.parallel import device


@dataclass(frozen=True)
class Batch:
    """The tensors of one pack.

    Attributes:
        tokens_T, items_T, ages_T, orders_T: as in Prompt, end to end.
        places_T: each token's place within its own prompt.
        starts_S1: where each prompt starts, and T at the end.
        queries_R: positions of the queries.
        elapsed_R: days from the last item before the query to the query; -1 without one.
        pair_query_P, pair_position_P: each query with each item position before it in its own prompt.
        targets_Y, target_counts_R: the items really bought, all queries in a row, and how many belong to each.
    """

    tokens_T: Tensor
    items_T: Tensor
    ages_T: Tensor
    orders_T: Tensor
    places_T: Tensor
    starts_S1: Tensor
    queries_R: Tensor
    elapsed_R: Tensor
    pair_query_P: Tensor
    pair_position_P: Tensor
    targets_Y: Tensor
    target_counts_R: Tensor

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Batch":
        """From what `pack` returns, on this process's device."""
        lengths, queries = arrays["lengths"], arrays["queries"]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        item_positions = np.flatnonzero(arrays["items"] >= 0)
        prompt_start = starts[np.searchsorted(starts, queries, side="right") - 1]
        low, high = np.searchsorted(item_positions, prompt_start), np.searchsorted(item_positions, queries)
        counts = high - low
        pair_query = np.repeat(np.arange(len(queries)), counts)
        within = np.arange(len(pair_query)) - np.repeat(np.cumsum(counts) - counts, counts)
        pair_position = item_positions[np.repeat(low, counts) + within]
        elapsed = np.full(len(queries), -1.0, dtype=np.float32)
        known = counts > 0
        elapsed[known] = arrays["ages"][item_positions[high[known] - 1]] - arrays["ages"][queries[known]]
        return cls(
            tokens_T=_tensor(arrays["tokens"], torch.long),
            items_T=_tensor(arrays["items"], torch.long),
            ages_T=_tensor(arrays["ages"], torch.float32),
            orders_T=_tensor(arrays["orders"], torch.long),
            places_T=_tensor(np.arange(len(arrays["tokens"])) - np.repeat(starts[:-1], lengths), torch.long),
            starts_S1=_tensor(starts, torch.int32),
            queries_R=_tensor(queries, torch.long),
            elapsed_R=_tensor(elapsed, torch.float32),
            pair_query_P=_tensor(pair_query, torch.long),
            pair_position_P=_tensor(pair_position, torch.long),
            targets_Y=_tensor(arrays["targets"], torch.long),
            target_counts_R=_tensor(arrays["target_counts"], torch.long),
        )

    @classmethod
    def from_prompts(cls, prompts: Sequence[Prompt]) -> "Batch":
        """Several prompts in one batch."""
        return cls.from_arrays(pack(prompts))

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt."""
        return int(self.starts_S1.diff().max())


def _tensor(array: np.ndarray, dtype: torch.dtype) -> Tensor:
    return torch.as_tensor(np.array(array), dtype=dtype, device=device())
