"""The HTTP contract: what a request may hold, and how it becomes a question to the model."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from demand.customer import Browsing, Customer, Review, merge_lines
from demand.errors import RecordError
from demand.moments import iso, moment
from demand.prompts import NEXT_ORDER
from demand.questions import Question
from demand.vocabulary import LONGEST_HORIZON
from serving.reasons import Reasons

ItemId = Annotated[str, Field(min_length=1, max_length=256)]
Text = Annotated[str, Field(max_length=10_000)]
Name = Annotated[str, Field(max_length=256)]
Id = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00]*$")]
"""Of an event, or of a customer in the log of events."""
MOST_CUSTOMERS = 256
"""Of one request."""
MOST_EXPLAINED = 20
"""Demands of one request."""
HORIZON_DAYS = 28
FIRST = moment("0001-01-01")
"""Of the calendar."""


class Record(BaseModel):
    """Base of all parts of a request: an unknown field is an error, not a silent loss."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Line(Record):
    item_id: ItemId
    quantity: float = Field(default=1, gt=0, le=1e9)
    amount: float = Field(default=0, ge=0, le=1e12, description="line total paid, in currency units")


class OrderRecord(Record):
    ts: datetime
    items: Annotated[list[Line], FailFast()] = Field(min_length=1, max_length=2_000)
    store: Name | None = Field(default=None, exclude_if=lambda store: store is None, description="where it was bought")


class BrowsingRecord(Record):
    ts: datetime
    action: Name
    item_id: ItemId | None = None
    text: Text | None = None


class ReviewRecord(Record):
    ts: datetime
    item_id: ItemId
    rating: int = Field(ge=1, le=5)
    text: Text = ""


class CustomerRecord(Record):
    """A customer. Every part may be left out: an empty record is answered from what is known of all customers."""

    customer_id: Name = ""
    purchase_history: list[OrderRecord] = Field(default=[], max_length=10_000)
    browsing_history: list[BrowsingRecord] = Field(default=[], max_length=10_000)
    reviews: list[ReviewRecord] = Field(default=[], max_length=10_000)
    demographic_info: dict[Name, Name] = Field(default={}, max_length=100)

    @classmethod
    def of(cls, customer: Customer) -> "CustomerRecord":
        """A customer of a dataset as a client would send one; the inverse of `customer`."""
        orders = [
            OrderRecord(
                ts=iso(order.ts),
                items=[
                    Line(item_id=item, quantity=quantity, amount=amount)
                    for item, quantity, amount in zip(order.items, order.quantities, order.amounts, strict=True)
                ],
                store=order.store,
            )
            for order in customer.orders
        ]
        browsing = [
            BrowsingRecord(ts=iso(each.ts), action=each.action, item_id=each.item, text=each.text)
            for each in customer.browsing
        ]
        reviews = [
            ReviewRecord(ts=iso(each.ts), item_id=each.item, rating=each.rating, text=each.text)
            for each in customer.reviews
        ]
        return cls(
            customer_id=customer.customer_id,
            purchase_history=orders,
            browsing_history=browsing,
            reviews=reviews,
            demographic_info=dict(customer.attributes),
        )

    def customer(self) -> Customer:
        """The record as the prompts see it, each kind of event in time order."""
        orders = [
            merge_lines(
                moment(order.ts), [(line.item_id, line.quantity, line.amount) for line in order.items], order.store
            )
            for order in self.purchase_history
        ]
        browsing = [Browsing(moment(each.ts), each.action, each.item_id, each.text) for each in self.browsing_history]
        reviews = [Review(moment(each.ts), each.item_id, each.rating, each.text) for each in self.reviews]
        return Customer(
            self.customer_id,
            tuple(sorted(orders, key=lambda order: order.ts)),
            tuple(sorted(browsing, key=lambda event: event.ts)),
            tuple(sorted(reviews, key=lambda review: review.ts)),
            self.demographic_info,
        )


Who = Annotated[CustomerRecord | Id, Field(union_mode="left_to_right")]
"""A customer's record, or the id of a customer whose record the log of events has."""


def question(customer: Who, as_of: datetime | None, horizon_days: int | None, path: str = "customer") -> Question:
    """A record as the model sees it, at a moment, or now.

    Args:
        path: of the record in the request.

    Raises:
        RecordError: an event is not before `as_of`, or one of them is in no year from 1 to 9999 of UTC; or there is an
            id in place of a record, which the ingress would have looked up if there was a log.
    """
    if isinstance(customer, str):
        raise RecordError(path, "is an id, and this endpoint keeps no log of events: send a record")
    then = moment(as_of or datetime.now(UTC))
    try:
        iso(then)
    except OverflowError:
        raise RecordError("as_of", "is beyond the calendar") from None
    for part in ("purchase_history", "browsing_history", "reviews"):
        for place, event in enumerate(getattr(customer, part)):
            if (ts := moment(event.ts)) >= then:
                raise RecordError(f"{path}.{part}.{place}.ts", "is not before as_of")
            if ts < FIRST:
                raise RecordError(f"{path}.{part}.{place}.ts", "is beyond the calendar")
    return Question(customer.customer(), then, horizon_days or NEXT_ORDER)


