"""What a sweep searches: settings by their dotted names, each a list of values or a range, some only with others."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Protocol

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    RootModel,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from demand.errors import SettingsError
from training.settings import Settings

RATE = "training.learning_rate"
FORMAT = "prompt.name"
EXPONENT = re.compile(r"[-+]?\d+e[-+]?\d+", re.IGNORECASE)
"""A number that YAML 1.1 takes for a word, for want of a point: 1e-2."""
Values = tuple[Any, ...]
Condition = Annotated[Values, BeforeValidator(lambda value: value if isinstance(value, list | tuple) else [value])]


class Suggesting(Protocol):
    """What an Optuna trial can do (optuna.Trial)."""

    def suggest_categorical(self, name: str, choices: Any) -> Any: ...
    def suggest_float(self, name: str, low: float, high: float, *, step: float | None, log: bool) -> float: ...
    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int: ...


class Choice(BaseModel):
    """One of some values.

    Attributes:
        when: values of other parameters, by name, with which alone this one is searched.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    choice: Values = Field(min_length=1)
    when: Mapping[str, Condition] = {}

    @field_validator("choice")
    @classmethod
    def _numbers(cls, values: Values) -> Values:
        return tuple(float(each) if isinstance(each, str) and EXPONENT.fullmatch(each) else each for each in values)

    def suggest(self, trial: Suggesting, name: str) -> Any:
        """A value that Optuna chooses."""
        chosen = trial.suggest_categorical(name, [self.written(value) for value in self.choice])
        return next(value for value in self.choice if self.written(value) == chosen)

    def written(self, value: Any) -> Any:
        """A value as Optuna keeps it, which knows numbers, words and null: anything else goes as text."""
        return value if isinstance(value, str | int | float | None) else json.dumps(value)

    def nearest(self, value: Any) -> Any:
        """The value itself, for want of an order."""
        return value

    def ends(self) -> Values:
        """All values."""
        return self.choice

    def middle(self) -> Any:
        """The first, for want of an order."""
        return self.choice[0]

    def __contains__(self, value: Any) -> bool:
        return value in self.choice


