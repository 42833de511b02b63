"""The console: a page at /console for people who would rather look than read.

Its files are plain HTML, CSS and JavaScript modules, served as they lie here. They hold nothing of anybody and need no
key: the page asks for one, and sends it with each question to the routes under /v1.
"""

import hashlib
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException

CONSOLE = "/console"
PAGE = "index.html"
MEDIA = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
HEADERS = {
    "Cache-Control": "no-cache",  # kept, and asked about each time
    "Content-Security-Policy": "; ".join(
        [
            "default-src 'none'",
            *(f"{kind}-src 'self'" for kind in ("script", "style", "connect", "img")),
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",  # text never becomes markup
            "trusted-types 'none'",
        ]
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
}
router = APIRouter(include_in_schema=False)


@router.get(CONSOLE)
async def console() -> Response:
    """The page names its files relative to itself, so that it also works behind a proxy that puts it elsewhere."""
    return RedirectResponse(f"{CONSOLE.strip('/')}/", status_code=308)


@router.get(f"{CONSOLE}/")
@router.get(f"{CONSOLE}/{{name}}")
async def file(request: Request, name: str = PAGE) -> Response:
    """One of the files, unless the browser has it."""
    found = files().get(name)
    if not found:
        raise HTTPException(404)
    content, tag = found
    headers = {**HEADERS, "ETag": tag}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=MEDIA[Path(name).suffix])


@cache
def files() -> dict[str, tuple[bytes, str]]:
    """By name the content and its ETag; read once, where the ingress runs."""
    contents = {each.name: each.read_bytes() for each in Path(__file__).parent.iterdir() if each.suffix in MEDIA}
    return {name: (content, f'"{hashlib.sha256(content).hexdigest()[:32]}"') for name, content in contents.items()}
