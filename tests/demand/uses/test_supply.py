"""Totals add up, and their intervals hold what is really sold as often as they say."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demand.catalogue import Catalogue
from demand.customer import Customer, Order
from demand.moments import moment
from demand.questions import Question
from demand.uses.outlook import Outlook
from demand.uses.supply import (
    GROUPINGS,
    LEVELS,
    SMALLEST,
    STAYS,
    STORES_STAY,
    Expected,
    Level,
    Past,
    Split,
    Spread,
    Supply,
    by_week,
    groups_of,
    interval,
    moved,
)

AS_OF = moment("2024-06-01")


def outlook(catalogue: Catalogue, purchases: np.ndarray, *customers: Customer) -> Outlook:
    questions = [Question(each, AS_OF, 28) for each in customers]
    return Outlook(catalogue, questions, np.ones(len(customers)), purchases, -np.expm1(-purchases), purchases)


def test_units_are_purchases_times_what_one_holds(catalogue: Catalogue) -> None:
    item = catalogue.item_ids[3]
    regular = Customer("a", (Order(AS_OF - 1, (item,), (5.0,), (9.0,)), Order(AS_OF - 1, (item,), (4.0,), (9.0,))))
    purchases = np.zeros((2, len(catalogue)))
    purchases[:, 3] = 0.5, 2.0

    found = Expected.of(outlook(catalogue, purchases, regular, Customer("b")))

    mean = float(catalogue.mean_quantity[3])
    own = (5 + 4 + mean) / 3  # the catalogue's as one purchase more
    assert found.units[3] == pytest.approx(0.5 * own + 2.0 * mean)
    assert found.units_variance[3] == pytest.approx(0.5 * own**2 + 2.0 * mean**2)
    assert found.units.sum() == pytest.approx(found.units[3])


def test_groups_add_up_to_everything_whatever_they_are(catalogue: Catalogue) -> None:
    purchases = np.random.default_rng(0).random((3, len(catalogue)))
    found = Expected.of(outlook(catalogue, purchases, *(Customer(name) for name in "abc")))

    for by in GROUPINGS:
        groups, names = groups_of(catalogue, by)
        grouped = found.grouped(groups, len(names))
        assert len(grouped.units) == len(names)
        assert grouped.units.sum() == pytest.approx(found.units.sum())
        assert grouped.amount.sum() == pytest.approx(found.amount.sum())


def test_the_last_week_ends_with_the_days_that_are_asked_about() -> None:
    assert Split(weeks=True).ends(28) == [7, 14, 21, 28]
    assert Split(weeks=True).ends(10) == [7, 10]
    assert Split(weeks=True).ends(7) == [7]
    assert Split(weeks=True).ends(3) == [3]
    assert Split().ends(28) == [28]


def test_within_a_week_is_what_is_until_its_end_less_what_was_before_and_never_below_nothing() -> None:
    ends = np.array([[4.0, 1.0], [9.0, 5.0], [8.0, 5.0]])
    until = [Expected(units, 2 * units, 3 * units) for units in ends]

    found = by_week(until)

    assert found.units.tolist() == [[4, 1], [4, 4], [0, 0]]  # 9 is more than what all weeks together have: 8
    assert found.units_variance.tolist() == [[8, 2], [8, 8], [0, 0]]
    assert found.amount.tolist() == [[12, 3], [12, 12], [0, 0]]


@given(st.lists(st.lists(st.floats(0, 1e6), min_size=3, max_size=3), min_size=1, max_size=13))
def test_weeks_add_up_to_their_horizon_whatever_is_expected_until_their_ends(until: list[list[float]]) -> None:
    found = by_week([Expected(*np.array(each)[:, None]) for each in until])

    assert found.parts.sum(1)[:, 0] == pytest.approx(until[-1], rel=1e-12)
    assert (found.parts >= 0).all()


@pytest.mark.parametrize(("shock", "falls"), [(0.0, 0.0), (0.2, 0.0), (0.3, 0.4)])
def test_intervals_hold_as_much_as_they_say(shock: float, falls: float) -> None:
    """`shock`: of a total of 100, as a share of it, beyond chance; it falls by a power of the total."""
    rng = np.random.default_rng(2)
    means = rng.gamma(2.0, 30.0, 20_000) * rng.choice([1.0, 20.0], 20_000)
    expected = Expected(means, means * 2.0, means)  # two units a purchase

    def period() -> np.ndarray:
        shocks = shock * (np.maximum(means, 1) / 100) ** -falls
        moved = rng.gamma(1 / shocks**2, shocks**2) if shock else np.ones(len(means))
        return 2.0 * rng.poisson(means * moved / 2.0)

    spread = Spread.fit(expected, period())
    sold = period()

    assert spread.share == pytest.approx(shock, abs=0.03)
    if shock:
        assert spread.falls == pytest.approx(falls, abs=0.05)
    for level in LEVELS:
        low, high = interval(expected, spread, level)
        assert ((low <= sold) & (sold <= high)).mean() == pytest.approx(level, abs=0.04)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=5), st.floats(0, 2))
def test_wider_intervals_hold_narrower_ones_and_the_more_is_unknown_the_wider_they_are(
    means: list[float], beyond: float
) -> None:
    units = np.array(means)
    expected = Expected(units, units, units)
    found = [interval(expected, Spread(beyond), level) for level in LEVELS]

    for (low, high), (lower, higher) in pairwise(found):
        assert (lower <= low + 1e-9).all()
        assert (higher >= high - 1e-9).all()
    assert all((low >= 0).all() and (low <= high).all() for low, high in found)


def test_of_few_groups_one_share_is_told() -> None:
    expected = Expected(np.array([100.0, 300.0]), np.array([100.0, 300.0]), np.zeros(2))

    found = Spread.fit(expected, np.array([150.0, 250.0]))

    assert found == Spread(pytest.approx(((2 * 50**2 - 400) / (100**2 + 300**2)) ** 0.5))
    assert Spread.fit(expected, expected.units) == Spread(0.0)


def test_a_larger_total_is_off_by_less_of_it() -> None:
    assert Spread(0.3, 0.5).of(np.array([0.0, 1.0, 100.0, 400.0])) == pytest.approx([3.0, 3.0, 0.3, 0.15])


def test_much_of_what_sold_beyond_what_was_expected_stays_so() -> None:
    def past(expected: list[float], sold: list[float]) -> Past:
        units = np.array(expected)
        return Past(Expected(units, units, units), np.array(sold))

    lately = past([990.0, 990.0], [990.0, 2970.0])  # twice as much in all
    found = Level.of([lately], 2)

    both = [2 * (1000 / 1990) ** STAYS, 2 * (2980 / 1990) ** STAYS]
    assert found.factors == pytest.approx(both)
    assert found.on(Expected(*np.ones((3, 4, 2)))).amount == pytest.approx(np.tile(both, (4, 1)))
    earlier = past([990.0, 990.0], [1980.0, 1980.0])
    assert Level.of([earlier, lately], 2).factors == pytest.approx(
        [2 * (1990 / 2980) ** STAYS, 2 * (3970 / 2980) ** STAYS]
    )


def test_without_a_period_in_which_anything_sold_the_level_is_as_it_was_learned() -> None:
    nothing = Past(Expected(*np.ones((3, 2))), np.zeros(2))

    assert Level.of([], 2).factors.tolist() == Level.of([nothing], 2).factors.tolist() == [1, 1]


@given(st.integers(0, 99), st.sampled_from([(1, 3), (2, 3), (4, 2, 3)]))
def test_groups_of_leveled_items_add_up_however_they_are_split(seed: int, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(seed)
    past = [Past(Expected(*rng.gamma(2, 9, (3, *shape))), rng.poisson(9, shape)) for _ in range(2)]
    now = Expected(*rng.gamma(2, 9, (3, *shape)))

    items = Supply.of(now, past, np.arange(3), 3)
    groups = Supply.of(now, past, np.array([0, 1, 0]), 2)

    assert (items.level.factors == groups.level.factors).all()
    assert items.expected.units.shape == shape
    assert groups.expected.units[..., 0] == pytest.approx(items.expected.units[..., [0, 2]].sum(-1))
    assert items.expected.units.sum(-2) == pytest.approx((now.units * items.level.factors).sum(-2))


def test_the_spread_is_that_of_a_level_which_did_not_know_the_days() -> None:
    """Twice as much sells in each period, which the level of the one before knows: nothing is left but chance."""
    means = np.full((1, 500), 1000.0)
    past = [Past(Expected(means, means, means), 2 * means)] * 2

    found = Supply.of(past[0].expected, past, np.arange(500), 500)

    assert found.spread.share == pytest.approx(SMALLEST, rel=0.1)
    unforeseen = Supply.of(past[0].expected, past[1:], np.arange(500), 500)
    assert unforeseen.spread.of(means) == pytest.approx(1.0, rel=0.05)
    assert found.level.factors == pytest.approx(unforeseen.level.factors)


def test_a_store_that_sold_more_of_late_takes_from_the_others() -> None:
    units = np.array([[90.0, 990.0], [90.0, 810.0]])  # of two stores
    past = Past(Expected(units, units, units), np.array([[180.0, 1980.0], [90.0, 810.0]]))

    found = moved(past.expected, [past])

    everything = 3060 / 1980
    share = (
        ((2160 + 10) / (everything * 1080 + 10)) ** STORES_STAY,
        ((900 + 10) / (everything * 900 + 10)) ** STORES_STAY,
    )
    assert found.units[:, 0] == pytest.approx([180 * each / sum(share) for each in share])
    assert found.units.sum(0) == pytest.approx(units.sum(0))
    assert moved(past.expected, []) == past.expected