class Range(BaseModel):
    """A number between two others, both included: a whole one where both are.

    Attributes:
        log: searched by its logarithm.
        step: only so far apart.
        when: as in Choice.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = Field(default=None, gt=0)
    when: Mapping[str, Condition] = {}

    @model_validator(mode="after")
    def _check(self) -> "Range":
        if not self.low < self.high:
            raise ValueError(f"{self.low:g} to {self.high:g} is no range: the lower first")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithm from {self.low:g} on: low must be above 0")
        if self.log and self.step is not None:
            raise ValueError("log and step do not go together")
        return self

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int) and isinstance(self.step, int | None)

    def suggest(self, trial: Suggesting, name: str) -> float:
        """A value that Optuna chooses."""
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def written(self, value: Any) -> Any:
        """A value as Optuna keeps it."""
        return value

    def nearest(self, value: float) -> float:
        """The value, or the end that it went past."""
        inside = min(max(value, self.low), self.high)
        return round(inside) if self.whole else inside

    def ends(self) -> Values:
        """The lowest and the highest value."""
        return self.low, self.high

    def middle(self) -> float:
        """Half way, by the logarithm where that is searched."""
        middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        if step := self._apart:
            middle = self.low + step * round((middle - self.low) / step)
        return int(middle) if self.whole else middle

    def __contains__(self, value: Any) -> bool:
        if not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / self._apart if self._apart else 0
        return abs(steps - round(steps)) < 1e-8  # as Optuna takes it

    @property
    def _apart(self) -> float | None:
        """How far values lie apart; None where every number is meant."""
        return self.step or (1 if self.whole else None)


Parameter = Choice | Range


def _parameter(value: Any) -> Any:
    """{low, high} and {choice} as they are; a list is a choice, anything else the only value."""
    if isinstance(value, Choice | Range) or (isinstance(value, Mapping) and {"choice", "low", "high"} & set(value)):
        return value
    return {"choice": value if isinstance(value, list | tuple) else [value]}


def _kind(value: Any) -> str:
    is_range = isinstance(value, Range) or (isinstance(value, Mapping) and "choice" not in value)
    return "range" if is_range else "choice"


_Written = Annotated[
    Annotated[Choice, Tag("choice")] | Annotated[Range, Tag("range")],
    Discriminator(_kind),
    BeforeValidator(_parameter),
]


class Space(RootModel[dict[str, _Written]]):
    """Parameters by the dotted names of settings. One that has conditions stands after those that they name."""

    model_config = ConfigDict(frozen=True)

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]
        return iter(self.root)

    def __getitem__(self, name: str) -> Parameter:
        return self.root[name]

    def __len__(self) -> int:
        return len(self.root)

    def suggest(self, trial: Suggesting) -> dict[str, Any]:
        """A configuration that Optuna chooses (its "define-by-run")."""
        config: dict[str, Any] = {}
        for name, parameter in self.root.items():
            if holds(parameter.when, config):
                config[name] = parameter.suggest(trial, name)
        return config

    def firsts(self) -> list[dict[str, Any]]:
        """Where a search begins: each prompt format, where they are searched, at the middle of everything else."""
        formats = self.root.get(FORMAT)
        return [self._middle({FORMAT: name}) for name in formats.ends()] if formats else [self._middle({})]

    def grid(self, names: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """Every combination of the values of these parameters (or all), in order.

        Raises:
            SettingsError: one of them is a range.
        """
        chosen = list(self.root if names is None else names)
        configs: list[dict[str, Any]] = [{}]
        for name in chosen:
            parameter = self.root[name]
            if isinstance(parameter, Range):
                raise SettingsError(
                    f"{name}: {parameter.low:g} to {parameter.high:g} has no end of values: list them, as in "
                    f"{name}=[{parameter.low:g}, {parameter.high:g}]"
                )
            configs = [
                {**config, **extra}
                for config in configs
                for extra in ([{name: value} for value in parameter.choice] if holds(parameter.when, config) else [{}])
            ]
        return configs

    def with_conditions(self, names: Iterable[str]) -> list[str]:
        """These parameters and those that their conditions name, in the space's order."""
        wanted = set(names)
        for name in reversed(self.root):
            if name in wanted:
                wanted |= set(self.root[name].when)
        return [name for name in self.root if name in wanted]

    def holds(self, config: Mapping[str, Any]) -> bool:
        """Whether a configuration could come from here."""
        for name, parameter in self.root.items():
            if (name in config) != holds(parameter.when, config) or (name in config and config[name] not in parameter):
                return False
        return set(config) <= set(self.root)

    def check(self, settings: Settings) -> None:
        """Raises SettingsError where a parameter is no setting, or one of its values would be refused."""
        seen: set[str] = set()
        for name, parameter in self.root.items():
            if unknown := [each for each in parameter.when if each not in seen]:
                raise SettingsError(f"{name}: 'when' names {unknown[0]}, which does not stand before it")
            seen.add(name)
            for value in parameter.ends():
                settings.with_values(self._middle({name: value}))

    def _middle(self, fixed: Mapping[str, Any]) -> dict[str, Any]:
        """The middle of everything, but for what is given, with whose conditions it agrees."""
        for name in fixed:
            fixed = {**{other: values[0] for other, values in self.root[name].when.items()}, **fixed}
        config: dict[str, Any] = {}
        for name, parameter in self.root.items():
            if name in fixed or holds(parameter.when, config):
                config[name] = fixed.get(name, parameter.middle())
        return config


def holds(when: Mapping[str, Values], config: Mapping[str, Any]) -> bool:
    """Whether a configuration meets conditions."""
    return all(config.get(name) in values for name, values in when.items())


def space_of(content: Any) -> Space:
    """A space from parsed YAML. `prompt` is short for `prompt.name`.

    Raises:
        SettingsError: it is none; the message names the parameter.
    """
    if not isinstance(content, Mapping):
        raise SettingsError("space: give settings by name, as in training.learning_rate: {low: 3.0e-4, high: 1.0e-2}")
    try:
        return Space.model_validate({FORMAT if name == "prompt" else name: value for name, value in content.items()})
    except ValidationError as error:
        first = error.errors()[0]
        reason = str(first.get("ctx", {}).get("error") or first["msg"].lower())
        raise SettingsError(f"space: {first['loc'][0]}: {reason}") from None
