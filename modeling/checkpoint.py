"""Checkpoint folders: tensors as safetensors, everything else as JSON or Parquet, and a manifest of hashes.

Reading one never runs code from it, and every file is compared with the manifest first.

    model.safetensors     weights
    model.json            shape of the model
    prompt_format.json    how prompts are written
    vocabulary.json       tokenizer and control tokens
    catalogue.parquet     items, with sales figures of the training period
    calibration.json      from rates to chances
    card.json             what the model was trained on, and how well it does
    golden.json           what it answered to made-up customers when it was made
    manifest.json         SHA-256 of each of these
"""

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from demand.catalogue import Catalogue
from demand.errors import CheckpointError, SettingsError
from demand.formats import PromptFormat
from demand.locations import MANIFEST, Location, local, location, whole
from demand.vocabulary import Vocabulary
from modeling.calibration import Calibration
from modeling.golden import Golden
from modeling.settings import ModelSettings

WEIGHTS = "model.safetensors"
GOLDEN = "golden.json"
Model = TypeVar("Model", bound=BaseModel)
_GOLDEN = TypeAdapter(tuple[Golden, ...])


@dataclass(frozen=True)
class Checkpoint:
    """A model with all it needs to answer. `card` is plain JSON."""

    settings: ModelSettings
    prompt_format: PromptFormat
    vocabulary: Vocabulary
    catalogue: Catalogue
    weights: dict[str, Tensor]
    calibration: Calibration = field(default_factory=Calibration)
    card: dict[str, Any] = field(default_factory=dict)
    golden: tuple[Golden, ...] = ()

    def check_horizon(self, days: int) -> None:
        """Raises SettingsError where a model that learned of the next order alone is asked about days."""
        if days and self.card.get("horizon_days", days) is None:
            raise SettingsError("this model learned of the next order alone: it can be asked about no number of days")


def save_checkpoint(checkpoint: Checkpoint, folder: Location) -> None:
    """Writes the folder, of which a half-written one is never taken for one."""
    with whole(folder) as fresh:
        fresh.mkdir()
        save_file({name: tensor.contiguous() for name, tensor in checkpoint.weights.items()}, fresh / WEIGHTS)
        save_description(checkpoint, fresh)
        write_manifest(fresh)


def save_description(checkpoint: Checkpoint, folder: Path) -> None:
    """Writes all but the weights into an existing folder."""
    (folder / "model.json").write_text(checkpoint.settings.model_dump_json(indent=2))
    (folder / "prompt_format.json").write_text(checkpoint.prompt_format.model_dump_json(indent=2))
    (folder / "vocabulary.json").write_text(checkpoint.vocabulary.to_json())
    pq.write_table(checkpoint.catalogue.table, folder / "catalogue.parquet")
    (folder / "calibration.json").write_text(checkpoint.calibration.model_dump_json(indent=2))
    (folder / "card.json").write_text(json.dumps(checkpoint.card, indent=2))
    (folder / GOLDEN).write_bytes(_GOLDEN.dump_json(checkpoint.golden, indent=2))


def load_checkpoint(folder: Location | str) -> Checkpoint:
    """Reads a folder after checking it against its manifest.

    Raises:
        CheckpointError: it is no checkpoint, a file is missing or altered, or its content does not fit this version.
    """
    try:
        with local(location(folder)) as here:
            verify_manifest(here)
            return replace(load_description(here), weights=load_file(here / WEIGHTS))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{folder}: {error}") from None


def load_description(folder: Path) -> Checkpoint:
    """Reads all but the weights of a folder that was checked.

    Raises:
        CheckpointError: a file is missing, or its content does not fit this version.
    """
    try:
        return Checkpoint(
            settings=_read(folder / "model.json", ModelSettings),
            prompt_format=_read(folder / "prompt_format.json", PromptFormat),
            vocabulary=Vocabulary.from_json((folder / "vocabulary.json").read_text()),
            catalogue=Catalogue(pq.read_table(folder / "catalogue.parquet")),
            weights={},
            calibration=_read(folder / "calibration.json", Calibration),
            card=json.loads((folder / "card.json").read_text()),
            golden=_GOLDEN.validate_json((folder / GOLDEN).read_bytes()) if (folder / GOLDEN).is_file() else (),
        )
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: {error}") from None


def write_manifest(folder: Path, name: str = MANIFEST) -> None:
    """Records the hash of every file that is in the folder now."""
    files = [file for file in sorted(folder.iterdir()) if file.name != name]
    hashes = {file.name: _sha256(file) for file in files}
    (folder / name).write_text(json.dumps(hashes, indent=2))


def verify_manifest(folder: Path, name: str = MANIFEST) -> None:
    """Compares every file that the manifest names.

    Raises:
        CheckpointError: there is no manifest, or a file is missing or altered.
    """
    try:
        hashes = json.loads((folder / name).read_text())
    except (OSError, ValueError):
        raise CheckpointError(f"{folder} is not a checkpoint folder (no readable {name})") from None
    for each, expected in hashes.items():
        file = folder / each
        if not file.is_file():
            raise CheckpointError(f"{folder}: {each} is missing")
        if _sha256(file) != expected:
            raise CheckpointError(f"{folder}: {each} is damaged (its hash differs from the manifest's)")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read(file: Path, model: type[Model]) -> Model:
    try:
        return model.model_validate_json(file.read_text())
    except ValidationError as error:
        raise CheckpointError(f"{file}: {error.errors()[0]['msg']} ({error.errors()[0]['loc']})") from None
