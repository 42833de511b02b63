"""Batch prediction: a model is asked about every customer of a dataset, with Ray Data."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
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
from demand.uses.outlook import Outlook
from modeling.checkpoint import load_checkpoint
from modeling.predictor import Predictor
from training.resources import offered

CUSTOMERS_PER_TASK = 512
"""What one actor is given at a time; it reads and answers CUSTOMERS_READ of them together."""
CUSTOMERS_READ = 64
DEMANDS = pa.schema(
    [
        ("customer_id", pa.string()),
        ("rank", pa.int32()),
        ("item_id", pa.string()),
        ("probability", pa.float64()),
        ("expected_quantity", pa.float64()),
        ("expected_amount", pa.float64()),
    ]
)
Rows = Callable[[Outlook], pa.Table]
"""What is written of some customers' outlook."""


@dataclass(frozen=True)
class Asked:
    """What all customers of a dataset are asked, by which model.

    Attributes:
        model: its checkpoint's folder.
        as_of: nothing from this moment on is read.
    """

    data: Location
    model: Location
    as_of: int
    horizon_days: int = NEXT_ORDER

    @cached_property
    def ids(self) -> pa.Array:
        """Of all customers with an order before the moment, sorted.

        Raises:
            DataError: there is none.
        """
        ids = Dataset.open(self.data).buyers(earlier(self.as_of))
        if not len(ids):
            raise DataError(f"{self.data}: no customer has an order before {iso(self.as_of)}")
        return ids

    @cached_property
    def catalogue(self) -> Catalogue:
        """The model's, with what sold before the moment.

        Raises:
            SettingsError: the model can be asked about no number of days.
        """
        checkpoint = load_checkpoint(self.model)
        checkpoint.check_horizon(self.horizon_days)
        return checkpoint.catalogue.with_sales(Dataset.open(self.data).lines(PURCHASES, earlier(self.as_of)))


class CustomerPredictor:
    """A Ray Data actor: loads the model once, then answers for ranges of customers."""

    def __init__(
        self,
        data: str,
        model: str,
        catalogue: "ray.ObjectRef[Catalogue]",
        as_of: int,
        horizons: Sequence[int],
        rows: Rows,
    ) -> None:
        self.dataset = Dataset.open(data)
        self.predictor = Predictor.load(model)
        self.predictor.take_sales(ray.get(catalogue))
        self.as_of, self.horizons, self.rows = as_of, horizons, rows

    def __call__(self, rows: pa.Table) -> Iterator[pa.Table]:
        """Customer ids in, what `rows` makes of their outlook out, one horizon after the other."""
        ids = rows["customer_id"].to_pylist()
        customers = [each for each in self.dataset.customers(ids, before=self.as_of) if each.orders]
        for days in self.horizons:
            yield self.rows(self.predictor.outlook([Question(each, self.as_of, days) for each in customers]))


def ask_all(asked: Asked, rows: Rows, horizons: Sequence[int] = ()) -> Iterator[pa.Table]:
    """What `rows` makes of every customer with an order before the moment, in the order of their ids, part by part.

    Every GPU of the cluster works, or every processor where there is none; nothing is held in memory.

    Args:
        horizons: days, in place of those asked about; histories are read, and models loaded, once for all of them.

    Raises:
        DataError: nobody ordered before the moment.
    """
    ids = pa.table({"customer_id": asked.ids})
    catalogue = ray.put(asked.catalogue)
    where = str(absolute(asked.data)), str(absolute(asked.model))
    gpus = offered("GPU")
    context = ray.data.DataContext.get_current().copy()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = os.isatty(2)
    with ray.data.DataContext.current(context):
        tasks = [ids.slice(start, CUSTOMERS_PER_TASK) for start in range(0, len(ids), CUSTOMERS_PER_TASK)]
        answers = ray.data.from_arrow(tasks).map_batches(
            CustomerPredictor,
            fn_constructor_args=(*where, catalogue, asked.as_of, horizons or (asked.horizon_days,), rows),
            batch_size=CUSTOMERS_READ,
            batch_format="pyarrow",
            num_gpus=1 if gpus else None,
            compute=ray.data.ActorPoolStrategy(size=min(max(gpus or offered("CPU"), 1), len(tasks))),
        )
        yield from answers.iter_batches(batch_size=None, batch_format="pyarrow")


def write_rows(tables: Iterable[pa.Table], schema: pa.Schema, out: Location) -> int:
    """Writes tables into one Parquet file, which appears whole or not at all; returns how many rows they have."""
    count = 0
    with whole(out) as fresh, pq.ParquetWriter(fresh, schema) as file:
        for table in tables:
            file.write_table(table.cast(schema))
            count += table.num_rows
    return count


@dataclass(frozen=True)
class Demands:
    """The k likeliest items of each customer: rows as DEMANDS."""

    k: int

    def __call__(self, outlook: Outlook) -> pa.Table:
        """Sorted by customer and rank."""
        return pa.Table.from_pylist(
            [
                {
                    "customer_id": question.customer.customer_id,
                    "rank": rank,
                    "item_id": outlook.catalogue.item_ids[demand.item],
                    "probability": demand.probability,
                    "expected_quantity": demand.expected_quantity,
                    "expected_amount": demand.expected_amount,
                }
                for question, demands in zip(outlook.questions, outlook.demands(self.k), strict=True)
                for rank, demand in enumerate(demands, start=1)
            ],
            schema=DEMANDS,
        )


def predict_all(asked: Asked, out: Location, k: int = 20) -> int:
    """Writes the k likeliest items of every customer and returns how many customers they were; raises as `ask_all`."""
    write_rows(ask_all(asked, Demands(k)), DEMANDS, out)
    return len(asked.ids)
