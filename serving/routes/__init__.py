"""What an endpoint can be asked: of each route the request, the answer, and how the one becomes the other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from demand.uses.outlook import Outlook
from serving.routes.audience import AudienceRequest, AudienceResponse, gathered
from serving.routes.forecast import ForecastRequest, ForecastResponse, forecast
from serving.routes.launch import LaunchRequest, LaunchResponse, launched
from serving.routes.predict import predicted
from serving.routes.recommend import RecommendRequest, RecommendResponse, recommended
from serving.routes.risk import RiskRequest, RiskResponse, at_risk
from serving.schemas import ModelInfo, PredictRequest, PredictResponse


@dataclass(frozen=True)
class Route:
    """One route that a model answers.

    Attributes:
        request, response: what comes in and goes out; a request has `questions()` and `who`.
        answer: from the served model, the request and what the model expects.
    """

    request: type[Any]
    response: type[BaseModel]
    answer: Callable[[ModelInfo, Any, Outlook], BaseModel]


ROUTES: Mapping[str, Route] = {
    "/v1/predict": Route(PredictRequest, PredictResponse, predicted),
    "/v1/recommend": Route(RecommendRequest, RecommendResponse, recommended),
    "/v1/audience": Route(AudienceRequest, AudienceResponse, gathered),
    "/v1/forecast": Route(ForecastRequest, ForecastResponse, forecast),
    "/v1/new-product": Route(LaunchRequest, LaunchResponse, launched),
    "/v1/customers/risk": Route(RiskRequest, RiskResponse, at_risk),
}
"""By route."""
