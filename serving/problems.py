"""Errors over HTTP: RFC 9457 problem documents. Nothing of a request's body is ever repeated in one."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse

RETRY_SECONDS = 1


class Problem(Exception):
    """Ends a request with a problem document."""

    def __init__(self, status: int, detail: str, errors: Sequence[Mapping[str, str]] = ()) -> None:
        super().__init__(detail)
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

    def response(self) -> JSONResponse:
        """The whole answer; with Retry-After where trying again helps."""
        headers = {"Retry-After": str(RETRY_SECONDS)} if self.status in (429, 503) else None
        return JSONResponse(self.document, self.status, headers, media_type="application/problem+json")


def invalid(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """The problem behind pydantic's or FastAPI's list of validation errors."""
    if errors and errors[0]["type"] == "json_invalid":
        return Problem(400, "the body is not valid JSON")
    fields = [
        {"field": ".".join(str(part) for part in error["loc"] if part != "body") or "body", "reason": str(error["msg"])}
        for error in errors
    ]
    return Problem(422, f"{fields[0]['field']}: {fields[0]['reason']}", fields)
