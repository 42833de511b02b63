"""What some customers together will buy, with intervals."""

from typing import Literal

from pydantic import BaseModel, Field

from demand.moments import iso
from demand.uses.outlook import Outlook
from demand.uses.supply import LARGEST, LEVELS, Expected, Spread, groups_of, interval
from serving.schemas import GroupRequest, ModelInfo


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
    least: float = Field(default=0.01, ge=0)


class Interval(BaseModel):
    level: float = Field(description="chance that the units lie within")
    low: float
    high: float


class GroupForecast(BaseModel):
    group: str
    expected_quantity: float
    expected_amount: float
    intervals: list[Interval]


class ForecastResponse(BaseModel):
    """Groups, the largest first; they add up."""

    model: ModelInfo
    as_of: str
    horizon_days: int
    groups: list[GroupForecast]


def forecast(model: ModelInfo, request: ForecastRequest, outlook: Outlook) -> ForecastResponse:
    """Totals of groups."""
    groups, names = groups_of(outlook.catalogue, request.by)
    expected = Expected.of(outlook).grouped(groups, len(names))
    spread = Spread(request.spread, request.falls)
    ends = {level: interval(expected, spread, level) for level in LEVELS}
    kept = [int(each) for each in (-expected.units).argsort(kind="stable") if expected.units[each] >= request.least]
    return ForecastResponse(
        model=model,
        as_of=iso(outlook.questions[0].as_of),
        horizon_days=request.horizon_days,
        groups=[
            GroupForecast(
                group=names[each],
                expected_quantity=float(expected.units[each]),
                expected_amount=float(expected.amount[each]),
                intervals=[
                    Interval(level=level, low=float(low[each]), high=float(high[each]))
                    for level, (low, high) in ends.items()
                ],
            )
            for each in kept
        ],
    )
