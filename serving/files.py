"""Files for browsers, served as they lie in a package."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.resources import files
from pathlib import PurePath

from fastapi import Request, Response
from starlette.exceptions import HTTPException

MEDIA = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
NOTHING_ELSE = ("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'")


class Files:
    """The files of some packages' folders. They hold nothing of anybody, and are read once, when they are asked for."""

    def __init__(self, policy: Sequence[str], *folders: tuple[str, str]) -> None:
        """
        Args:
            policy: what else the pages may do (Content-Security-Policy); by itself nothing.
            folders: packages, and the folders in them.
        """
        self._folders = folders
        self._headers = {
            "Cache-Control": "no-cache",  # kept, and asked about each time
            "Content-Security-Policy": "; ".join(["default-src 'none'", *policy, *NOTHING_ELSE]),
            "Cross-Origin-Opener-Policy": "same-origin",
        }

    def response(self, request: Request, name: str) -> Response:
        """One of the files, unless the browser has it. Raises HTTPException where there is none."""
        found = self._contents.get(name)
        if not found:
            raise HTTPException(404)
        content, tag = found
        headers = {**self._headers, "ETag": tag}
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=MEDIA[PurePath(name).suffix])

    @cached_property
    def _contents(self) -> Mapping[str, tuple[bytes, str]]:
        """By name the content and its ETag."""
        found = (each for package, folder in self._folders for each in files(package).joinpath(folder).iterdir())
        contents = {each.name: each.read_bytes() for each in found if PurePath(each.name).suffix in MEDIA}
        return {name: (content, f'"{hashlib.sha256(content).hexdigest()[:32]}"') for name, content in contents.items()}
