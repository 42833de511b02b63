"""What an endpoint can be asked: of each route the request, the answer, and how the one becomes the other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from demand.uses.outlook import Outlook
from serving.schemas import ModelInfo, PredictRequest, PredictResponse
from serving.uses.audience import AudienceRequest, AudienceResponse, gathered
from serving.uses.predict import predicted
from serving.uses.recommend import RecommendRequest, RecommendResponse, recommended
from serving.uses.risk import RiskRequest, RiskResponse, at_risk


@dataclass(frozen=True)
class Use:
    """One route that a model answers.

    Attributes:
        request, response: what comes in and goes out; a request has `questions()` and `who`.
        answer: from the served model, the request and what the model expects.
    """

    request: type[Any]
    response: type[BaseModel]
    answer: Callable[[ModelInfo, Any, Outlook], BaseModel]


USES: Mapping[str, Use] = {
    "/v1/predict": Use(PredictRequest, PredictResponse, predicted),
    "/v1/recommend": Use(RecommendRequest, RecommendResponse, recommended),
    "/v1/audience": Use(AudienceRequest, AudienceResponse, gathered),
    "/v1/customers/risk": Use(RiskRequest, RiskResponse, at_risk),
}
"""By route."""
