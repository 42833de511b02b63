"""Batch prediction: every customer of a dataset, with Ray Data, into one Parquet file."""

import os
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray
import ray.data

from demand.catalogue import PURCHASES, Catalogue
from demand.dataset import Dataset, earlier
from demand.errors import DataError
from demand.locations import Location, absolute, whole
from demand.moments import iso
from demand.prompts import NEXT_ORDER
from demand.questions import Question
from modeling.checkpoint import load_checkpoint
from modeling.predictor import Predictor

CUSTOMERS_PER_TASK = 512
"""What one actor is given at a time; it reads and answers CUSTOMERS_READ of them together."""
CUSTOMERS_READ = 64
SCHEMA = pa.schema(
    [
        ("customer_id", pa.string()),
        ("rank", pa.int32()),
        ("item_id", pa.string()),
        ("probability", pa.float64()),
        ("expected_quantity", pa.float64()),
        ("expected_amount", pa.float64()),
    ]
)


class CustomerPredictor:
    """A Ray Data actor: loads the model once, then answers for ranges of customers."""

    def __init__(
        self, data: str, model: str, catalogue: "ray.ObjectRef[Catalogue]", as_of: int, horizon_days: int, k: int
    ) -> None:
        self.dataset = Dataset.open(data)
        self.predictor = Predictor.load(model)
        self.predictor.take_sales(ray.get(catalogue))
        self.as_of, self.horizon_days, self.k = as_of, horizon_days, k

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Customer ids in, their k likeliest items out."""
        ids = rows["customer_id"].to_pylist()
        customers = [each for each in self.dataset.customers(ids, before=self.as_of) if each.orders]
        answers = self.predictor.answer([Question(each, self.as_of, self.horizon_days) for each in customers], self.k)
        return pa.Table.from_pylist(
            [
                {
                    "customer_id": customer.customer_id,
                    "rank": rank,
                    "item_id": self.predictor.catalogue.item_ids[demand.item],
                    "probability": demand.probability,
                    "expected_quantity": demand.expected_quantity,
                    "expected_amount": demand.expected_amount,
                }
                for customer, demands in zip(customers, answers, strict=True)
                for rank, demand in enumerate(demands, start=1)
            ],
            schema=SCHEMA,
        )


def answers(data: Location, model: str, as_of: int, horizon_days: int = NEXT_ORDER, k: int = 20) -> Iterator[pa.Table]:
    """The k likeliest items of every customer with an order before `as_of`, as SCHEMA, in the order of customers and
    ranks, some customers at a time; nothing from then on is read.

    Every GPU of the cluster works, or every processor where there is none.

    Raises:
        DataError: nobody ordered before `as_of`.
    """
    dataset = Dataset.open(data)
    ids = pa.table({"customer_id": dataset.buyers(earlier(as_of))})
    if not len(ids):
        raise DataError(f"{data}: no customer has an order before {iso(as_of)}")
    sold = ray.put(load_checkpoint(model).catalogue.with_sales(dataset.lines(PURCHASES, earlier(as_of))))
    cluster = ray.cluster_resources()
    device = "GPU" if cluster.get("GPU", 0) >= 1 else "CPU"
    context = ray.data.DataContext.get_current().copy()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = os.isatty(2)
    with ray.data.DataContext.current(context):
        tasks = [ids.slice(start, CUSTOMERS_PER_TASK) for start in range(0, len(ids), CUSTOMERS_PER_TASK)]
        tables: Iterable[Any] = (
            ray.data.from_arrow(tasks)
            .map_batches(
                CustomerPredictor,
                fn_constructor_args=(str(absolute(data)), model, sold, as_of, horizon_days, k),
                batch_size=CUSTOMERS_READ,
                batch_format="pyarrow",
                num_gpus=1 if device == "GPU" else None,
                compute=ray.data.ActorPoolStrategy(size=min(max(int(cluster[device]), 1), len(tasks))),
            )
            .iter_batches(batch_size=None, batch_format="pyarrow")
        )
        for table in tables:
            yield table.cast(SCHEMA)


def predict_all(
    data: Location, model: str, as_of: int, out: Location, horizon_days: int = NEXT_ORDER, k: int = 20
) -> int:
    """Writes the `answers` into one Parquet file, which appears whole or not at all and is never held in memory.

    Returns:
        How many customers were answered.

    Raises:
        DataError: nobody ordered before `as_of`.
    """
    customers = 0
    with whole(out) as fresh, pq.ParquetWriter(fresh, SCHEMA) as file:
        for table in answers(data, model, as_of, horizon_days, k):
            file.write_table(table)
            customers += pc.sum(pc.equal(table["rank"], 1)).as_py() or 0
    return customers
