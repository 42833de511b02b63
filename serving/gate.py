"""What every request passes first: the door, and a bound on its body."""

import asyncio

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.door import Door
from serving.problems import Problem

LARGEST_BODY = 4 * 1024 * 1024
BODY_SECONDS = 10.0
"""In which a body must have come."""
SAFE_HEADERS = {
    "Cache-Control": "no-store",  # answers are of customers
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Of every answer that does not say otherwise."""


class Gate:
    """ASGI middleware: refuses whom the door refuses, and bodies over LARGEST_BODY bytes before anything parses them.

    Ray Serve carries the application to its process without its state, so that the door belongs to the class: set it
    there before the first request.

    Every body is read as JSON, whatever type the client declares (curl's -d declares a form). X-Request-ID comes from
    Ray Serve's proxy, which repeats the client's or makes one.
    """

    door: Door | None = None

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SAFE_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        problem = None
        if self.door:
            headers, route = Headers(scope=scope), f"{scope['method']} {scope['path']}"
            sites = [headers[name] for name in ("host", "origin") if name in headers]
            problem = await self.door.refuses(route, headers.get("authorization", ""), sites)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = None if problem else await _read_body(scope, receive)
        except TimeoutError:
            body, problem = None, Problem(408, f"the body did not come within {BODY_SECONDS:g} seconds")
        if body is None:
            problem = problem or Problem(413, f"the body is larger than {LARGEST_BODY} bytes")
            await problem.answer.response()(scope, receive, send_safely)
            return
        MutableHeaders(scope=scope)["content-type"] = "application/json"
        unread = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return unread.pop() if unread else await receive()

        await self.app(scope, replay, send_safely)


async def _read_body(scope: Scope, receive: Receive) -> bytes | None:
    """The whole body, or None as soon as it is known to be too large."""
    declared = Headers(scope=scope).get("content-length", "0")
    if not declared.isdigit() or int(declared) > LARGEST_BODY:
        return None
    body: bytes = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY:
            return None
        if not message.get("more_body", False):
            return body
