"""Membership inference: can it be told from a model's losses whom it learned from? (Shokri et al., arXiv:1610.05820)"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from demand.bootstrap import SEED, interval, resampled_means
from demand.reliability import ranking_chance

Scores = Mapping[str, np.ndarray]
"""By attack, a number for each customer: the higher, the likelier the model learned from them."""


@dataclass(frozen=True)
class Auc:
    """The chance that a customer whom the model learned from scores higher than another; .5 is luck.

    Attributes:
        low, high: its 95 % interval, over other customers.
    """

    auc: float
    low: float
    high: float

    @classmethod
    def of(cls, members: np.ndarray, others: np.ndarray) -> "Auc":
        """From scores. The interval is a bootstrap over the customers of either side, by how often each is ahead of the
        other side (DeLong et al., Biometrics 1988)."""
        happened = np.repeat([True, False], [len(members), len(others)])
        auc = ranking_chance(np.concatenate([members, others]), happened)
        ahead, behind = _ahead(members, others), _ahead(-others, -members)
        resampled = resampled_means(ahead, seed=SEED) + resampled_means(behind, seed=SEED + 1) - auc
        (low,), (high,) = interval(resampled)
        return cls(auc, float(low), float(high))


@dataclass(frozen=True)
class Inference:
    """What an audit found.

    Attributes:
        members, others: customers whom the model learned from, and whom it did not.
        attack: the stronger one on half of the customers.
        result: of that attack on the other half, which had no say in the choice.
        attacks: each on all customers.
    """

    members: int
    others: int
    attack: str
    result: Auc
    attacks: Mapping[str, Auc]


def infer(members: Scores, others: Scores, seed: int = SEED) -> Inference:
    """Chooses among attacks on half of the customers, drawn at random, and measures the chosen one on the rest."""
    rng = np.random.default_rng(seed)
    count, others_count = (len(next(iter(each.values()))) for each in (members, others))
    choosing, measuring = np.array_split(rng.permutation(count), 2)
    other_choosing, other_measuring = np.array_split(rng.permutation(others_count), 2)
    chosen = max(members, key=lambda attack: Auc.of(members[attack][choosing], others[attack][other_choosing]).auc)
    result = Auc.of(members[chosen][measuring], others[chosen][other_measuring])
    attacks = {attack: Auc.of(members[attack], others[attack]) for attack in members}
    return Inference(count, others_count, chosen, result, attacks)


def _ahead(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The share of the other side that each is ahead of, (R, 1); what is level counts half."""
    ordered = np.sort(other)
    below = np.searchsorted(ordered, one, "left") + np.searchsorted(ordered, one, "right")
    shares: np.ndarray = below[:, None] / (2 * len(other))
    return shares
