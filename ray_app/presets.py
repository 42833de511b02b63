"""Settings from presets, files and --set; what a sweep searches from files and --vary."""

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import yaml

from demand.errors import SettingsError
from demand.locations import Location, location
from training.settings import Settings, parse_assignment, settings_from
from tuning.space import Space, space_of


def load_settings(preset: str, assignments: Sequence[str] = ()) -> Settings:
    """A preset by name, or a YAML file by path, with some settings replaced.

    Raises:
        SettingsError: there is no such preset, or a key or value in it is wrong.
    """
    try:
        content = yaml.safe_load(_text(preset))
    except yaml.YAMLError as error:
        raise SettingsError(f"preset {preset}: {str(error).splitlines()[0]}") from None
    try:
        settings = settings_from(content or {})
    except SettingsError as error:
        raise SettingsError(f"preset {preset}: {error}") from None
    return settings.with_values(dict(parse_assignment(each) for each in assignments))


def load_space(standing: Mapping[str, Any], file: Location | None, varied: Sequence[str]) -> Space:
    """What a sweep searches: what always stands, then what a YAML file says, then --vary; the later one counts.

    Raises:
        SettingsError: the file is not there, or a parameter is none.
    """
    content: Any = {}
    if file:
        try:
            content = yaml.safe_load(file.read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise SettingsError(f"--space {file}: {str(error).splitlines()[0]}") from None
        if not isinstance(content, Mapping):
            raise SettingsError(f"--space {file}: give settings by name, as in prompt.gaps: [token, none]")
    return space_of({**standing, **content, **dict(parse_assignment(each, "--vary") for each in varied)})


def preset_names() -> list[str]:
    """The presets that come with demandcast."""
    return sorted(
        file.name.removesuffix(".yaml") for file in resources.files("configs").iterdir() if file.name.endswith(".yaml")
    )


def _text(preset: str) -> str:
    if preset.endswith((".yaml", ".yml")):
        file = location(preset)
        if not file.is_file():
            raise SettingsError(f"no preset file {file}")
        return file.read_text()
    if preset not in preset_names():
        raise SettingsError(f"no preset '{preset}': choose one of {', '.join(preset_names())}, or a YAML file")
    return resources.files("configs").joinpath(f"{preset}.yaml").read_text()
