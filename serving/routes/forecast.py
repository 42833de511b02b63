"""What some customers together will buy, with intervals."""

from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, Field

from demand.moments import iso
from demand.uses.outlook import Outlook
from demand.uses.stores import UNKNOWN, Placed
from demand.uses.supply import LARGEST, LEVELS, Level, Spread, groups_of, interval
from serving.schemas import GroupRequest, ItemId, ModelInfo

MOST_LEVELS = 100_000
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
    least: float = Field(default=0.01, ge=0)


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
    placed = Placed.of(outlook, request.stores)
    stores = placed.stores or [UNKNOWN]
    expected = Level.said(request.levels, outlook.catalogue).on(placed.among(stores)).grouped(groups, len(names))
    spread = Spread(request.spread, request.falls)
    ends = {level: interval(expected, spread, level) for level in LEVELS}
    order = np.argsort(-expected.units, axis=None, kind="stable")
    cells = zip(
        *np.unravel_index(order[expected.units.ravel()[order] >= request.least], expected.units.shape), strict=True
    )
    return ForecastResponse(
        model=model,
        as_of=iso(outlook.questions[0].as_of),
        horizon_days=request.horizon_days,
        groups=[
            GroupForecast(
                group=names[cell[1]],
                store=stores[cell[0]] if request.stores else None,
                expected_quantity=float(expected.units[cell]),
                expected_amount=float(expected.amount[cell]),
                intervals=[
                    Interval(level=level, low=float(low[cell]), high=float(high[cell]))
                    for level, (low, high) in ends.items()
                ],
            )
            for cell in cells
        ],
    )
