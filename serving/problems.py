"""Errors over HTTP: RFC 9457 problem documents. They name fields of a request, and repeat none of its values."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from fastapi import Response
from pydantic import BaseModel, Field, ValidationError

RETRY_SECONDS = 1
MOST_ERRORS = 100
"""That are told one by one: a body of 4 MB can have millions, of which each would take its time and memory."""
MEDIA = "application/problem+json"


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    field: str = Field(description="path of the field, with dots")
    reason: str


class ProblemDocument(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] = []


class Answer(NamedTuple):
    """What a request is answered: a status and a body of JSON, a problem document where the status is an error's.

    Attributes:
        model: whose answer it is, NAME@VERSION, if it is a model's.
        models: all that were served (Models.digest), where the same request has the same answer.
        holds_seconds: for so long, if they are still served.
    """

    status: int
    body: bytes
    retry_seconds: int = RETRY_SECONDS
    model: str | None = None
    models: str | None = None
    holds_seconds: float = 0.0

    def response(self) -> Response:
        """With Retry-After where trying again helps, and what kind of key is asked for where one is."""
        headers = {"Retry-After": str(self.retry_seconds)} if self.status in (429, 503) else {}
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        media = "application/json" if self.status < 400 else MEDIA
        return Response(self.body, self.status, headers, media)


class Problem(Exception):
    """Ends a request with a problem document."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Sequence[Mapping[str, str]] = (),
        retry_seconds: int = RETRY_SECONDS,
    ) -> None:
        super().__init__(detail)
        self.retry_seconds = retry_seconds
        self.status = status
        self.detail = detail
        self.errors = list(errors)

    @property
    def document(self) -> dict[str, Any]:
        """The body of the answer."""
        document: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        return {**document, "errors": self.errors} if self.errors else document

    @property
    def answer(self) -> Answer:
        """The whole answer."""
        return Answer(self.status, json.dumps(self.document).encode(), self.retry_seconds)


def refused(error: ValidationError) -> Problem:
    """The problem of a body that pydantic refuses."""
    few = error.error_count() <= MOST_ERRORS
    return invalid(error.errors(include_url=False, include_input=False)) if few else _too_many()


def invalid(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """The problem behind pydantic's or FastAPI's list of validation errors."""
    if len(errors) > MOST_ERRORS:
        return _too_many()
    if errors and errors[0]["type"] == "json_invalid":
        return Problem(400, "the body is not valid JSON")
    places = [_place(error["loc"]) for error in errors]
    inside = {place[: UNIONS[place[0]]] for place in places if place and len(place) > UNIONS.get(place[0], len(place))}
    fields = [
        {"field": ".".join(place) or "body", "reason": _reason(error)}
        for place, error in zip(places, errors, strict=True)
        if place not in inside  # where something is wrong within a record, it matters not that it is no id
    ]
    return Problem(422, f"{fields[0]['field']}: {fields[0]['reason']}", fields)


def _too_many() -> Problem:
    return Problem(422, f"more than {MOST_ERRORS} fields are wrong")


def _reason(error: Mapping[str, Any]) -> str:
    if error["type"] == "union_tag_invalid":  # whose message repeats the tag
        return f"{error['ctx']['discriminator']} must be one of {error['ctx']['expected_tags']}"
    return str(error["msg"])


UNIONS = {"customer": 1, "customers": 2, "events": 2}
"""Fields that may be one of several things, with how many names lead there; pydantic then says which it tried."""


def _place(names: Sequence[str | int]) -> tuple[str, ...]:
    place = tuple(str(name) for name in names if name != "body")
    tried = UNIONS.get(place[0], len(place)) if place else 0
    return place[:tried] + place[tried + 1 :]
