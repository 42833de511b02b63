"""What an endpoint is told: what customers did, and what became of predictions."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, field_validator

from demand.events.model import Event, Feedback, Kind
from demand.moments import iso, moment
from serving.schemas import BrowsingRecord, Id, Name, OrderRecord, Outcome, Record, ReviewRecord

MOST_EVENTS = 1_000
"""Of one request."""


class Told(Record):
    """Base of all that is told; what has an `event_id` that is known is not told again."""

    event_id: Id
    customer_id: Id
    ts: datetime

    @field_validator("ts")
    @classmethod
    def _in_calendar(cls, ts: datetime) -> datetime:
        try:
            iso(moment(ts))
        except OverflowError:
            raise ValueError("is beyond the calendar") from None
        return ts


class _EventRecord(Told):
    kind: Kind

    def entry(self) -> Event:
        """As the log keeps it."""
        body = self.model_dump(mode="json", exclude={"event_id", "customer_id", "kind", "ts"})
        return Event(self.event_id, self.customer_id, self.kind, moment(self.ts), body)


class OrderEvent(OrderRecord, _EventRecord):
    kind: Literal["order"]


class ReviewEvent(ReviewRecord, _EventRecord):
    kind: Literal["review"]


class BrowsingEvent(BrowsingRecord, _EventRecord):
    kind: Literal["browsing"]


class ProfileEvent(_EventRecord):
    """Who a customer is from `ts` on: all attributes, in place of those told before."""

    kind: Literal["profile"]
    attributes: dict[Name, Name] = Field(max_length=100)


EventRecord = Annotated[OrderEvent | ReviewEvent | BrowsingEvent | ProfileEvent, Field(discriminator="kind")]


class EventsRequest(Record):
    """What customers did, in any order."""

    events: list[EventRecord] = Field(min_length=1, max_length=MOST_EVENTS)

    def entries(self) -> list[Event]:
        """As the log keeps them."""
        return [each.entry() for each in self.events]


class FeedbackRecord(Outcome, Told):
    """What came of one answer to one customer: as an outcome, and kept."""

    def entry(self) -> Feedback:
        """As the log keeps it."""
        model = self.model.name, self.model.version
        return Feedback(self.event_id, self.customer_id, *model, moment(self.ts), self.shown, self.bought)


class FeedbackRequest(Record):
    """What came of answers."""

    feedback: list[FeedbackRecord] = Field(min_length=1, max_length=MOST_EVENTS)

    def entries(self) -> list[Feedback]:
        """As the log keeps it."""
        return [each.entry() for each in self.feedback]


class AppendedResponse(BaseModel):
    """All of it is on disk."""

    accepted: int = Field(description="how many are new")
    known: int = Field(description="how many were told before")


class CustomersRequest(Record):
    """In a body, as an id is wherever it is sent: addresses are in the logs and traces of whoever passes them on."""

    after: str = Field(default="", max_length=256, description="the last id that is known")
    limit: int = Field(default=100, ge=1, le=1_000)


class RecordRequest(Record):
    customer_id: Id


class CustomersResponse(BaseModel):
    customers: list[str] = Field(description="ids, in order")
