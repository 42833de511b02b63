"""Where files lie: a local path, or any URI that pyarrow.fs knows (s3://, gs://, abfss://, hdfs://), used alike.

Object stores cannot rename. So a folder there counts as whole once it has its manifest, which is written last.
"""

import ctypes
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

    from demand.remote import Remote

MANIFEST = "manifest.json"
"""Of a dataset or a checkpoint."""


class Location(Protocol):
    """What pathlib.Path and demand.remote.Remote have in common. What fails is an OSError."""

    @property
    def name(self) -> str: ...
    @property
    def stem(self) -> str: ...
    @property
    def parent(self) -> "Location": ...
    def __truediv__(self, name: str, /) -> "Location": ...
    def exists(self) -> bool: ...
    def is_file(self) -> bool: ...
    def is_dir(self) -> bool: ...
    def read_text(self) -> str: ...
    def glob(self, pattern: str) -> "Iterable[Location]": ...
    def unlink(self) -> None: ...


def location(place: str | Location) -> Location:
    """What a text names: a Remote if it has a scheme, other than file://, else a Path.

    Raises:
        SettingsError: a URI that cannot be used.
    """
    if not isinstance(place, str):
        return place
    scheme, separator, rest = place.partition("://")
    if not separator or scheme == "file":
        return Path(rest or place)
    from demand.remote import Remote  # half of the time in which --help answers

    return Remote.of(place)


def absolute(place: Location) -> Location:
    """The same for processes with other working folders."""
    return place.resolve() if isinstance(place, Path) else place


def split(place: Location) -> "tuple[str, FileSystem | None]":
    """The path, and the file system unless it is the local one, as pyarrow and Ray take them."""
    if isinstance(place, Path):
        return str(place.resolve()), None
    remote = _remote(place)
    return remote.path, remote.filesystem


def inside(folder: Location, path: str) -> Location:
    """The inverse of split for what lies below a folder."""
    return folder / path.removeprefix(f"{split(folder)[0]}/")


@contextmanager
def local(place: Location) -> Iterator[Path]:
    """A file or folder as a local one; what is remote is copied, and the copy removed in the end."""
    if isinstance(place, Path):
        yield place
    else:
        with tempfile.TemporaryDirectory(prefix="demandcast-") as folder:
            yield _remote(place).download(Path(folder))


def make_parent(place: Location) -> None:
    """Makes the folder that something is to lie in; object stores need none."""
    if isinstance(place, Path):
        place.parent.mkdir(parents=True, exist_ok=True)


@contextmanager
def whole(out: Location) -> Iterator[Path]:
    """Gives a local path at which a file or a folder is to be made, and puts it to `out` once that was done.

    Locally it appears, or replaces the older one, in one step. Remotely a file does; a folder gets its manifest last.
    Where the work fails, or is killed, the older one stays. What a link leads to is replaced, not the link.
    """
    out = absolute(out)
    make_parent(out)
    workspace = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent if isinstance(out, Path) else None))
    try:
        fresh = workspace / out.name
        yield fresh
        if isinstance(out, Path):
            _swap_in(fresh, out)
        else:
            _remote(out).upload(fresh)
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def files_below(folder: Location) -> "Iterator[Location]":
    """Every file in a folder and in the folders in it, hidden ones too. Links are not followed."""
    if isinstance(folder, Path):
        for place, _, names in sorted(os.walk(folder)):
            yield from (file for name in sorted(names) if not (file := Path(place) / name).is_symlink())
    else:
        yield from _remote(folder).files_below()


def passed_over(folder: Location, within: Iterable[Location]) -> Iterator[tuple[Path, str]]:
    """What `files_below` leaves out of a local folder, and why: links to what lies in none of the folders `within`, and
    folders that may not be read."""
    if not isinstance(folder, Path):
        return
    roots = [os.path.realpath(each) for each in within if isinstance(each, Path)]
    shut: list[OSError] = []
    for place, folders, files in os.walk(folder, onerror=shut.append):
        for link in (each for name in (*folders, *files) if (each := Path(place) / name).is_symlink()):
            target = Path(os.path.realpath(link))
            if _may_be_there(target) and not any(target.is_relative_to(root) for root in roots):
                yield link, "a link to elsewhere"
    for error in shut:
        unread = Path(error.filename)
        if not isinstance(error, FileNotFoundError) and unread.name != "lost+found":  # a file system's own
            yield unread, reason(error)


def _may_be_there(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:  # in a folder that may not be looked into
        return True


def write_text(file: Location, text: str) -> None:
    """Writes a file, whole or not at all."""
    with whole(file) as fresh:
        fresh.write_text(text, encoding="utf-8")


def remove(folder: Location) -> None:
    """Removes a folder with all that it holds, if it is there."""
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)
    elif folder.exists():
        _remote(folder).filesystem.delete_dir(_remote(folder).path)


def reason(error: OSError) -> str:
    """What went wrong, in one line."""
    return error.strerror or str(error).splitlines()[0]


def _remote(place: Location) -> "Remote":
    return cast("Remote", place)


def _swap_in(fresh: Path, out: Path) -> None:
    """Puts `fresh` in the place of `out` in one step; a folder that was there ends up in the place of `fresh`."""
    if fresh.is_file() or not out.exists():
        os.replace(fresh, out)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    at_cwd, exchange = -100, 2  # renameat2(2): AT_FDCWD, RENAME_EXCHANGE
    if hasattr(libc, "renameat2") and libc.renameat2(at_cwd, bytes(fresh), at_cwd, bytes(out), exchange) == 0:
        return
    old = fresh.with_name("old")  # no atomic exchange on this system or file system: two steps
    os.rename(out, old)
    os.rename(fresh, out)
