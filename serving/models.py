"""Which models answer: a champion and, for some of the customers, a challenger."""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from serving.schemas import ModelInfo

if TYPE_CHECKING:
    from modeling.predictor import Predictor
    from modeling.registry import ModelVersion


class ModelReference(BaseModel):
    """A registered model and the folder of its checkpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoint: str
    name: str
    version: int

    @classmethod
    def of(cls, version: "ModelVersion") -> "ModelReference":
        """Of the registry's model."""
        return cls(checkpoint=version.checkpoint, name=version.name, version=version.version)

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


class Models(BaseModel):
    """What is to be served.

    Attributes:
        share: of the customers, whom the challenger answers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    champion: ModelReference
    challenger: ModelReference | None = None
    share: float = Field(default=0.0, ge=0, le=1)

    @property
    def all(self) -> list[ModelReference]:
        """Champion first."""
        return [self.champion, *([self.challenger] if self.challenger else [])]

    @property
    def digest(self) -> str:
        """The same for what answers alike."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def of(self, customer_id: str) -> ModelReference:
        """Who answers a customer: the same one as long as the share stays; a nameless customer meets the champion."""
        if self.challenger and customer_id and _place(customer_id) < self.share:
            return self.challenger
        return self.champion


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory."""

    predictor: "Predictor"
    info: ModelInfo

    @property
    def name(self) -> str:
        """NAME@VERSION."""
        return f"{self.info.name}@{self.info.version}"

    @classmethod
    def load(cls, reference: ModelReference) -> "LoadedModel":
        """Reads a checkpoint and asks its golden requests.

        Raises:
            CheckpointError: it is damaged, or answers otherwise than when it was made.
        """
        from modeling.golden import check_golden_requests
        from modeling.predictor import Predictor  # takes seconds, which the ingress and the command line can do without

        predictor = Predictor.load(reference.checkpoint)
        check_golden_requests(predictor)
        prompts = predictor.checkpoint.prompt_format.name
        return cls(predictor, ModelInfo(name=reference.name, version=reference.version, prompt_format=prompts))


@dataclass(frozen=True)
class LoadedModels:
    """All that is served, in memory."""

    models: Models
    loaded: dict[ModelReference, LoadedModel]

    @classmethod
    def load(cls, models: Models, before: "LoadedModels | None" = None) -> "LoadedModels":
        """Reads what was not loaded before.

        Raises:
            CheckpointError: one cannot be served.
        """
        known = before.loaded if before else {}
        return cls(models, {each: known.get(each) or LoadedModel.load(each) for each in models.all})

    @property
    def champion(self) -> LoadedModel:
        return self.loaded[self.models.champion]

    def of(self, customer_id: str) -> LoadedModel:
        """Who answers a customer."""
        return self.loaded[self.models.of(customer_id)]


def check(models: Models) -> None:
    """Raises CheckpointError where one cannot be served."""
    LoadedModels.load(models)


def _place(customer_id: str) -> float:
    """Of a customer, in [0, 1), by a hash: as good as drawn, and always the same."""
    return int.from_bytes(hashlib.sha256(customer_id.encode()).digest()[:6]) / 2**48
