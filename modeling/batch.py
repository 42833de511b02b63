"""Prompts packed end to end: what a model reads in one pass, without any padding.

Shapes: T tokens of all prompts in a row, S prompts, R queries, P pairs of a query and an item position, K item
positions in a pair, Y target items, H pairs that hit a target.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from demand.packing import pack
from demand.prompts import Prompt
from modeling.parallel import ON_GPU, device


@dataclass(frozen=True)
class Batch:
    """The tensors of one pack.

    Attributes:
        tokens_T, items_T, ages_T, orders_T: as in Prompt, end to end.
        places_T: each token's place within its own prompt.
        lengths, starts_S1: of each prompt; where each starts, and T at the end.
        queries_R: positions of the queries.
        elapsed_R: days from the last item before the query to the query; -1 without one.
        pair_query_P, pair_position_P: each query with each item position before it in its own prompt.
        copied_K, pair_place_P: the item positions that are in a pair, and each pair's place among them.
        targets_Y, target_query_Y: the items really bought, and the query that each of them answers.
        hit_pair_H, hit_target_H: the pairs whose item was bought again, and which target that is.
    """

    tokens_T: Tensor
    items_T: Tensor
    ages_T: Tensor
    orders_T: Tensor
    places_T: Tensor
    lengths: tuple[int, ...]
    starts_S1: Tensor
    queries_R: Tensor
    elapsed_R: Tensor
    pair_query_P: Tensor
    pair_position_P: Tensor
    copied_K: Tensor
    pair_place_P: Tensor
    targets_Y: Tensor
    target_query_Y: Tensor
    hit_pair_H: Tensor
    hit_target_H: Tensor

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], multiple: int = 1) -> "Batch":
        """From what `pack` returns, on this process's device.

        Args:
            multiple: the tokens' number is made a multiple of it, with a sequence at the end that nobody asks.
        """
        arrays = _padded(arrays, multiple)
        lengths, queries = arrays["lengths"], arrays["queries"]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        item_positions = np.flatnonzero(arrays["items"] >= 0)
        prompt_start = starts[np.searchsorted(starts, queries, side="right") - 1]
        low, high = np.searchsorted(item_positions, prompt_start), np.searchsorted(item_positions, queries)
        counts = high - low
        pair_query = np.repeat(np.arange(len(queries)), counts)
        within = np.arange(len(pair_query)) - np.repeat(np.cumsum(counts) - counts, counts)
        pair_item = np.repeat(low, counts) + within
        pair_position = item_positions[pair_item]
        copied = np.zeros(len(item_positions), dtype=bool)
        copied[pair_item] = True
        target_query = np.repeat(np.arange(len(queries)), arrays["target_counts"])
        hit_pair, hit_target = _matches(pair_query, arrays["items"][pair_position], target_query, arrays["targets"])
        elapsed = np.full(len(queries), -1.0, dtype=np.float32)
        known = counts > 0
        elapsed[known] = arrays["ages"][item_positions[high[known] - 1]] - arrays["ages"][queries[known]]
        return cls(
            tokens_T=_tensor(arrays["tokens"], torch.long),
            items_T=_tensor(arrays["items"], torch.long),
            ages_T=_tensor(arrays["ages"], torch.float32),
            orders_T=_tensor(arrays["orders"], torch.long),
            places_T=_tensor(np.arange(len(arrays["tokens"])) - np.repeat(starts[:-1], lengths), torch.long),
            lengths=tuple(lengths.tolist()),
            starts_S1=_tensor(starts, torch.int32),
            queries_R=_tensor(queries, torch.long),
            elapsed_R=_tensor(elapsed, torch.float32),
            pair_query_P=_tensor(pair_query, torch.long),
            pair_position_P=_tensor(pair_position, torch.long),
            copied_K=_tensor(item_positions[copied], torch.long),
            pair_place_P=_tensor((np.cumsum(copied) - 1)[pair_item], torch.long),
            targets_Y=_tensor(arrays["targets"], torch.long),
            target_query_Y=_tensor(target_query, torch.long),
            hit_pair_H=_tensor(hit_pair, torch.long),
            hit_target_H=_tensor(hit_target, torch.long),
        )

    @classmethod
    def from_prompts(cls, prompts: Sequence[Prompt]) -> "Batch":
        """Several prompts in one batch."""
        return cls.from_arrays(pack(prompts))

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt."""
        return max(self.lengths)


def _padded(arrays: Mapping[str, np.ndarray], multiple: int) -> Mapping[str, np.ndarray]:
    missing = -len(arrays["tokens"]) % multiple
    if not missing:
        return arrays
    filler = {"tokens": 0, "items": -1, "ages": 0, "orders": 0}
    padded = {name: np.pad(arrays[name], (0, missing), constant_values=value) for name, value in filler.items()}
    return {**arrays, **padded, "lengths": np.append(arrays["lengths"], np.int32(missing))}


def _matches(
    query_P: np.ndarray, item_P: np.ndarray, query_Y: np.ndarray, item_Y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Places in the first list and in the second that hold the same item of the same query."""
    if not len(item_Y):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    items = max(int(item_Y.max()), int(item_P.max(initial=0))) + 1
    keys_P, keys_Y = query_P * items + item_P, query_Y * items + item_Y
    order = np.argsort(keys_Y)
    places = np.searchsorted(keys_Y, keys_P, sorter=order).clip(max=len(keys_Y) - 1)
    found = order[places]
    hits = np.flatnonzero(keys_Y[found] == keys_P)
    return hits, found[hits]


def _tensor(array: np.ndarray, dtype: torch.dtype) -> Tensor:
    tensor = torch.as_tensor(np.array(array), dtype=dtype)
    if not ON_GPU:
        return tensor
    return tensor.pin_memory().to(device(), non_blocking=True)  # while the device still computes
