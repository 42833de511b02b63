"""A list breaks no wish, whatever items are worth, and is otherwise the best that there is."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demand.catalogue import PURCHASES, Catalogue
from demand.customer import Customer, Order
from demand.moments import DAY, moment
from demand.tables import TABLES
from demand.uses.recommendation import Wish, bought_once, recommend

ITEMS = [("apple", "fruit", 1.0), ("bread", "bakery", 2.0), ("kettle", "kitchen", 30.0), ("pear", "fruit", 1.5),
         ("plum", "fruit", None), ("rolls", "bakery", 2.5)]  # fmt: skip
START = moment("2024-01-01")


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    """Thirty people bought a kettle once and apples twice, at 2 a unit; nobody ever bought a plum."""
    items = pa.table(
        {
            "item_id": [item for item, _, _ in ITEMS],
            "name": [item.title() for item, _, _ in ITEMS],
            "category": [category for _, category, _ in ITEMS],
            "department": [None] * len(ITEMS),
            "price": [price for _, _, price in ITEMS],
        },
        schema=TABLES["items"],
    )
    lines = [
        (f"c{person}", START + day * DAY, f"o{person}-{day}", item, 1.0, 2.0)
        for person in range(30)
        for day, item in ((0, "kettle"), (1, "apple"), (8, "apple"))
    ]
    columns = dict(zip(PURCHASES, map(list, zip(*lines, strict=True)), strict=True))
    schema = pa.schema([TABLES["orders"].field(name) for name in PURCHASES])
    return Catalogue.of(items, [pa.table({**columns, "ts": pa.array(columns["ts"], schema.field("ts").type)}, schema)])


def owner(*items: str) -> Customer:
    order = Order(START, items, (1.0,) * len(items), (1.0,) * len(items))
    return Customer("c", (order,) if items else ())


CHANCES = np.array([0.5, 0.4, 0.9, 0.3, 0.2, 0.35])
AMOUNTS = np.array([0.5, 0.8, 27.0, 0.45, 0.3, 0.9])


def listed(catalogue: Catalogue, customer: Customer, **wish: object) -> list[str]:
    found = recommend(customer, catalogue, CHANCES, AMOUNTS, Wish(**wish))  # type: ignore[arg-type]
    return [catalogue.item_ids[each.item] for each in found]


def test_without_a_wish_it_is_the_likeliest_items(catalogue: Catalogue) -> None:
    assert listed(catalogue, owner(), size=3) == ["kettle", "apple", "bread"]
    assert listed(catalogue, owner(), size=3, by="amount") == ["kettle", "rolls", "bread"]
    assert len(listed(catalogue, owner(), size=50)) == len(ITEMS)


def test_a_price_that_nobody_knows_is_none(catalogue: Catalogue) -> None:
    (plum,) = recommend(owner(), catalogue, CHANCES, AMOUNTS, Wish(in_stock=frozenset({"plum"})))
    (apple,) = recommend(owner(), catalogue, CHANCES, AMOUNTS, Wish(in_stock=frozenset({"apple"})))

    assert (plum.price, apple.price) == (None, 1.0)


def test_what_people_buy_once_is_not_shown_to_its_owner(catalogue: Catalogue) -> None:
    assert bought_once(catalogue).tolist() == [False, False, True, False, False, False]  # of apples they had more
    assert "kettle" not in listed(catalogue, owner("kettle", "apple"), size=6)
    assert "apple" in listed(catalogue, owner("kettle", "apple"), size=6)
    assert listed(catalogue, owner("kettle"), size=1, repeats=True) == ["kettle"]


def test_stock_categories_and_what_must_not_be_shown_hold(catalogue: Catalogue) -> None:
    assert listed(catalogue, owner(), in_stock={"pear", "plum", "unheard of"}) == ["pear", "plum"]
    assert listed(catalogue, owner(), categories={"bakery"}) == ["bread", "rolls"]
    assert listed(catalogue, owner(), never={"kettle", "apple"}, size=2) == ["bread", "rolls"]
    assert listed(catalogue, owner(), in_stock=set()) == []


def test_a_budget_of_tenths_pays_for_as_many_items_as_it_says() -> None:
    columns = {"item_id": ["a", "b", "c"], "category": [None] * 3, "price": [0.1] * 3, "orders": [0] * 3}
    cheap = Catalogue(pa.table({**columns, "mean_quantity": [1.0] * 3, "mean_amount": [0.1] * 3}))

    found = recommend(Customer("c"), cheap, np.array([0.3, 0.2, 0.1]), np.zeros(3), Wish(budget=0.3))

    assert [each.item for each in found] == [0, 1, 2]


def test_as_many_places_are_for_exploration_as_the_share_says(catalogue: Catalogue) -> None:
    owned = owner("apple", "bread", "pear", "rolls", "kettle")

    found = recommend(owned, catalogue, CHANCES, AMOUNTS, Wish(size=50, explore=0.58, repeats=True))

    assert [catalogue.item_ids[each.item] for each in found if each.new] == ["plum"]
    assert len(found) == len(ITEMS)


def test_a_budget_is_kept_by_all_items_together(catalogue: Catalogue) -> None:
    assert listed(catalogue, owner(), budget=4.0) == ["apple", "bread"]  # 1 + 2; then 1.5 would be 4.5
    assert listed(catalogue, owner(), budget=4.5) == ["apple", "bread", "pear"]
    assert listed(catalogue, owner(), budget=0.5) == []


def test_categories_make_room_for_each_other(catalogue: Catalogue) -> None:
    assert listed(catalogue, owner(), per_category=1) == ["kettle", "apple", "bread"]
    # The second loaf counts .35 * .5 and the second fruit .3 * .5: plums, a third fruit, come last.
    assert listed(catalogue, owner(), size=4, diversity=0.5) == ["kettle", "apple", "bread", "rolls"]


def test_a_share_of_the_list_is_for_what_the_customer_never_bought(catalogue: Catalogue) -> None:
    customer = owner("apple", "bread", "kettle")

    assert listed(catalogue, customer, size=2, repeats=True) == ["kettle", "apple"]
    assert listed(catalogue, customer, size=2, repeats=True, explore=0.5) == ["kettle", "rolls"]
    assert listed(catalogue, customer, size=2, explore=1.0) == ["rolls", "pear"]


wishes = st.builds(
    Wish,
    size=st.integers(1, 8),
    in_stock=st.none() | st.frozensets(st.sampled_from([item for item, _, _ in ITEMS])),
    never=st.frozensets(st.sampled_from([item for item, _, _ in ITEMS])),
    categories=st.none() | st.frozensets(st.sampled_from(["fruit", "bakery", "kitchen"])),
    per_category=st.none() | st.integers(1, 3),
    budget=st.none() | st.floats(0.1, 50),
    repeats=st.booleans(),
    diversity=st.floats(0, 1),
    explore=st.floats(0, 1),
)


@given(
    wish=wishes,
    chances=st.lists(st.floats(0, 1), min_size=6, max_size=6),
    owned=st.sets(st.sampled_from([item for item, _, _ in ITEMS])),
)
def test_no_list_breaks_a_wish(catalogue: Catalogue, wish: Wish, chances: list[float], owned: set[str]) -> None:
    found = recommend(owner(*sorted(owned)), catalogue, np.array(chances), np.array(chances), wish)

    ids = [catalogue.item_ids[each.item] for each in found]
    kinds = [next(category for name, category, _ in ITEMS if name == item) for item in ids]
    assert len(ids) == len(set(ids)) <= wish.size
    assert not set(ids) & wish.never
    assert wish.in_stock is None or set(ids) <= wish.in_stock
    assert wish.categories is None or set(kinds) <= wish.categories
    assert wish.budget is None or sum(each.price or 0 for each in found) <= wish.budget * (1 + 1e-12)
    assert wish.per_category is None or all(kinds.count(kind) <= wish.per_category for kind in kinds)
    assert wish.repeats or not ("kettle" in owned and "kettle" in ids)
    assert all(each.new == (item not in owned) for each, item in zip(found, ids, strict=True))
    assert [chances[each.item] for each in found] == sorted((chances[each.item] for each in found), reverse=True)
