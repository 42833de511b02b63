"""What every request passes first: an id for it, and a bound on its body."""

import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.problems import Problem

LARGEST_BODY = 4 * 1024 * 1024
_SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class Gate:
    """ASGI middleware: refuses bodies over LARGEST_BODY bytes before anything parses them, and sets X-Request-ID."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _SAFE_ID.fullmatch(given) else str(uuid.uuid4())

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        body = await _read_body(scope, receive)
        if body is None:
            problem = Problem(413, f"the body is larger than {LARGEST_BODY} bytes")
            await problem.response()(scope, receive, send_with_id)
            return
        unread = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return unread.pop() if unread else await receive()

        await self.app(scope, replay, send_with_id)


async def _read_body(scope: Scope, receive: Receive) -> bytes | None:
    """The whole body, or None as soon as it is known to be too large."""
    declared = Headers(scope=scope).get("content-length", "0")
    if not declared.isdigit() or int(declared) > LARGEST_BODY:
        return None
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY:
            return None
        if not message.get("more_body", False):
            return body
