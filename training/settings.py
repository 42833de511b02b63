"""Everything that a training run can be told, typed once. The command line, presets and sweeps use the same names."""

from collections.abc import Mapping
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from demand.errors import SettingsError
from demand.formats import PromptFormat, prompt_format
from modeling.layout import LayoutSettings, impossible, usable
from modeling.settings import LoraSettings, ModelSettings

AROUND_HISTORY = 2
"""Tokens that every prompt has beside its history: its beginning and its question."""


class TrainingSettings(BaseModel):
    """How a model is trained.

    Attributes:
        epochs: passes over the histories; each cuts and asks them anew.
        learning_rate: the peak, after a linear rise over `warmup` (share of all steps), before a cosine fall to a
            twentieth. The wait for the next order is learned at a rate of its own (modeling.megatron.optimizer).
        microbatch_tokens: tokens that go through the model at once.
        microbatches: microbatches in a global batch, shared among the workers.
        reports_per_epoch: how often the model is validated and a checkpoint is kept.
        validation_customers: how many customers are asked at each report; the same ones each time.
        clip: largest norm of the gradient.
        refit: once the number of epochs was chosen by validation, train again for so many on all that lies before the
            test; the calibration stays that of the model that was chosen. Sweeps do not.
        averaging: the model that answers is a running mean of the weights, of which each step leaves so much; 0 takes
            the last step's.
        max_failures: how often a run goes on from its last checkpoint after a worker died.
        min_workers: fewest workers to go on with where others cannot come back; by default none may be missing.
        max_gradient_norm: a step whose gradient is longer, or no number, changes nothing and is counted.
        max_skipped: so many such steps in a row end the run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=4, ge=1, le=1_000)
    learning_rate: float = Field(default=3e-3, gt=0, lt=1)
    warmup: float = Field(default=0.05, ge=0, lt=1)
    weight_decay: float = Field(default=0.01, ge=0, lt=1)
    clip: float = Field(default=1.0, gt=0)
    refit: bool = False
    averaging: float = Field(default=0.999, ge=0, lt=1)
    microbatch_tokens: int = Field(default=2_048, ge=64, le=1_048_576)
    microbatches: int = Field(default=2, ge=1, le=4_096)
    reports_per_epoch: int = Field(default=1, ge=1, le=1_000)
    validation_customers: int = Field(default=500, ge=1)
    max_failures: int = Field(default=2, ge=0, le=100)
    min_workers: int | None = Field(default=None, ge=1)
    max_gradient_norm: float = Field(default=1_000.0, gt=0)
    max_skipped: int = Field(default=5, ge=1)
    seed: int = Field(default=0, ge=0)


class PrivacySettings(BaseModel):
    """Differential privacy of customers (modeling.megatron.private).

    Attributes:
        epsilon: whether or not somebody's data was learned from changes the chance of any outcome by a factor of e to
            this power at most; by default nothing is promised.
        delta: but for a chance of so much, which should be far below one in the number of customers.
        customers_per_step: how many are drawn for a step, on average, or all where they are fewer;
            `training.microbatches` is not looked at. The more, the less the noise weighs, and the longer a step takes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epsilon: float | None = Field(default=None, gt=0, le=100)
    delta: float = Field(default=1e-5, gt=0, lt=1)
    customers_per_step: int = Field(default=500, ge=1)


