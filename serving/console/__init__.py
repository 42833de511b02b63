"""The console: a page at /console for people who would rather look than read.

Its files are plain HTML, CSS and JavaScript modules, served as they lie here. They hold nothing of anybody and need no
key: the page asks for one, and sends it with each question to the routes under /v1.
"""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from serving.files import Files

CONSOLE = "/console"
PAGE = "index.html"
FILES = Files(
    [
        *(f"{kind}-src 'self'" for kind in ("script", "style", "connect", "img")),
        "require-trusted-types-for 'script'",  # text never becomes markup
        "trusted-types 'none'",
    ],
    ("serving.console", "."),
)
router = APIRouter(include_in_schema=False)


@router.get(CONSOLE)
async def console() -> Response:
    """The page names its files relative to itself, so that it also works behind a proxy that puts it elsewhere."""
    return RedirectResponse(f"{CONSOLE.strip('/')}/", status_code=308)


@router.get(f"{CONSOLE}/")
@router.get(f"{CONSOLE}/{{name}}")
async def file(request: Request, name: str = PAGE) -> Response:
    """One of the files."""
    return FILES.response(request, name)
