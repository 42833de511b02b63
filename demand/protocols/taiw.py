"""Each customer's last order, as the paper on time-aware item weighting (TAIW) asks for it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
import pandas as pd

from demand.dataset import Dataset
from demand.errors import DataError
from demand.metrics import long_ideal_metrics
from demand.protocols.last_order import LastOrders

ORDER_DAYS, ITEM_LINES, DEVIATIONS = 5, 10, 2
"""Fewest order days of a customer, fewest lines of an item, and how far above the mean lines a day may be."""


class Taiw(LastOrders):
    """The same of the customers and items that the paper's filters leave, a day an order.

    Figures published for Ta-Feng are from the paper's table.
    """

    name: Literal["taiw"] = "taiw"
    metrics: ClassVar[tuple[str, ...]] = ("precision@10", "recall@10", "ndcg@10")
    published: ClassVar[Mapping[str, Mapping[str, float]]] = {
        method: dict(zip(("precision@10", "recall@10", "ndcg@10"), figures, strict=True))
        for method, figures in {
            "TopPersonal": (0.0572, 0.1308, 0.1084),
            "TIFU-KNN": (0.0574, 0.1360, 0.1179),
            "SLRC": (0.0621, 0.1458, 0.1194),
            "TAIW": (0.0644, 0.1565, 0.1267),
            "TAIWI": (0.0671, 0.1642, 0.1261),
        }.items()
    }

    def of(self, dataset: Dataset) -> Dataset:
        """The customers and items that the paper's filters leave, a customer's day an order.

        Customers with at least 5 order days and items with at least 10 lines, both counted on all lines; of these
        without customers who bought all in one day, or more lines a day (from the first day to the last, both counted)
        than the mean and two standard deviations. Ta-Feng: 7,358 customers, 11,202 items, 368,951 lines.

        Raises:
            DataError: nothing is left.
        """
        days = replace(dataset, whole_days=True)
        lines = days.table("orders", ["customer_id", "ts", "item_id"]).to_pandas()
        customers = lines.groupby("customer_id")["ts"].nunique()
        items = lines.groupby("item_id").size()
        lines = lines[
            lines["customer_id"].isin(customers.index[customers >= ORDER_DAYS])
            & lines["item_id"].isin(items.index[items >= ITEM_LINES])
        ]
        lines = lines[lines["customer_id"].isin(_steady(lines))]
        if not len(lines):
            raise DataError(
                f"{dataset.folder}: the protocol taiw leaves no customer: it wants {ORDER_DAYS} order days of each, "
                f"and {ITEM_LINES} lines of each item"
            )
        only = {column: sorted(lines[column].unique()) for column in ("customer_id", "item_id")}
        return replace(days, only=only)

    def measure(self, ranked: np.ndarray, truths: Sequence[np.ndarray]) -> Mapping[str, np.ndarray]:
        return long_ideal_metrics(ranked, truths)


def _steady(lines: pd.DataFrame) -> pd.Index:
    """Customers of more than one day whose lines a day are not far above the mean."""
    each = lines.groupby("customer_id")["ts"].agg(["size", "min", "max"])
    each = each[each["max"] > each["min"]]
    daily = each["size"] / ((each["max"] - each["min"]).dt.days + 1)
    return daily.index[daily <= daily.mean() + DEVIATIONS * daily.std(ddof=0)]
