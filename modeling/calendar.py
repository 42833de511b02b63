"""What sells when: the day of a question, for offers and seasons that no customer's own history tells of.

Shapes: R queries, D hidden width.
"""

import torch
from torch import Tensor, nn

from demand.moments import DAY

DAYS, WEEKS, WEEKDAYS = 366, 53, 7
YEAR = 365.2425
STEP = 10.0
"""Adam moves each number by about the learning rate a step, and a day is met in few steps: so rows count tenfold."""


class Calendar(nn.Module):
    """Adds to the hidden state at a query rows for its day of the year, the week around it and its weekday.

    All start at zero. They know a day by what any customer bought on it or near it in what was learned from; of days
    that lie outside of it they know the season at best.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.day, self.week, self.weekday = (nn.Embedding(rows, width) for rows in (DAYS, WEEKS, WEEKDAYS))
        for table in (self.day, self.week, self.weekday):
            nn.init.zeros_(table.weight)

    def forward(self, moments_R: Tensor) -> Tensor:
        """(R, D) of moments in microseconds."""
        days_R = torch.div(moments_R, DAY, rounding_mode="floor")
        place_R = (days_R.double() % YEAR).long()
        rows_RD: Tensor = self.day(place_R) + self.week(place_R // 7) + self.weekday(days_R % 7)
        return STEP * rows_RD


def calendar_parameters(width: int) -> int:
    """How many numbers it learns."""
    return (DAYS + WEEKS + WEEKDAYS) * width
