"""Golden requests: what a model answered when it was made, to be asked again wherever it is loaded.

A hash tells of a file that was altered; this tells of software, or a device, that makes something else of the same
file. The customers are made up, so that a checkpoint tells of nobody.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from demand.customer import Customer, Order
from demand.errors import CheckpointError
from demand.metrics import top_k
from demand.moments import DAY, WEEK
from demand.prompts import NEXT_ORDER
from demand.questions import Question

if TYPE_CHECKING:
    from modeling.predictor import Predictor

ITEMS, ORDERS, LIKELIEST = 5, 8, 20
HORIZON_DAYS = 28
TOLERANCE, SHARE, LEAST = 0.02, 0.2, 0.001
"""Chances may differ by so much, and small ones by so large a share and a little: other devices and precisions round
otherwise."""


class Golden(BaseModel):
    """A question about a customer who ordered the same items once a week, and its answer.

    Attributes:
        as_of: in microseconds since 1970 (`demand.moments`).
        items: of each of the customer's ORDERS orders; none, and there are no orders.
        chances: of the LIKELIEST items.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    as_of: int
    horizon_days: int
    items: tuple[str, ...]
    chances: dict[str, float]

    def question(self) -> Question:
        """As a predictor is asked."""
        ones = (1.0,) * len(self.items)
        orders = [Order(self.as_of - ago * WEEK, self.items, ones, ones) for ago in range(ORDERS, 0, -1) if self.items]
        return Question(Customer("", tuple(orders)), self.as_of, self.horizon_days)


def golden_requests(predictor: "Predictor") -> tuple[Golden, ...]:
    """Questions of both kinds about a stranger and about one who buys what sells best, with this model's answers.

    Raises:
        CheckpointError: an answer is no chance.
    """
    catalogue = predictor.catalogue
    best = tuple(catalogue.item_ids[item] for item in top_k(catalogue.orders[None].astype(np.float32), ITEMS)[0])
    asked = [
        Golden(as_of=catalogue.sales.last * DAY, horizon_days=days, items=items, chances={})
        for items in ((), best)
        for days in (NEXT_ORDER, HORIZON_DAYS)
    ]
    chances = _chances(predictor, asked)
    return tuple(
        each.model_copy(update={"chances": {catalogue.item_ids[item]: float(row[item]) for item in likeliest}})
        for each, row, likeliest in zip(asked, chances, top_k(chances, LIKELIEST), strict=True)
    )


def check_golden_requests(predictor: "Predictor") -> None:
    """Asks what the model was asked when it was made; one from before there were such requests need only give chances.

    Raises:
        CheckpointError: an answer is another, or no chance.
    """
    asked = predictor.checkpoint.golden or golden_requests(predictor)
    index = predictor.catalogue.index
    for number, (each, row) in enumerate(zip(asked, _chances(predictor, asked), strict=True), start=1):
        for item, chance in each.chances.items():
            if item not in index or abs(row[index[item]] - chance) > min(TOLERANCE, SHARE * chance + LEAST):
                now = f"{row[index[item]]:.3g}" if item in index else "unknown"
                raise CheckpointError(
                    f"golden request {number} is answered otherwise than when the model was made: "
                    f"the chance of '{item}' was {chance:.3g} and is {now}"
                )


def _chances(predictor: "Predictor", asked: Sequence[Golden]) -> np.ndarray:
    chances = predictor.chances([each.question() for each in asked])
    if not ((chances >= 0) & (chances <= 1)).all():  # false of what is no number, too
        raise CheckpointError("the model answers golden requests with what are no chances")
    return chances
