"""The likeliest demands of one customer."""

from itertools import chain

from demand.moments import iso
from demand.uses.outlook import Outlook
from serving.reasons import Reasons
from serving.schemas import DemandRecord, ModelInfo, PredictRequest, PredictResponse


def predicted(model: ModelInfo, request: PredictRequest, outlook: Outlook) -> PredictResponse:
    """The likeliest demands, with their reasons where the outlook holds explanations."""
    catalogue, (asked,), (demands,) = outlook.catalogue, outlook.questions, outlook.demands(request.top_k)
    reasons: list[Reasons | None] = [
        Reasons.of(each, catalogue.item_ids[each.item]) for each in chain(*outlook.explanations)
    ]
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
                reasons=why,
            )
            for demand, why in zip(demands, reasons or [None] * len(demands), strict=True)
        ],
        unknown_items=sorted(item for item in asked.customer.items if item not in catalogue.index),
    )
