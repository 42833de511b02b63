"""Prompts packed end to end: what a model reads in one pass, without any padding.

Shapes: T tokens of all prompts in a row, S prompts, R queries, P pairs of a query and an item that its customer met
before, M days, F features of an item, C of a customer, Y target items.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from demand.moments import DAY
from demand.packing import pack, packed_habits
from demand.prompts import Prompt
from modeling.ahead import one_ahead
from modeling.parallel import ON_GPU, device, on_device


@dataclass(frozen=True)
class Batch:
    """The tensors of one pack.

    Attributes:
        tokens_T: as in Prompt, end to end.
        places_T: each token's place within its own prompt.
        lengths, starts_S1: of each prompt; where each starts, and T at the end.
        queries_R: positions of the queries.
        moments_R: microseconds when each query is asked.
        days_M, day_R: the days of these, counted from 1970-01-01 on, each once, and which of them each query's is. The
            days stay on the host, where sales are looked up by them.
        horizons_R: days that each query asks about; 0 for the next order.
        waits_R: as in Prompt.
        customer_RC, wait_RE, met_query_P, met_item_P, met_count_P, habits_PF: as in demand.habits.Habits.
        targets_Y, target_query_Y: the items really bought, and the query that each of them answers.
    """

    tokens_T: Tensor
    places_T: Tensor
    lengths: tuple[int, ...]
    starts_S1: Tensor
    queries_R: Tensor
    moments_R: Tensor
    days_M: np.ndarray
    day_R: Tensor
    horizons_R: Tensor
    waits_R: Tensor
    customer_RC: Tensor
    wait_RE: Tensor
    met_query_P: Tensor
    met_item_P: Tensor
    met_count_P: Tensor
    habits_PF: Tensor
    targets_Y: Tensor
    target_query_Y: Tensor

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], multiple: int = 1) -> "Batch":
        """From what `pack` returns, on the host. The habits at its queries take a processor longer than a GPU the rest.

        Args:
            multiple: the tokens' number is made a multiple of it, with a sequence at the end that nobody asks.
        """
        tokens, lengths = arrays["tokens"], arrays["lengths"]
        if missing := -len(tokens) % multiple:
            tokens, lengths = np.pad(tokens, (0, missing)), np.append(lengths, np.int32(missing))
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        met = packed_habits(arrays)
        days_M, day_R = np.unique(arrays["moments"] // DAY, return_inverse=True)
        return cls(
            tokens_T=_tensor(tokens, torch.long),
            places_T=_tensor(np.arange(len(tokens)) - np.repeat(starts[:-1], lengths), torch.long),
            lengths=tuple(lengths.tolist()),
            starts_S1=_tensor(starts, torch.int32),
            queries_R=_tensor(arrays["queries"], torch.long),
            moments_R=_tensor(arrays["moments"], torch.long),
            days_M=days_M,
            day_R=_tensor(day_R, torch.long),
            horizons_R=_tensor(arrays["horizons"], torch.float32),
            waits_R=_tensor(arrays["waits"], torch.float32),
            customer_RC=_tensor(met.customer_QC, torch.float32),
            wait_RE=_tensor(met.wait_QE, torch.float32),
            met_query_P=_tensor(met.query_P, torch.long),
            met_item_P=_tensor(met.item_P, torch.long),
            met_count_P=_tensor(met.count_P, torch.float32),
            habits_PF=_tensor(met.item_PF, torch.float32),
            targets_Y=_tensor(arrays["targets"], torch.long),
            target_query_Y=_tensor(np.repeat(np.arange(len(arrays["queries"])), arrays["target_counts"]), torch.long),
        )

    @classmethod
    def from_prompts(cls, prompts: Sequence[Prompt]) -> "Batch":
        """Several prompts in one batch, where this process computes."""
        return cls.from_arrays(pack(prompts)).to_device()

    def to_device(self) -> "Batch":
        """The same where this process computes."""
        sent: dict[str, Any] = {name: on_device(each) for name, each in vars(self).items() if isinstance(each, Tensor)}
        return replace(self, **sent)

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt."""
        return max(self.lengths)


def sent(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Each where this process computes. A thread sends a GPU the next one: to copy some megabytes takes tens of
    milliseconds, in which kernels can be launched."""
    coming = map(Batch.to_device, batches)
    return one_ahead(coming, partial(torch.cuda.set_device, device())) if ON_GPU else coming


def _tensor(array: np.ndarray, dtype: torch.dtype) -> Tensor:
    return torch.as_tensor(np.require(array, requirements="W"), dtype=dtype)
