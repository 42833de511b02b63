"""A list of items for one customer, within what the shop allows."""

from pydantic import BaseModel, Field

from demand.moments import iso
from demand.uses.outlook import Outlook
from demand.uses.recommendation import Wish, recommend
from serving.schemas import CustomerRequest, ModelInfo


class RecommendRequest(CustomerRequest):
    """What should this customer be shown? `horizon_days` null asks for the next order; `as_of` null means now."""

    wish: Wish = Wish()


class RecommendedRecord(BaseModel):
    item_id: str
    name: str
    probability: float = Field(description="chance that the customer buys the item within the question")
    expected_amount: float
    price: float | None = Field(description="of one unit; null where it is not known")
    new: bool = Field(description="whether the customer never bought it")


class RecommendResponse(BaseModel):
    """A list that keeps the wish, likeliest first. It may be short, or empty."""

    model: ModelInfo
    as_of: str
    items: list[RecommendedRecord]


def recommended(model: ModelInfo, request: RecommendRequest, outlook: Outlook) -> RecommendResponse:
    """The best list that keeps the wish."""
    catalogue, (asked,) = outlook.catalogue, outlook.questions
    _, (amounts,) = outlook.worth()
    (chances,) = outlook.chances
    return RecommendResponse(
        model=model,
        as_of=iso(asked.as_of),
        items=[
            RecommendedRecord(
                item_id=catalogue.item_ids[each.item],
                name=catalogue.names[each.item],
                probability=float(chances[each.item]),
                expected_amount=float(amounts[each.item]),
                price=each.price,
                new=each.new,
            )
            for each in recommend(asked.customer, catalogue, chances, amounts, request.wish)
        ],
    )
