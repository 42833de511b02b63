"""Split at a moment, the same for everyone."""

from collections.abc import Iterator, Sequence
from typing import Literal

import pyarrow as pa
from pydantic import Field

from demand.catalogue import PURCHASES
from demand.dataset import Dataset, earlier
from demand.moments import DAY, iso, moment
from demand.protocols.protocol import VALIDATION, Protocol, Stage
from demand.questions import MINIMUM_ORDERS, Case

VALIDATION_DAYS = 28


class Cutoff(Protocol):
    """Test is what lies from the cutoff on, validation the 28 days before it; the next order may come at any time.

    Attributes:
        cutoff: moment of the split.
        days: the horizon of the test.
    """

    name: Literal["cutoff"] = "cutoff"
    cutoff: int
    days: int = Field(default=VALIDATION_DAYS, ge=1)

    @classmethod
    def on(cls, dataset: Dataset, cutoff: str | None = None, days: int = VALIDATION_DAYS) -> "Cutoff":
        """With a date, or by default with the day that leaves the last days for testing, 28 or the horizon's if that is
        longer, that day's own included: 2017-12-04 for Complete Journey.

        Raises:
            DataError: the text is no date.
        """
        if cutoff is not None:
            return cls(cutoff=moment(cutoff), days=days)
        end = (moment(dataset.manifest["last_order"]) // DAY + 1) * DAY
        if dataset.manifest["source"] == "complete-journey":
            end = moment("2018-01-01")
        return cls(cutoff=end - max(days, VALIDATION_DAYS) * DAY, days=days)

    def outlasts(self, dataset: Dataset) -> bool:
        """Whether the horizon ends after the data do."""
        return dataset.ends_before(self.cutoff + self.days * DAY)

    def moment(self, stage: Stage) -> int:
        """When a stage asks."""
        return self.cutoff - VALIDATION_DAYS * DAY if stage == VALIDATION else self.cutoff

    def cases(self, dataset: Dataset, ids: Sequence[str], stage: Stage) -> Iterator[Case]:
        start = self.moment(stage)
        end = start + self.horizon_days(stage) * DAY
        return (Case.at(each, start, end) for each in dataset.customers(ids, before=end))

    def lines(self, dataset: Dataset, stage: Stage) -> Iterator[pa.Table]:
        return dataset.lines(PURCHASES, earlier(self.moment(stage)))

    def fewest(self, stage: Stage) -> int:
        return MINIMUM_ORDERS

    def horizon_days(self, stage: Stage) -> int:
        return VALIDATION_DAYS if stage == VALIDATION else self.days

    def boundary(self, stage: Stage) -> str:
        return iso(self.moment(stage))
