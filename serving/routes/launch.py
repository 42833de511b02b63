"""What some customers will buy of something that is not sold yet."""

import numpy as np
from pydantic import BaseModel, Field

from demand.moments import iso
from demand.uses.launch import Product, launch
from demand.uses.outlook import Outlook
from serving.routes.audience import Member
from serving.schemas import GroupRequest, ModelInfo


class LaunchRequest(GroupRequest):
    """What will these customers buy of this new product, and who of them first of all?"""

    product: Product
    size: int = Field(default=10, ge=0, le=1_000, description="customers to name, the likeliest")


class AlikeRecord(BaseModel):
    item_id: str
    name: str
    weight: float = Field(description="of the item in the comparison; all items' weights sum to 1")
    taken_quantity: float = Field(description="units that the item loses to the product, at most")


class LaunchResponse(BaseModel):
    """Demand for a new product. It is taken to sell a share of what items like it sell, as earlier launches did."""

    model: ModelInfo
    as_of: str
    horizon_days: int
    expected_quantity: float
    expected_amount: float
    low: float | None = Field(description="80 % of launches ended between low and high; null: too few are known")
    high: float | None
    launches: int = Field(description="that the share was learned from; 0: it is taken to sell as what is like it")
    customers: list[Member] = Field(description="the likeliest first")
    alike: list[AlikeRecord] = Field(description="items it is compared with most, and takes from; the most alike first")


def launched(model: ModelInfo, request: LaunchRequest, outlook: Outlook) -> LaunchResponse:
    """What comes of the product.

    Raises:
        RecordError: nothing is sold.
    """
    catalogue = outlook.catalogue
    found = launch(outlook, request.product, request.horizon_days)
    chances = found.chances
    low, high = found.range or (None, None)
    return LaunchResponse(
        model=model,
        as_of=iso(outlook.questions[0].as_of),
        horizon_days=request.horizon_days,
        expected_quantity=found.units,
        expected_amount=found.amount,
        low=low,
        high=high,
        launches=found.share.launches,
        customers=[
            Member(customer_id=request.customers[row].customer_id, place=int(row), probability=float(chances[row]))
            for row in np.argsort(-chances, kind="stable")[: request.size]
        ],
        alike=[
            AlikeRecord(
                item_id=catalogue.item_ids[item],
                name=catalogue.names[item],
                weight=float(found.alike.weights[item]),
                taken_quantity=float(taken),
            )
            for item, taken in zip(found.alike.most, found.taken, strict=True)
        ],
    )
