"""Each customer's last order: leave-one-out, as sequential recommenders are compared (SASRec, arXiv:1808.09781)."""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import pyarrow as pa

from demand.catalogue import PURCHASES
from demand.dataset import Dataset
from demand.protocols.protocol import VALIDATION, Protocol, Stage
from demand.questions import MINIMUM_ORDERS, Case, last_orders


class LastOrders(Protocol):
    """The last order is the test, the one before it the validation. The moment of the order asked for is known; orders
    that share it are asked for together, and judged by the first of them.

    What other customers ordered later than that moment is learned from too, but for their own last orders.
    """

    at_orders: ClassVar[bool] = True

    def cases(self, dataset: Dataset, ids: Sequence[str], stage: Stage) -> Iterator[Case]:
        return last_orders(dataset.customers(ids), _ago(stage))

    def lines(self, dataset: Dataset, stage: Stage) -> Iterator[pa.Table]:
        for lines in dataset.lines(PURCHASES):
            moments = lines.select(["customer_id", "ts"]).to_pandas()
            later = moments.groupby("customer_id")["ts"].rank("dense", ascending=False)
            yield lines.filter(pa.array(later > _ago(stage)))

    def fewest(self, stage: Stage) -> int:
        return MINIMUM_ORDERS - _ago(stage)  # three with those of validation and test

    def boundary(self, stage: Stage) -> str:
        return "each customer's last order but one" if stage == VALIDATION else "each customer's last order"


class LastOrder(LastOrders):
    """Of all customers with three orders and all items, whatever the dataset."""

    name: Literal["last-order"] = "last-order"


def _ago(stage: Stage) -> int:
    """Which order a stage asks for: 1 is the last."""
    return 2 if stage == VALIDATION else 1
