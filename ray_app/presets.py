"""Settings from presets, files and --set."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import yaml

from demand.errors import SettingsError
from training.settings import Settings, parse_assignment, settings_from


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


def preset_names() -> list[str]:
    """The presets that come with demandcast."""
    return sorted(
        file.name.removesuffix(".yaml") for file in resources.files("configs").iterdir() if file.name.endswith(".yaml")
    )


def _text(preset: str) -> str:
    if preset.endswith((".yaml", ".yml")):
        file = Path(preset)
        if not file.is_file():
            raise SettingsError(f"no preset file {file}")
        return file.read_text()
    if preset not in preset_names():
        raise SettingsError(f"no preset '{preset}': choose one of {', '.join(preset_names())}, or a YAML file")
    return resources.files("configs").joinpath(f"{preset}.yaml").read_text()
