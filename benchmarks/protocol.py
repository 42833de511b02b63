"""The evaluation protocol (demand/questions.py, demand/metrics.py) again, for environments that lack demandcast."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

MINIMUM_ORDERS = 3


@dataclass(frozen=True)
class Lines:
    """Order lines in time order within each customer, as numbers: customers, orders, items, moments."""

    customer: np.ndarray
    order: np.ndarray
    item: np.ndarray
    ts: np.ndarray
    customer_ids: list[str]
    item_ids: list[str]

    def where(self, chosen: np.ndarray) -> "Lines":
        columns = (column[chosen] for column in (self.customer, self.order, self.item, self.ts))
        return Lines(*columns, self.customer_ids, self.item_ids)


def read_lines(folder: Path, cutoff: datetime | None, seed: int) -> Lines:
    """The dataset's order lines before the cutoff, those of one order in random order; without one all but each
    customer's last order."""
    past = [("ts", "<", pa.scalar(cutoff, pa.timestamp("us", tz="UTC")))] if cutoff else None
    columns = ["customer_id", "order_id", "ts", "item_id"]
    table = pq.read_table(folder / "orders.parquet", columns=columns, filters=past)
    customers, items = (pc.dictionary_encode(table[name].combine_chunks()) for name in ("customer_id", "item_id"))
    customer, item = np.asarray(customers.indices), np.asarray(items.indices)
    ts = np.asarray(table["ts"].cast(pa.int64()))
    order = np.asarray(pc.dictionary_encode(table["order_id"].combine_chunks()).indices)
    new = np.ones(len(ts), dtype=bool)
    new[1:] = (np.diff(customer) != 0) | (np.diff(ts) != 0) | (np.diff(order) != 0)
    order = new.cumsum()
    sequence = np.lexsort((np.random.default_rng(seed).random(len(ts)), order))
    shuffled = (column[sequence] for column in (customer, order, item, ts))
    lines = Lines(*shuffled, customers.dictionary.to_pylist(), items.dictionary.to_pylist())
    return lines if cutoff else lines.where(~_of_last_orders(lines))


def validation(lines: Lines, since: int | None) -> tuple[Lines, dict[int, np.ndarray]]:
    """What may be learned from before validation, and for each customer the items of the order asked for: the first one
    from a moment on, or without one the last of the lines."""
    later = lines.ts >= since if since is not None else _of_last_orders(lines)
    return lines.where(~later), next_orders(lines.where(later))


def _of_last_orders(lines: Lines) -> np.ndarray:
    """Whether each line is of the last moment at which its customer ordered."""
    last = np.full(len(lines.customer_ids), np.iinfo(np.int64).min)
    np.maximum.at(last, lines.customer, lines.ts)
    return lines.ts == last[lines.customer]


def regulars(lines: Lines, fewest: int = MINIMUM_ORDERS) -> np.ndarray:
    """Numbers of the customers with enough orders."""
    customers = lines.customer[np.unique(lines.order, return_index=True)[1]]
    numbers, orders = np.unique(customers, return_counts=True)
    return numbers[orders >= fewest]


def next_orders(later: Lines) -> dict[int, np.ndarray]:
    """For each customer the items of the first order."""
    customers, firsts = np.unique(later.customer, return_index=True)
    return {
        int(customer): np.unique(later.item[later.order == later.order[first]])
        for customer, first in zip(customers, firsts, strict=True)
    }


def ndcg(ranked: dict[int, np.ndarray], truth: dict[int, np.ndarray], k: int = 10) -> float:
    """nDCG@k with binary relevance: the mean over ranked customers with a next order."""
    discounts = 1 / np.log2(np.arange(2, k + 2))
    gains = []
    for customer in ranked.keys() & truth.keys():
        hits = np.isin(ranked[customer][:k], truth[customer])
        gains.append(discounts[: len(hits)] @ hits / discounts[: len(truth[customer])].sum())
    return float(np.mean(gains))