class CustomerRequest(Record):
    """About one customer; `as_of` null means now."""

    customer: Who
    as_of: datetime | None = None
    horizon_days: int | None = Field(default=None, ge=1, le=LONGEST_HORIZON)

    def questions(self) -> list[Question]:
        """As the model sees it; raises as `question`."""
        return [question(self.customer, self.as_of, self.horizon_days)]

    @property
    def who(self) -> str:
        """By whose share a model is chosen."""
        return self.customer if isinstance(self.customer, str) else self.customer.customer_id


class PredictRequest(CustomerRequest):
    """What will this customer want? `horizon_days` null asks for the next order; `as_of` null means now."""

    top_k: int = Field(default=20, ge=1, le=1_000)
    explain: bool = Field(
        default=False, description=f"tells why each item is expected, of a top_k of at most {MOST_EXPLAINED}"
    )

    @field_validator("explain")
    @classmethod
    def _not_too_many(cls, explain: bool, others: ValidationInfo) -> bool:
        if explain and others.data.get("top_k", 0) > MOST_EXPLAINED:
            reason = "no more than {most} demands are explained: ask for a smaller top_k"
            raise PydanticCustomError("too_many_explained", reason, {"most": MOST_EXPLAINED})
        return explain


class GroupRequest(Record):
    """About many customers at once; `as_of` null means now."""

    customers: list[Who] = Field(min_length=1, max_length=MOST_CUSTOMERS)
    as_of: datetime | None = None
    horizon_days: int = Field(default=HORIZON_DAYS, ge=1, le=LONGEST_HORIZON)

    def questions(self) -> list[Question]:
        """As the model sees them; raises as `question`."""
        return [
            question(each, self.as_of, self.horizon_days, f"customers.{place}")
            for place, each in enumerate(self.customers)
        ]

    @property
    def who(self) -> str:
        """Nobody in particular: the champion answers."""
        return ""


class BatchRequest(Record):
    """Several requests at once; each is answered, or refused, by itself."""

    requests: list[Any] = Field(min_length=1, max_length=256)


class ModelInfo(BaseModel):
    name: str
    version: int
    prompt_format: str


class AnsweredBy(Record):
    """The `model` of an answer."""

    name: Id
    version: int = Field(ge=0, lt=2**31)
    prompt_format: Name = ""


class Outcome(Record):
    """What came of an answer. It names no customer: whether a model's items are bought is all that is counted."""

    model: AnsweredBy
    shown: list[ItemId] = Field(min_length=1, max_length=1_000, description="items of the answer that were shown")
    bought: list[ItemId] = Field(default=[], max_length=2_000, description="what the customer bought, shown or not")


class OutcomeResponse(BaseModel):
    bought: int = Field(description="how many of the items shown were bought")


class ServedModelInfo(ModelInfo):
    share: float = Field(description="of the customers whom it answers")
    answers: int = Field(description="that it gave since the ingress started, kept ones not counted")
    failures: int = Field(description="errors of its own among them")
    seconds: float = Field(description="that its answers took in all, as the ingress sees it")
    shown: int = Field(description="items of its answers that were shown, as outcomes tell")
    bought: int = Field(description="how many of those were bought")


class StatusResponse(BaseModel):
    """How the endpoint does."""

    status: str = Field(description="of the application, in Ray Serve's words")
    models: list[ServedModelInfo] = Field(description="as one replica has them; none where no replica could tell")
    replicas: dict[str, int] = Field(description="how many there are in each state")
    ongoing: int = Field(description="requests that are being answered, or wait")


class DemandRecord(BaseModel):
    item_id: str
    name: str
    probability: float = Field(description="chance that the customer buys the item within the question")
    expected_quantity: float
    expected_amount: float
    reasons: Reasons | None = Field(
        default=None, exclude_if=lambda reasons: reasons is None, description="only where `explain` asked for them"
    )


class PredictResponse(BaseModel):
    """The likeliest demands, likeliest first."""

    model: ModelInfo
    as_of: str
    horizon_days: int | None
    demands: list[DemandRecord]
    unknown_items: list[str] = Field(description="item ids in the request that the model's catalogue lacks")


class BatchResponse(BaseModel):
    """In the order of the requests: an answer, or {"error": problem}."""

    responses: list[Any]
