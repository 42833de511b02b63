"""How long until the next order: a rate that changes from interval to interval and is constant within each.

The piecewise exponential model of survival analysis (Friedman, 1982; with a network for the rates: Kvamme & Borgan,
arXiv:1910.06724). One question teaches it about all horizons, also where the next order lies beyond what is known.

Shapes: R queries, K intervals (see FROM).
"""

import torch
from torch import Tensor

from demand.vocabulary import HORIZON_DAYS
from modeling.parallel import on_device

FROM = (0, *HORIZON_DAYS)
"""Days from the question at which each interval begins; the last has no end."""


def chance_of_order(log_rate_RK: Tensor, days_R: Tensor) -> Tensor:
    """The chance of an order within so many days, (R,); 1 where days are 0, for a next order is taken to come.

    Args:
        log_rate_RK: logarithms of orders a day.
    """
    chance_R = -torch.expm1(-_expected(log_rate_RK, days_R))
    return torch.where(days_R > 0, chance_R, torch.ones_like(chance_R))


def waiting_loss(log_rate_RK: Tensor, waits_R: Tensor) -> Tensor:
    """-log likelihood of how long it took, summed over all queries.

    Args:
        waits_R: as in demand.prompts.Prompt.
    """
    days_R = waits_R.abs()
    interval_R = torch.searchsorted(_starts(waits_R), days_R, right=True) - 1
    came_R = log_rate_RK.gather(1, interval_R[:, None]).squeeze(1) * (waits_R > 0)
    return (_expected(log_rate_RK, days_R) - came_R).sum()


def _expected(log_rate_RK: Tensor, days_R: Tensor) -> Tensor:
    """Orders expected within so many days, if each were followed by more, (R,)."""
    starts_K = _starts(days_R)
    widths_K = torch.diff(starts_K, append=starts_K.new_full((1,), torch.inf))
    inside_RK = torch.minimum((days_R[:, None] - starts_K).clamp(min=0), widths_K)
    return (log_rate_RK.exp() * inside_RK).sum(1)


def _starts(like: Tensor) -> Tensor:
    """Sent as a batch is: to make it where a GPU computes would wait for all that the GPU has still to do."""
    return on_device(torch.tensor(FROM, dtype=like.dtype))
