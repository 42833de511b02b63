"""The page at /docs: the OpenAPI document to read and to try, by Swagger UI.

FastAPI's own page fetches Swagger UI from a content delivery network: without a way out it stays empty, and what comes
from there could read the key that the console keeps for this address.
"""

from fastapi import APIRouter, Request, Response

from serving.files import Files

DOCUMENTATION = "/docs"
FILES = Files(
    ["script-src 'self'", "style-src 'self' 'unsafe-inline'", "connect-src 'self'", "img-src 'self' data:"],
    ("serving.documentation", "."),
    ("fastapi_offline", "static"),
)
router = APIRouter(include_in_schema=False)


@router.get(DOCUMENTATION)
@router.get(f"{DOCUMENTATION}/{{name}}")
async def file(request: Request, name: str = "index.html") -> Response:
    """One of the files."""
    return FILES.response(request, name)
