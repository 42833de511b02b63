"""Settings: one name for each, and a clear word about a wrong one."""

from pathlib import Path

import pytest

from demand.errors import SettingsError
from demand.formats import FORMATS
from ray_app.presets import load_settings, preset_names


def test_every_preset_is_valid() -> None:
    for name in preset_names():
        load_settings(name)


def test_any_setting_is_set_by_its_dotted_name() -> None:
    settings = load_settings("tiny", ["training.epochs=7", "model.dropout=0", "prompt.name=names", "prompt.gaps=none"])

    assert (settings.training.epochs, settings.model.dropout) == (7, 0.0)
    assert settings.prompt == FORMATS["names"].model_copy(update={"gaps": "none"})


@pytest.mark.parametrize(
    ("assignment", "named"),
    [
        ("training.epoch=2", "no setting 'training.epoch'"),
        ("training.epochs=two", "training.epochs"),
        ("training.epochs=0", "training.epochs"),
        ("training.epochs", "write it like"),
        ("prompt.name=haiku", "no prompt format 'haiku'"),
        ("model.heads=3", "hidden 32 must be a multiple"),
    ],
)
def test_a_wrong_assignment_is_named(assignment: str, named: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings("tiny", [assignment])

    assert named in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("training: {epocks: 3}", "training.epocks"),
        ("trainig: {epochs: 3}", "trainig"),
        ("model: [1, 2", "preset"),
        ("- a\n- b", "settings"),
    ],
)
def test_a_preset_with_an_unknown_key_is_refused(tmp_path: Path, content: str, named: str) -> None:
    (tmp_path / "mine.yaml").write_text(content)

    with pytest.raises(SettingsError, match=named):
        load_settings(str(tmp_path / "mine.yaml"))


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="nano, "):
        load_settings("huge")
