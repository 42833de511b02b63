"""Whether a customer comes back, and what has changed."""

from pydantic import BaseModel, Field

from demand.moments import iso
from demand.uses.outlook import Outlook
from demand.uses.relationship import change
from demand.vocabulary import LONGEST_HORIZON
from serving.schemas import HORIZON_DAYS, CustomerRequest, ModelInfo

SHOWN_MISSING = 20


class RiskRequest(CustomerRequest):
    """Will this customer come back within the horizon, and what has changed?"""

    horizon_days: int = Field(default=HORIZON_DAYS, ge=1, le=LONGEST_HORIZON)


class MissingRecord(BaseModel):
    item_id: str
    name: str


class RiskResponse(BaseModel):
    """Chance and spend of the horizon, and what is different from before."""

    model: ModelInfo
    as_of: str
    horizon_days: int
    probability: float = Field(description="chance that the customer orders within the horizon")
    expected_amount: float = Field(description="spend within the horizon, in currency units")
    days_since_order: float | None
    usual_gap_days: float | None = Field(description="between orders, the median of three or more orders")
    late: bool = Field(description="whether twice the usual gap has passed")
    amount: float = Field(description="spent in as many days before as_of as the horizon has")
    amount_before: float = Field(description="spent in as many days before those")
    missing: list[MissingRecord] = Field(description="items bought regularly that are overdue, the most overdue first")


def at_risk(model: ModelInfo, request: RiskRequest, outlook: Outlook) -> RiskResponse:
    """Whether the customer comes back."""
    catalogue, (asked,) = outlook.catalogue, outlook.questions
    _, (amounts,) = outlook.worth()
    changed = change(asked.customer, asked.as_of, request.horizon_days)
    return RiskResponse(
        model=model,
        as_of=iso(asked.as_of),
        horizon_days=request.horizon_days,
        probability=float(outlook.orders[0]),
        expected_amount=float(amounts.sum()),
        days_since_order=changed.days_since_order,
        usual_gap_days=changed.usual_gap_days,
        late=changed.late,
        amount=changed.spend,
        amount_before=changed.spend_before,
        missing=[
            MissingRecord(
                item_id=item, name=catalogue.names[catalogue.index[item]] if item in catalogue.index else item
            )
            for item in changed.missing[:SHOWN_MISSING]
        ],
    )
