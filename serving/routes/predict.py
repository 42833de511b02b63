"""The likeliest demands of one customer."""

from demand.moments import iso
from demand.uses.outlook import Outlook
from serving.schemas import DemandRecord, ModelInfo, PredictRequest, PredictResponse


def predicted(model: ModelInfo, request: PredictRequest, outlook: Outlook) -> PredictResponse:
    """The likeliest demands."""
    catalogue, (asked,), (demands,) = outlook.catalogue, outlook.questions, outlook.demands(request.top_k)
    return PredictResponse(
        model=model,
        as_of=iso(asked.as_of),
        horizon_days=request.horizon_days,
        demands=[
            DemandRecord(
                item_id=catalogue.item_ids[demand.item],
                name=catalogue.names[demand.item],
                probability=demand.probability,
                expected_quantity=demand.expected_quantity,
                expected_amount=demand.expected_amount,
            )
            for demand in demands
        ],
        unknown_items=sorted(item for item in asked.customer.items if item not in catalogue.index),
    )
