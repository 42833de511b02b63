"""What a protocol is."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from demand.catalogue import Catalogue
from demand.dataset import Dataset
from demand.metrics import METRICS, customer_metrics
from demand.questions import Case, Questions, pose

Stage = Literal["validation", "test"]
"""When a customer is asked: to choose by, or to report."""
VALIDATION: Stage = "validation"
TEST: Stage = "test"


class Protocol(BaseModel, ABC):
    """How a dataset is split into what is learned from, what is chosen on and what is reported.

    All of it follows from two moments of each customer, one a stage. What lies before the first is learned from; what
    was ordered from then on, before the second, is chosen on; what was ordered from the second on is reported.

    Attributes:
        name: what --protocol calls it.
        at_orders: whether the moment of the order that is asked for is known, so that training asks at orders too.
        metrics: what is reported, in this order.
        published: by method, figures of the same metrics from the literature.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    at_orders: ClassVar[bool] = False
    metrics: ClassVar[tuple[str, ...]] = METRICS
    published: ClassVar[Mapping[str, Mapping[str, float]]] = {}

    def of(self, dataset: Dataset) -> Dataset:
        """The part of a dataset that takes part."""
        return dataset

    @abstractmethod
    def cases(self, dataset: Dataset, ids: Sequence[str], stage: Stage) -> Iterator[Case]:
        """Customers, as they are known when a stage asks. A case's past is all that may be learned from before.

        Args:
            dataset: one that `of` gave.
            ids: sorted ids of those wanted.
        """

    @abstractmethod
    def lines(self, dataset: Dataset, stage: Stage) -> Iterator[pa.Table]:
        """Order lines (demand.catalogue.PURCHASES) before each customer's moment of a stage, of some customers at a
        time: all of theirs."""

    @abstractmethod
    def fewest(self, stage: Stage) -> int:
        """Orders that a customer must have in the past to be asked."""

    def horizon_days(self, stage: Stage) -> int:
        """Length of the horizon; 0 where only the next order is asked about."""
        return 0

    def questions(self, dataset: Dataset, ids: Sequence[str], catalogue: Catalogue, stage: Stage) -> Questions:
        """A stage's questions about some customers."""
        return pose(self.cases(dataset, ids, stage), catalogue, self.horizon_days(stage), self.fewest(stage))

    def catalogue(self, dataset: Dataset, stage: Stage) -> Catalogue:
        """Its items, with sales figures from what lies before a stage."""
        return Catalogue.of(dataset.table("items"), self.lines(dataset, stage))

    def measure(self, ranked: np.ndarray, truths: Sequence[np.ndarray]) -> Mapping[str, np.ndarray]:
        """`metrics` of each row, and maybe more. Arguments as demand.metrics.customer_metrics."""
        return customer_metrics(ranked, truths)

    @abstractmethod
    def boundary(self, stage: Stage) -> str:
        """The moments of a stage in words, for a model's card and for messages."""
