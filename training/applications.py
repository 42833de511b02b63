"""Uses of predictions over a whole dataset: each asks about every customer, and writes what the use wants to know."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from demand.catalogue import Catalogue
from demand.errors import DataError
from demand.locations import Location
from demand.uses.audience import Audience, chance_of_any, choose, fixed_size
from demand.uses.launch import Alike, Launch, OfAlike, Product, share_of_alike
from demand.uses.outlook import Outlook
from demand.uses.recommendation import Wish, recommend
from demand.uses.relationship import change
from training.prediction import Asked, ask_all, write_rows

LISTS = pa.schema(
    [
        ("customer_id", pa.string()),
        ("rank", pa.int32()),
        ("item_id", pa.string()),
        ("probability", pa.float64()),
        ("expected_amount", pa.float64()),
        ("price", pa.float64()),
        ("new", pa.bool_()),
    ]
)
MEMBERS = pa.schema([("customer_id", pa.string()), ("rank", pa.int32()), ("probability", pa.float64())])
RISKS = pa.schema(
    [
        ("customer_id", pa.string()),
        ("probability", pa.float64()),
        ("expected_amount", pa.float64()),
        ("days_since_order", pa.float64()),
        ("usual_gap_days", pa.float64()),
        ("late", pa.bool_()),
        ("amount", pa.float64()),
        ("amount_before", pa.float64()),
        ("missing", pa.list_(pa.string())),
    ]
)

OF_ALIKE = ("orders", "units", "amounts")


@dataclass(frozen=True)
class Lists:
    """A list for each customer: rows as LISTS."""

    wish: Wish

    def __call__(self, outlook: Outlook) -> pa.Table:
        """Sorted by customer and rank."""
        catalogue, (_, amounts) = outlook.catalogue, outlook.worth()
        return pa.Table.from_pylist(
            [
                {
                    "customer_id": question.customer.customer_id,
                    "rank": rank,
                    "item_id": catalogue.item_ids[each.item],
                    "probability": float(outlook.chances[row, each.item]),
                    "expected_amount": float(amounts[row, each.item]),
                    "price": each.price,
                    "new": each.new,
                }
                for row, question in enumerate(outlook.questions)
                for rank, each in enumerate(
                    recommend(question.customer, catalogue, outlook.chances[row], amounts[row], self.wish), start=1
                )
            ],
            schema=LISTS,
        )


@dataclass(frozen=True)
class Interest:
    """The chance that each customer buys any of some items of the catalogue, by their ids."""

    items: tuple[str, ...]

    def __call__(self, outlook: Outlook) -> pa.Table:
        """customer_id and probability."""
        places = [outlook.catalogue.index[item] for item in self.items]
        ids = [each.customer.customer_id for each in outlook.questions]
        return pa.table({"customer_id": ids, "probability": chance_of_any(outlook.chances[:, places])})


def risks(outlook: Outlook) -> pa.Table:
    """Whether each customer comes back: rows as RISKS."""
    _, amounts = outlook.worth()
    rows = []
    for row, question in enumerate(outlook.questions):
        changed = change(question.customer, question.as_of, question.horizon_days)
        rows.append(
            {
                "customer_id": question.customer.customer_id,
                "probability": float(outlook.orders[row]),
                "expected_amount": float(amounts[row].sum()),
                "days_since_order": changed.days_since_order,
                "usual_gap_days": changed.usual_gap_days,
                "late": changed.late,
                "amount": changed.spend,
                "amount_before": changed.spend_before,
                "missing": changed.missing,
            }
        )
    return pa.Table.from_pylist(rows, schema=RISKS)


def recommend_all(asked: Asked, wish: Wish, out: Location) -> int:
    """Writes a list for every customer; returns how many customers were asked about."""
    write_rows(ask_all(asked, Lists(wish)), LISTS, out)
    return len(asked.ids)


def gather(
    asked: Asked,
    items: tuple[str, ...],
    out: Location,
    size: int | None = None,
    threshold: float | None = None,
    budget: float | None = None,
    cost: float | None = None,
) -> Audience:
    """Writes the customers who are likeliest to buy any of some items: so many as demand.uses.audience.choose says.

    Args:
        items: as `wanted` finds them.

    Raises:
        SettingsError: see there; before anybody is asked, where no answer is needed to tell.
    """
    fixed_size(size, threshold, budget, cost)
    found = pa.concat_tables(ask_all(asked, Interest(items)))
    audience = choose(np.asarray(found["probability"]), size, threshold, budget, cost)
    members = found.take(pa.array(audience.rows))
    ranks = pa.array(np.arange(1, len(audience.rows) + 1, dtype=np.int32))
    write_rows([members.add_column(1, "rank", ranks)], MEMBERS, out)
    return audience


def risks_of_all(asked: Asked, out: Location) -> int:
    """Writes of every customer whether it comes back; returns how many they were."""
    return write_rows(ask_all(asked, risks), RISKS, out)


@dataclass(frozen=True)
class Kindred:
    """What each customer is expected to buy of what a product is like: rows as OF_ALIKE, and `most` in lists."""

    alike: Alike

    def __call__(self, outlook: Outlook) -> pa.Table:
        """One row a customer; `most` is that of all of these in the first."""
        bought = OfAlike.of(outlook, self.alike)
        ids = [each.customer.customer_id for each in outlook.questions]
        most = [bought.most, *[np.zeros_like(bought.most)] * (len(ids) - 1)]
        return pa.table({"customer_id": ids, **{name: getattr(bought, name) for name in OF_ALIKE}, "most": most})


def launch(asked: Asked, product: Product, out: Location) -> Launch:
    """Writes how likely every customer is to buy a new product: rows as MEMBERS, the likeliest first.

    Raises:
        RecordError: nothing is sold.
    """
    alike = Alike.of(asked.catalogue, product)
    found = pa.concat_tables(ask_all(asked, Kindred(alike)))
    orders, units, amounts = (found[name].to_numpy() for name in OF_ALIKE)
    bought = OfAlike(orders, units, amounts, np.sum(found["most"].to_numpy(), axis=0))
    launched = Launch.of(product, alike, share_of_alike(asked.catalogue, asked.horizon_days), bought)
    order = np.argsort(-launched.chances, kind="stable")
    columns = {"rank": np.arange(1, len(order) + 1, dtype=np.int32), "probability": launched.chances[order]}
    write_rows([pa.table({"customer_id": found["customer_id"].take(pa.array(order)), **columns})], MEMBERS, out)
    return launched


def wanted(catalogue: Catalogue, items: Sequence[str], category: str | None) -> tuple[str, ...]:
    """Ids of items of a model's catalogue, or of all of a category.

    Raises:
        DataError: both or neither is given, or the model, which learned before, does not know it.
    """
    if bool(items) == (category is not None):
        raise DataError("give items, or a category")
    if category is not None:
        rows = zip(catalogue.item_ids, catalogue.table["category"].to_pylist(), strict=True)
        if not (found := tuple(item for item, each in rows if each == category)):
            raise DataError(f"the model knows no item of the category '{category}'")
        return found
    if unknown := [item for item in items if item not in catalogue.index]:
        raise DataError(f"the model knows no item '{unknown[0]}'")
    return tuple(dict.fromkeys(items))
