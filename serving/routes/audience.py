"""Who of some customers is most likely to want an item, or something of a category."""

from pydantic import BaseModel, Field

from demand.catalogue import Catalogue
from demand.errors import RecordError
from demand.moments import iso
from demand.uses.audience import chance_of_any, choose
from demand.uses.outlook import Outlook
from serving.schemas import GroupRequest, ItemId, ModelInfo, Name


class AudienceRequest(GroupRequest):
    """Who of these customers will want one of these items, or anything of a category?

    Give one of items and category, and one of size, threshold, and budget with cost.
    """

    items: list[ItemId] = Field(default=[], max_length=1_000)
    category: Name | None = None
    size: int | None = Field(default=None, ge=1)
    threshold: float | None = Field(default=None, ge=0, le=1)
    budget: float | None = Field(default=None, gt=0)
    cost: float | None = Field(default=None, gt=0, description="of asking one customer")


class Member(BaseModel):
    customer_id: str
    place: int = Field(description="of the customer in the request, from 0")
    probability: float = Field(description="chance that the customer buys any of it within the horizon")


class AudienceResponse(BaseModel):
    """The audience, likeliest first. One of fewer than 10 is refused."""

    model: ModelInfo
    as_of: str
    members: list[Member]
    expected_response: float = Field(description="members who are expected to buy")
    reached: float = Field(description="share of all who are expected to buy that are members")


def gathered(model: ModelInfo, request: AudienceRequest, outlook: Outlook) -> AudienceResponse:
    """The audience.

    Raises:
        RecordError: nothing is asked about that the catalogue knows.
        SettingsError: see demand.uses.audience.choose.
    """
    wanted = wanted_items(outlook.catalogue, request.items, request.category)
    chances = chance_of_any(outlook.chances[:, wanted])
    found = choose(chances, request.size, request.threshold, request.budget, request.cost)
    return AudienceResponse(
        model=model,
        as_of=iso(outlook.questions[0].as_of),
        members=[
            Member(
                customer_id=outlook.questions[row].customer.customer_id, place=int(row), probability=float(chances[row])
            )
            for row in found.rows
        ],
        expected_response=found.response,
        reached=found.reached,
    )


def wanted_items(catalogue: Catalogue, items: list[str], category: str | None) -> list[int]:
    """Catalogue indices of items, or of all items of a category.

    Raises:
        RecordError: both or neither is given, or the catalogue lacks it.
    """
    if bool(items) == (category is not None):
        raise RecordError("items", "or category: give one of them")
    if category is not None:
        found = [place for place, each in enumerate(catalogue.table["category"].to_pylist()) if each == category]
        if not found:
            raise RecordError("category", "is none of the catalogue's")
        return found
    for place, item in enumerate(items):
        if item not in catalogue.index:
            raise RecordError(f"items.{place}", "is not in the catalogue")
    return sorted({catalogue.index[item] for item in items})
