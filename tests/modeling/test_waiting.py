"""When the next order comes: chances and likelihoods, against integrals by hand."""

import numpy as np
import pytest
import torch

from modeling.waiting import FROM, chance_of_order, waiting_loss

RATES = torch.linspace(0.02, 0.2, len(FROM)).double()
LOGS = RATES.log()[None]


def expected(days: float) -> float:
    """The integral of the rate from the question on, in small steps."""
    width = 0.001
    middles = np.arange(width / 2, days, width)
    return float(sum(RATES[np.searchsorted(FROM, middles, side="right") - 1]) * width)


@pytest.mark.parametrize("days", [1, 4, 28, 91])
def test_the_chance_of_an_order_follows_from_the_rates_until_then(days: int) -> None:
    chance = chance_of_order(LOGS, torch.tensor([float(days)]))

    assert float(chance) == pytest.approx(1 - np.exp(-expected(days)), abs=1e-4)


def test_a_next_order_comes_and_longer_horizons_are_likelier() -> None:
    days = torch.tensor([1.0, 2.0, 5.0, 30.0, 91.0, 0.0])

    chances = chance_of_order(LOGS.expand(6, -1), days)

    assert (chances.diff() > 0).all()
    assert chances[-1] == 1


def test_the_loss_is_that_of_an_order_after_so_long_or_of_none_in_so_long() -> None:
    came_after_4, none_in_20, unknown = (waiting_loss(LOGS, torch.tensor([wait])) for wait in (4.0, -20.0, 0.0))

    assert float(came_after_4) == pytest.approx(expected(4) - np.log(float(RATES[FROM.index(3)])), abs=1e-3)
    assert float(none_in_20) == pytest.approx(expected(20), abs=1e-3)
    assert float(unknown) == 0


def test_rates_are_learned_from_waits_that_were_cut_short() -> None:
    rng = np.random.default_rng(0)
    waits, seen = rng.exponential(10, 4_000), rng.uniform(0, 30, 4_000)
    told = torch.tensor(np.where(waits < seen, waits, -seen))
    logs = torch.zeros(1, len(FROM), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logs], max_iter=100)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        total = waiting_loss(logs.expand(len(told), -1), told) / len(told)
        total.backward()
        return total

    optimizer.step(loss)

    assert logs.detach().exp()[0, : FROM.index(25)].numpy() == pytest.approx(0.1, rel=0.15)
