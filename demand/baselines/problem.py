"""What a baseline sees: the questions, the catalogue, and purchases as arrays."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from scipy import sparse

from demand.catalogue import Catalogue
from demand.questions import Questions

Made = TypeVar("Made")


@dataclass(frozen=True)
class Lines:
    """Every purchase before the cutoff, as equal-length arrays.

    Attributes:
        rows: whose, an index into `Questions.everyone`.
        columns: catalogue indices.
        ages: how many orders of the customer came after it, 0 for the newest order.
    """

    rows: np.ndarray
    columns: np.ndarray
    ages: np.ndarray


@dataclass(frozen=True)
class Problem:
    """Questions about customers and the items to choose among; what settings share is computed once.

    Histories end before the questions' cutoff, so whatever a method fits on them knows nothing of the answers. One that
    learns from questions and answers makes its own: `questions.earlier(catalogue)`, or `ask` with an earlier cutoff.

    Attributes:
        about_everyone: whether everyone is asked about, also those whose answer is an order that does not come.
    """

    questions: Questions
    catalogue: Catalogue
    about_everyone: bool = False
    _made: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def asked(self) -> int:
        """R: customers asked about, the first rows of everyone."""
        return len(self.questions.everyone if self.about_everyone else self.questions.customers)

    def of_everyone(self) -> "Problem":
        """The same about everyone, sharing what `once` made."""
        return replace(self, about_everyone=True)

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What settings and questions of one method share: made at the first call, kept as long as the problem."""
        if key not in self._made:
            self._made[key] = make()
        made: Made = self._made[key]
        return made

    @cached_property
    def orders(self) -> np.ndarray:
        """The number of orders of each history, (everyone,)."""
        return np.array([len(each.orders) for each in self.questions.everyone], dtype=np.int64)

    @cached_property
    def lines(self) -> Lines:
        """Purchases of catalogue items; an order that holds an item counts once."""
        index = self.catalogue.index
        found = [
            (row, index[item], age)
            for row, customer in enumerate(self.questions.everyone)
            for age, order in enumerate(reversed(customer.orders))
            for item in order.items
            if item in index
        ]
        rows, columns, ages = np.array(found, dtype=np.int64).reshape(-1, 3).T
        return Lines(rows, columns, ages)

    def matrix(self, weights: np.ndarray | None = None) -> sparse.csr_matrix:
        """(everyone, V): how many orders held each item, each line counted with its weight (default 1)."""
        values = np.ones(len(self.lines.rows)) if weights is None else weights
        kept = values != 0
        return sparse.csr_matrix(
            (values[kept], (self.lines.rows[kept], self.lines.columns[kept])),
            shape=(len(self.orders), len(self.catalogue)),
        )

    @cached_property
    def counts(self) -> sparse.csr_matrix:
        """(everyone, V): how many orders held each item."""
        return self.matrix()
