"""What does not exist yet sells a share of what is like it: learned from launches, to those who buy that."""

import numpy as np
import pyarrow as pa
import pytest

from demand.catalogue import PURCHASES, Catalogue
from demand.customer import Customer, Order
from demand.errors import RecordError
from demand.moments import DAY, moment
from demand.questions import Question
from demand.tables import TABLES
from demand.uses.launch import Alike, Product, launch, share_of_alike
from demand.uses.outlook import Outlook

START = moment("2024-01-01")
DAYS = 10
OLD = [("rye bread", "bakery", 2.0), ("wheat bread", "bakery", 2.0), ("dish soap", "cleaning", 4.0)]
LAUNCHED = [f"oat bread {number}" for number in range(12)]


def catalogue(launches: int = 12) -> Catalogue:
    """Rye bread sells twice a day and wheat bread once, for 60 days. From day 30 on a new bread each day, two orders of
    it in its first ten days, one after them."""
    rows = [*OLD, *((name, "bakery", 2.0) for name in LAUNCHED[:launches]), ("goat cheese", "dairy", 5.0)]
    ids, categories, prices = zip(*rows, strict=True)
    items = {"item_id": ids, "name": ids, "category": categories, "department": [None] * len(rows), "price": prices}
    sold = [(day, name) for day in range(60) for name in ("rye bread", "rye bread", "wheat bread", "dish soap")]
    sold += [(30 + place + later, LAUNCHED[place]) for place in range(launches) for later in (0, 9, 10)]
    lines = [(f"c{place}", START + day * DAY, f"o{place}", name, 2.0, 4.0) for place, (day, name) in enumerate(sold)]
    columns = dict(zip(PURCHASES, map(list, zip(*lines, strict=True)), strict=True))
    schema = pa.schema([TABLES["orders"].field(name) for name in PURCHASES])
    lines_table = pa.table({**columns, "ts": pa.array(columns["ts"], schema.field("ts").type)}, schema)
    return Catalogue.of(pa.table(items, schema=TABLES["items"]), [lines_table])


def outlook(of: Catalogue) -> Outlook:
    """Of a customer who buys rye bread, three units at a time, and one who wants soap; as many days as `DAYS`."""
    bread = Customer("bread", tuple(Order(START + day * DAY, ("rye bread",), (3.0,), (6.0,)) for day in range(1000)))
    purchases = np.zeros((2, len(of)))
    purchases[0, of.index["rye bread"]] = 4.0
    purchases[1, of.index["dish soap"]] = 5.0
    questions = [Question(each, START + 2000 * DAY, DAYS) for each in (bread, Customer("soap", ()))]
    return Outlook(of, questions, np.ones(2), purchases, 1 - np.exp(-purchases), purchases)


def weights(of: Catalogue, **product: object) -> dict[str, float]:
    return dict(zip(of.names, Alike.of(of, Product(**product)).weights, strict=True))


def test_what_is_sold_and_shares_words_or_the_category_is_alike() -> None:
    found = Alike.of(shop := catalogue(), Product(name="spelt bread", category="bakery"))

    named = [shop.names[item] for item in found.most]
    assert set(named) == {"rye bread", "wheat bread", *LAUNCHED}
    assert (np.diff(found.weights[found.most]) <= 0).all()
    assert found.weights.sum() == pytest.approx(1)
    assert found.weights[shop.index["goat cheese"]] == 0  # it never sold
    assert found.weights[shop.index["dish soap"]] > 0  # a little counts everything


def test_the_nearer_the_price_the_more_alike() -> None:
    cheap, dear = (weights(catalogue(0), name="bread soap", price=price) for price in (2.0, 8.0))

    assert cheap["rye bread"] == pytest.approx(cheap["wheat bread"])
    # Bread costs 2 and soap 4: of 8 that is a quarter and a half, of 2 the same and twice.
    assert cheap["rye bread"] / cheap["dish soap"] == pytest.approx(4 * dear["rye bread"] / dear["dish soap"])


def test_of_a_name_that_tells_nothing_only_the_price_counts() -> None:
    found = weights(catalogue(0), name="?!", price=2.0)

    assert found == pytest.approx({"rye bread": 0.4, "wheat bread": 0.4, "dish soap": 0.2, "goat cheese": 0})
    assert not len(Alike.of(catalogue(), Product(name="?!")).most)


def test_what_a_launch_sells_of_what_is_like_it_is_learned_from_launches() -> None:
    found = share_of_alike(catalogue(), DAYS)

    assert found.launches == 12
    assert 2 / 20 < found.of_alike < 2 / 2  # two of rye bread's twenty, and of an earlier launch's two
    assert found.low <= 1 <= found.high


def test_of_few_launches_nothing_is_learned() -> None:
    assert share_of_alike(catalogue(3), DAYS).launches == 0
    assert launch(outlook(shop := catalogue(0)), Product(name="rye bread"), DAYS).range is None
    assert share_of_alike(shop, DAYS).of_alike == 1


def test_those_who_buy_what_is_alike_will_buy_it_and_buy_less_of_that() -> None:
    shop = catalogue()
    found = launch(outlook(shop), Product(name="spelt bread", category="bakery", price=3.0), DAYS)

    weight, share = found.alike.weights, found.share.of_alike
    bread, soap = weight[shop.index["rye bread"]], weight[shop.index["dish soap"]]
    assert found.purchases == pytest.approx([share * 4 * bread, share * 5 * soap])
    assert found.purchases[0] > 5 * found.purchases[1]
    assert found.chances == pytest.approx(1 - np.exp(-found.purchases))
    assert found.units == pytest.approx(share * (4 * 3 * bread + 5 * 2 * soap), rel=1e-2)  # three and two an order
    assert found.taken.sum() == pytest.approx(share * 4 * 3 * bread, rel=1e-2)
    assert found.amount == pytest.approx(3.0 * found.units)
    assert found.range[0] <= found.units <= found.range[1]


def test_where_nothing_is_sold_nothing_can_be_said() -> None:
    rows = {name: pa.array(["a"] if name in ("item_id", "name") else [None]) for name in TABLES["items"].names}
    empty = Catalogue.of(pa.table(rows, schema=TABLES["items"]), [])

    with pytest.raises(RecordError, match="nothing beside it that is sold"):
        Alike.of(empty, Product(name="a"))
