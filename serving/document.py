"""The OpenAPI document: what FastAPI sees of the routes, and what it does not."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from serving.door import OPEN
from serving.events import (
    AppendedResponse,
    CustomersRequest,
    CustomersResponse,
    EventsRequest,
    FeedbackRequest,
    RecordRequest,
)
from serving.gate import LARGEST_BODY
from serving.problems import MEDIA, ProblemDocument
from serving.registered import RegisteredResponse
from serving.routes import ROUTES
from serving.schemas import (
    BatchRequest,
    BatchResponse,
    CustomerRecord,
    Outcome,
    OutcomeResponse,
    StatusResponse,
)

COMPONENTS = "#/components/schemas/{model}"
KEY = "key"
BODIES: dict[str, tuple[type[BaseModel], type[BaseModel]]] = {
    **{route: (each.request, each.response) for route, each in ROUTES.items()},
    "/v1/predict/batch": (BatchRequest, BatchResponse),
    "/v1/outcomes": (Outcome, OutcomeResponse),
    "/v1/events": (EventsRequest, AppendedResponse),
    "/v1/feedback": (FeedbackRequest, AppendedResponse),
    "/v1/customers": (CustomersRequest, CustomersResponse),
    "/v1/customers/record": (RecordRequest, CustomerRecord),
}
REFUSED = {
    "400": "The body is no JSON.",
    "408": "The body did not come in time.",
    "413": f"The body is larger than {LARGEST_BODY} bytes.",
    "422": "A field is wrong; `errors` names it by its path.",
}
WITHOUT_KEY = {
    "401": "Without a good key.",
    "403": "The key's scope does not reach here.",
    "429": "The key asked too often; Retry-After says when to ask again.",
}
NO_LOG = {"404": "There is no log of events, or no such customer in it."}
APPENDED = NO_LOG | {
    "409": "An id is known with another content; `errors` names it. Nothing was taken.",
    "507": "The log's disk is full. Nothing was taken.",
}
LOG = {
    "/v1/events": APPENDED,
    "/v1/feedback": APPENDED,
    "/v1/customers": NO_LOG,
    "/v1/customers/record": NO_LOG,
}
FAILED = {"500": "The request could not be answered.", "503": "Busy or not ready; Retry-After says when to ask again."}


class Api(FastAPI):
    """An application whose document tells of bodies that replicas read, of keys, and of every problem."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        if not self.openapi_schema:
            document = super().openapi()
            models: list[type[BaseModel]] = [
                ProblemDocument,
                StatusResponse,
                RegisteredResponse,
                *(model for both in BODIES.values() for model in both),
            ]
            # Responses as they are written: what has a default is always there.
            _, schemas = models_json_schema([(each, "validation") for each in models], ref_template=COMPONENTS)
            document["components"] = {
                "schemas": schemas["$defs"],
                "securitySchemes": {KEY: {"type": "http", "scheme": "bearer", "description": "demandcast keys create"}},
            }
            for path, methods in document["paths"].items():
                for operation in methods.values():
                    _complete(path, operation)
        return self.openapi_schema or {}


def _complete(path: str, operation: dict[str, Any]) -> None:
    problems = dict(FAILED)
    if path not in OPEN:
        operation["security"] = [{KEY: []}]
        problems |= WITHOUT_KEY
    problems |= LOG.get(path, {})
    for parameter in operation.get("parameters", []):
        parameter.pop("example", None)  # FastAPI's mark of none, which Serve's pickling turns into one
    if path == "/v1/models":
        problems["404"] = "This endpoint has no registry."
    if path in BODIES:
        asked, answered = ({"application/json": {"schema": _named(each)}} for each in BODIES[path])
        operation["requestBody"] = {"required": True, "content": asked}
        operation["responses"]["200"]["content"] = answered
        problems |= REFUSED
    for status, description in sorted(problems.items()):
        operation["responses"][status] = {
            "description": description,
            "content": {MEDIA: {"schema": _named(ProblemDocument)}},
        }


def _named(model: type) -> dict[str, str]:
    return {"$ref": COMPONENTS.format(model=model.__name__)}
