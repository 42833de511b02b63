"""Why an item is expected, as it goes over HTTP."""

from dataclasses import asdict

from pydantic import BaseModel, Field

from demand.moments import iso
from demand.uses.explanation import NAMED, Explanation, Kind


class EventRecord(BaseModel):
    """One event of the customer's."""

    kind: Kind
    ts: str | None = Field(description="null of the profile")
    item_id: str | None = Field(description="the item, where the event was about it; null where about others")
    weight: float = Field(description="by how much the probability is higher with the event than without it")


class Reasons(BaseModel):
    """Why an item is expected: in a sentence, in the numbers that it tells, and by the events that moved it most."""

    sentence: str
    times: int = Field(description="orders with the item")
    days_since_last: int | None = Field(description="whole days since the last of these")
    usual_gap_days: int | None = Field(description="whole days between these, the median; null below three")
    looks: int = Field(description="how often the item was looked at, or touched in other ways short of buying")
    days_since_look: int | None
    rating: int | None = Field(description="the customer's last of the item")
    sales_rank: int = Field(description="1 of the item that is in most orders of all customers")
    events: list[EventRecord] = Field(description=f"strongest first, at most {NAMED}")

    @classmethod
    def of(cls, explanation: Explanation, item_id: str) -> "Reasons":
        """As the model found them."""
        events = [
            EventRecord(
                kind=event.kind,
                ts=None if event.ts is None else iso(event.ts),
                item_id=item_id if item_id in event.items else None,
                weight=weight,
            )
            for event, weight in zip(explanation.events, explanation.weights, strict=True)
        ]
        return cls(sentence=explanation.facts.sentence, **asdict(explanation.facts), events=events)
