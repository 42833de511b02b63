"""What some customers together will buy, with intervals."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from demand.errors import RecordError
from demand.moments import iso
from demand.questions import Question
from demand.uses.outlook import Outlook
from demand.uses.stores import UNKNOWN, Placed, stores_of
from demand.uses.supply import LARGEST, LEVELS, Expected, Level, Split, Spread, by_week, groups_of, interval
from serving.schemas import MOST_CUSTOMERS, GroupRequest, ItemId, ModelInfo

MOST_LEVELS = 100_000
MOST_PARTS, MOST_ROWS = 2_000_000, 100_000
"""Of items in stores and weeks that are reckoned with, and of groups in them that are told."""
Factor = Annotated[float, Field(ge=0, le=1_000)]


class ForecastRequest(GroupRequest):
    """What will these customers buy together? Groups of fewer units than `least` are left out."""

    by: Literal["item", "category", "department", "all"] = "item"
    spread: float = Field(
        default=0.0,
        ge=0,
        le=LARGEST,
        description="how far a total of 100 units is off beyond chance, as a share of it; 'apply forecast' reports it",
    )
    falls: float = Field(
        default=0.0, ge=0, le=1, description="power of the total by which that falls; 'apply forecast' reports it"
    )
    levels: dict[ItemId, Factor] = Field(
        default={},
        max_length=MOST_LEVELS,
        description="by item, what its expectation is multiplied by: as it sold of late against what was expected; "
        "'apply forecast' by item reports them, and items that the model lacks do not matter",
    )
    stores: bool = Field(default=False, description="tells of each store: what is bought where it was before")
    weeks: bool = Field(
        default=False,
        description="tells of each week of the horizon, the last one shorter where seven days do not divide it; "
        f"customers times weeks are {MOST_CUSTOMERS} at most",
    )
    least: float = Field(default=0.01, ge=0)

    @property
    def split(self) -> Split:
        """What sums are split into."""
        return Split(self.by, self.stores, self.weeks)

    @field_validator("weeks")
    @classmethod
    def _not_too_many(cls, weeks: bool, others: ValidationInfo) -> bool:
        ends = Split(weeks=weeks).ends(others.data.get("horizon_days", 1))
        if len(others.data.get("customers", [])) * len(ends) > MOST_CUSTOMERS:
            reason = "customers times weeks are more than {most}: ask about fewer customers, or a shorter horizon"
            raise PydanticCustomError("too_many_questions", reason, {"most": MOST_CUSTOMERS})
        return weeks

    def questions(self) -> list[Question]:
        """As the model sees them, to the end of each week; raises as `GroupRequest.questions`."""
        asked = super().questions()
        return [replace(each, horizon_days=days) for days in self.split.ends(self.horizon_days) for each in asked]


class Interval(BaseModel):
    level: float = Field(description="chance that the units lie within")
    low: float
    high: float


class GroupForecast(BaseModel):
    group: str
    store: str | None = Field(
        default=None,
        exclude_if=lambda store: store is None,
        description="only where `stores` asked for them; empty for orders that name none",
    )
    week: int | None = Field(
        default=None,
        exclude_if=lambda week: week is None,
        description="only where `weeks` asked for them: 1 has the first seven days of the horizon",
    )
    expected_quantity: float
    expected_amount: float
    intervals: list[Interval]


class ForecastResponse(BaseModel):
    """Groups, the largest first, and of each its weeks in their order; they add up."""

    model: ModelInfo
    as_of: str
    horizon_days: int
    groups: list[GroupForecast]


def forecast(model: ModelInfo, request: ForecastRequest, outlook: Outlook) -> ForecastResponse:
    """Totals of groups.

    Raises:
        RecordError: the answer, or what it is reckoned from, would be too large.
    """
    groups, names = groups_of(outlook.catalogue, request.by)
    stores, until = _until(outlook, request.stores)
    expected = Level.said(request.levels, outlook.catalogue).on(by_week(until)).grouped(groups, len(names))
    units = expected.units.sum(0)
    order = np.argsort(-units, axis=None, kind="stable")
    store, group = np.unravel_index(order[units.ravel()[order] >= request.least], units.shape)
    if (rows := len(group) * len(until)) > MOST_ROWS:
        raise RecordError(
            "least", f"leaves {rows:,} rows, {MOST_ROWS:,} at most are told: ask for more, or by larger groups"
        )
    told = Expected(*expected.parts[:, :, store, group])
    ends = {level: interval(told, Spread(request.spread, request.falls), level) for level in LEVELS}
    return ForecastResponse(
        model=model,
        as_of=iso(outlook.questions[0].as_of),
        horizon_days=request.horizon_days,
        groups=[
            GroupForecast(
                group=names[group[place]],
                store=stores[store[place]] if request.stores else None,
                week=week + 1 if request.weeks else None,
                expected_quantity=float(told.units[week, place]),
                expected_amount=float(told.amount[week, place]),
                intervals=[
                    Interval(level=level, low=float(low[week, place]), high=float(high[week, place]))
                    for level, (low, high) in ends.items()
                ],
            )
            for place in range(len(group))
            for week in range(len(until))
        ],
    )


def _until(outlook: Outlook, split: bool) -> tuple[Sequence[str], Sequence[Expected]]:
    """Stores, and what is expected in them until the end of each week, (S, V) each."""
    weeks = outlook.by_horizon()
    stores = (stores_of(each.customer for each in weeks[0].questions) if split else []) or [UNKNOWN]
    if len(weeks) * len(stores) * len(outlook.catalogue) > MOST_PARTS:
        raise RecordError(
            "stores", f"items in all stores and weeks are more than {MOST_PARTS:,}: ask for fewer of them"
        )
    return stores, [Placed.of(each, split).among(stores) for each in weeks]
