"""Files and folders that a URI names, with pathlib's words; pyarrow.fs reaches them."""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pyarrow as pa
from pyarrow import fs

from demand.errors import SettingsError
from demand.locations import MANIFEST


@dataclass(frozen=True)
class Remote:
    """A file or folder that a URI names.

    Attributes:
        uri: as people write it.
        filesystem, path: as pyarrow.fs.FileSystem.from_uri splits it.
    """

    uri: str
    filesystem: fs.FileSystem
    path: str

    @classmethod
    def of(cls, uri: str) -> "Remote":
        """Reads a URI; options such as ?endpoint_override=HOST:PORT may follow it.

        Raises:
            SettingsError: pyarrow.fs does not know it or cannot reach it, or it holds a password.
        """
        if urlsplit(uri).password:
            raise SettingsError(f"{urlsplit(uri).scheme}://…: give credentials by the environment, not in a URI")
        try:
            filesystem, path = fs.FileSystem.from_uri(uri)
        except (pa.ArrowException, OSError) as error:
            raise SettingsError(f"{uri}: {str(error).splitlines()[0]}") from None
        if not path.strip("/"):
            raise SettingsError(f"{uri} names nothing: give at least a bucket")
        place, mark, options = uri.partition("?")
        return cls(f"{place.rstrip('/')}{mark}{options}", filesystem, path.rstrip("/"))

    def __str__(self) -> str:
        return self.uri

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def stem(self) -> str:
        return Path(self.name).stem

    @property
    def parent(self) -> "Remote":
        place, mark, options = self.uri.partition("?")
        return Remote(place.rpartition("/")[0] + mark + options, self.filesystem, self.path.rpartition("/")[0])

    def __truediv__(self, name: str, /) -> "Remote":
        place, mark, options = self.uri.partition("?")
        return Remote(f"{place}/{quote(name)}{mark}{options}", self.filesystem, f"{self.path}/{name}")

    def exists(self) -> bool:
        return bool(self._type() != fs.FileType.NotFound)

    def is_file(self) -> bool:
        return bool(self._type() == fs.FileType.File)

    def is_dir(self) -> bool:
        return bool(self._type() == fs.FileType.Directory)

    def read_text(self) -> str:
        with self.filesystem.open_input_stream(self.path) as stream:
            return bytes(stream.read()).decode()

    def glob(self, pattern: str) -> "Iterator[Remote]":
        depth = pattern.count("/")
        inside = fs.FileSelector(self.path, allow_not_found=True, recursive=depth > 0)
        for found in self.filesystem.get_file_info(inside):
            names = found.path.removeprefix(f"{self.path}/")
            if names.count("/") == depth and all(map(fnmatchcase, names.split("/"), pattern.split("/"))):
                yield self / names

    def files_below(self) -> "Iterator[Remote]":
        """Every file in the folder and in those in it."""
        for found in self.filesystem.get_file_info(fs.FileSelector(self.path, allow_not_found=True, recursive=True)):
            if found.type == fs.FileType.File:
                yield self / found.path.removeprefix(f"{self.path}/")

    def unlink(self) -> None:
        self.filesystem.delete_file(self.path)

    def download(self, folder: Path) -> Path:
        """Copies the file, or the folder with all that it holds, into a local folder; returns where it lies there."""
        here = folder / self.path.strip("/")  # which says in messages where it comes from
        (here if self.is_dir() else here.parent).mkdir(parents=True, exist_ok=True)
        fs.copy_files(self.path, str(here), self.filesystem, fs.LocalFileSystem())
        return here

    def upload(self, here: Path) -> None:
        """Makes this what a local file or folder is. Of a folder, an older manifest goes first and the new one last."""
        if here.is_file():
            self._put(here)
            return
        if (self / MANIFEST).is_file():
            (self / MANIFEST).unlink()
        files = [each for each in here.rglob("*") if each.is_file()]
        for file in sorted(files, key=lambda each: each == here / MANIFEST):
            (self / file.relative_to(here).as_posix())._put(file)

    def _put(self, here: Path) -> None:
        self.filesystem.create_dir(self.parent.path)
        fs.copy_files(str(here), self.path, fs.LocalFileSystem(), self.filesystem)

    def _type(self) -> Any:
        return self.filesystem.get_file_info(self.path).type
