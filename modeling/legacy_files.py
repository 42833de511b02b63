"""Files of a legacy Megatron-LM checkpoint, in a folder or a zip.

The weights are a pickle, read by PyTorch's weights-only reader: tensors and plain values, and nothing that runs code.
"""

import re
from argparse import Namespace
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from demand.errors import CheckpointError

FILE = re.compile(r"(release/|iter_\d+/)?mp_rank_(?P<rank>\w+)/model_optim_rng\.pt")
TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("gpt2-vocab.json", "gpt2-merges.txt"))
LARGEST = 16 * 2**30
"""Bytes that are unpacked of a zip at most; the 345M model with its optimizer's state takes some five."""


def is_legacy(path: Path) -> bool:
    """Whether a path is a zip, or a folder that holds a legacy checkpoint at one of its places."""
    return (path.suffix == ".zip" and path.is_file()) or any(map(FILE.fullmatch, _names(path)))


def read_files(path: Path) -> tuple[dict[str, Any], Tokenizer]:
    """What the file holds, and the tokenizer inside or beside.

    Raises:
        CheckpointError: it cannot be read, wants to run code, is split over ranks, or has no tokenizer.
    """
    with _opened(path) as folder:
        file = folder / _only_file(_names(folder), path)
        tokenizer = _tokenizer((folder, path.absolute().parent), path)
        return _loaded(file, path), tokenizer


@contextmanager
def _opened(path: Path) -> Iterator[Path]:
    """The folder itself, or a temporary one with what is needed of a zip."""
    if path.is_dir():
        yield path
        return
    with TemporaryDirectory() as unpacked:
        try:
            _unpack(path, unpacked)
        except CheckpointError:
            raise
        except Exception as error:  # zipfile and what it decompresses with raise a dozen kinds for a damaged file
            raise CheckpointError(f"{path} cannot be unpacked: {_line(error)}") from None
        yield Path(unpacked)


def _unpack(path: Path, folder: str) -> None:
    """Only members of known names, so none leads out of the folder, and no more bytes than they are said to have."""
    with ZipFile(path) as archive:
        names = archive.namelist()
        wanted = {_only_file(names, path), *(name for files in TOKENIZERS for name in files if name in names)}
        if sum(archive.getinfo(name).file_size for name in wanted) > LARGEST:
            raise CheckpointError(f"{path} would unpack to more than {LARGEST:,} bytes")
        for name in wanted:
            archive.extract(name, folder)


def _names(folder: Path) -> list[str]:
    """Files of a folder as a zip names them, as deep as a checkpoint lies."""
    found = (*folder.glob("mp_rank_*/*.pt"), *folder.glob("*/mp_rank_*/*.pt"))
    return [file.relative_to(folder).as_posix() for file in found]


def _only_file(names: Iterable[str], path: Path) -> str:
    found = {name: match["rank"] for name in sorted(names) if (match := FILE.fullmatch(name))}
    others = [name for name, rank in found.items() if rank != "00"]
    if others:
        raise CheckpointError(f"{path} is split over several ranks ({others[0]}): merge them into one first")
    if not found:
        raise CheckpointError(f"{path} holds no release/mp_rank_00/model_optim_rng.pt")
    if len(found) > 1:
        raise CheckpointError(f"{path} holds several checkpoints ({', '.join(found)}): give the folder of one")
    return next(iter(found))


def _tokenizer(folders: Iterable[Path], path: Path) -> Tokenizer:
    """GPT-2's byte-level BPE, from the first folder that has its files."""
    for files in ([folder / name for name in names] for folder in folders for names in TOKENIZERS):
        if all(file.is_file() for file in files):
            try:
                return Tokenizer.from_file(str(files[0])) if len(files) == 1 else _byte_level(*map(str, files))
            except Exception as error:  # tokenizers raises bare Exception for a damaged file
                raise CheckpointError(f"{files[0]} is no tokenizer: {_line(error)}") from None
    known = ", or ".join(" and ".join(names) for names in TOKENIZERS)
    raise CheckpointError(f"{path} has no tokenizer: put GPT-2's {known} into it or beside it")


def _byte_level(vocabulary: str, merges: str) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE.from_file(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _loaded(file: Path, path: Path) -> dict[str, Any]:
    """What the file holds. A Namespace is let in because it only holds attributes: setting them runs nothing."""
    try:
        with _let_in_only(Namespace):
            content = torch.load(file, weights_only=True, map_location="cpu")
    except Exception as error:  # a damaged pickle ends in errors of any kind
        wanted = re.search(r"GLOBAL (\S+)", str(error))
        if wanted:
            raise CheckpointError(f"{path} wants to load {wanted[1]}: only tensors and plain values are") from None
        reason = re.search(r"WeightsUnpickler error:\s+(.+)", str(error))  # after advice to read it unsafely
        line = reason[1] if reason else _line(error)
        raise CheckpointError(f"{path}: {file.name} cannot be read: {line}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: {file.name} holds no model")
    return content


@contextmanager
def _let_in_only(*classes: type) -> Iterator[None]:
    """Without what others have told torch's reader to let in: importing Megatron-core alone adds sixteen classes."""
    others = torch.serialization.get_safe_globals()
    try:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals([*classes])
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(others)


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