class Settings(BaseModel):
    """A whole run: model, prompt format, training, and how it is spread over workers.

    `base` names a registered model to start from, whose shape then takes the place of `model`: a
    pretrained one, or one of ours, of whose items it keeps by their ids what was learned. `prompt` may be a format's
    name, or a mapping of its fields with `name` naming the format that they vary.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str | None = Field(default=None, min_length=1)
    model: ModelSettings = ModelSettings()
    prompt: PromptFormat = prompt_format("compact")
    training: TrainingSettings = TrainingSettings()
    privacy: PrivacySettings = PrivacySettings()
    layout: LayoutSettings = LayoutSettings()
    lora: LoraSettings = LoraSettings()

    @model_validator(mode="after")
    def _hidden_once(self) -> Self:
        if self.privacy.epsilon and self.training.refit:
            raise ValueError("what a refit learns again would break the promise: --set training.refit=false")
        return self

    @property
    def shared_microbatches(self) -> int:
        """Of each global batch, which copies of the model share evenly; 0 where chance draws them and any may share."""
        return 0 if self.privacy.epsilon else self.training.microbatches

    @field_validator("prompt", mode="before")
    @classmethod
    def _named_format(cls, value: Any) -> Any:
        if isinstance(value, str):
            return prompt_format(value)
        if isinstance(value, Mapping) and "name" in value:
            return {**prompt_format(value["name"]).model_dump(), **value}
        return value

    def with_values(self, values: Mapping[str, Any]) -> "Settings":
        """These settings with some of them replaced, each by its dotted name: {"training.epochs": 2}. A prompt format
        by its name comes first, so that fields of it can be given beside.

        Raises:
            SettingsError: a name is unknown or a value does not fit.
        """
        content = self.model_dump(mode="python")
        for dotted, value in sorted(values.items(), key=lambda each: each[0] not in ("prompt", "prompt.name")):
            section: Any = content
            *path, last = ("prompt.name" if dotted == "prompt" else dotted).split(".")
            for key in path:
                section = section.get(key) if isinstance(section, dict) else None
            if not isinstance(section, dict) or last not in section:
                raise SettingsError(f"no setting '{dotted}': choose one of {', '.join(setting_names())}")
            if dotted in ("prompt", "prompt.name"):
                content["prompt"] = prompt_format(str(value)).model_dump()
            else:
                section[last] = value
        return settings_from(content)


def settings_from(content: Any) -> Settings:
    """Settings from parsed YAML or JSON.

    Raises:
        SettingsError: a key is unknown or a value does not fit; the message names it.
    """
    try:
        return Settings.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "settings"
        if reason := first.get("ctx", {}).get("error"):  # our own words about settings that do not go together
            raise SettingsError(f"{where}: {reason}") from None
        raise SettingsError(f"{where}: {first['msg'].lower()}, found {str(first['input'])[:60]!r}") from None


def check_layout(settings: Settings, workers: int, on_gpu: bool) -> None:
    """Raises SettingsError, which says why, where workers cannot share a run in its layout, or prompts do not fit.

    Args:
        settings: with the shape of the base, if there is one.
    """
    layout, training = settings.layout, settings.training
    for problem in impossible(layout, settings.model, workers, on_gpu, settings.lora.rank):
        raise SettingsError(problem)
    if settings.lora.rank and not settings.base:
        raise SettingsError(f"lora.rank {settings.lora.rank} adapts a pretrained model: name one with base, or use 0")
    if settings.privacy.epsilon and layout.model_parallel > 1:
        raise SettingsError("with privacy.epsilon every worker holds the whole model: layout's sizes must be 1")
    history, places = settings.prompt.history_tokens, settings.model.places
    if places and history + AROUND_HISTORY > places:
        raise SettingsError(
            f"prompt.history_tokens {history} and what stands around a history do not fit the model's {places} learned "
            f"places: choose fewer, e.g. --set prompt.history_tokens={max(places * 15 // 16, 32)}"
        )
    copies = workers // layout.model_parallel
    if settings.shared_microbatches % copies:
        raise SettingsError(
            f"training.microbatches {training.microbatches} cannot be shared by {workers} workers"
            + (f" with {copies} copies of the model" if copies < workers else "")
            + f": choose a multiple, e.g. --set training.microbatches={copies * training.microbatches}"
        )
    fewest = training.min_workers or workers
    if fewest > workers or usable(layout, fewest, settings.shared_microbatches) != fewest:
        raise SettingsError(
            f"training.min_workers {fewest} must be at most the {workers} workers, and a number of them that "
            f"layout and training.microbatches {training.microbatches} allow"
        )


def parse_assignment(text: str, option: str = "--set") -> tuple[str, Any]:
    """'training.epochs=2' -> ('training.epochs', 2); the value is read as YAML. `option` says who asks.

    Raises:
        SettingsError: the text is no assignment.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise SettingsError(f"{option} {text}: write it like training.epochs=2")
    try:
        return name.strip(), yaml.safe_load(value)
    except yaml.YAMLError:
        raise SettingsError(f"{option} {text}: the value is not readable") from None


def setting_names() -> list[str]:
    """Every dotted name."""
    sections: dict[str, type[BaseModel]] = {
        "model": ModelSettings,
        "prompt": PromptFormat,
        "training": TrainingSettings,
        "privacy": PrivacySettings,
        "layout": LayoutSettings,
        "lora": LoraSettings,
    }
    return ["base"] + [f"{section}.{name}" for section, model in sections.items() for name in model.model_fields]
