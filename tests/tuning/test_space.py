"""What a sweep searches: lists, ranges and conditions, written as in a sweep file."""

import optuna
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from demand.errors import SettingsError
from training.settings import Settings
from tuning.space import RATE, Choice, Space, space_of

WRITTEN = """
training.learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}
prompt: [compact, names]
prompt.gaps: {choice: [words, none], when: {prompt.name: names}}
prompt.history_tokens: {low: 128, high: 512, step: 128}
prompt.fields: [[], [profile], [profile, spend]]
model.dropout: 0.1
"""


@pytest.fixture(scope="module")
def space() -> Space:
    return space_of(yaml.safe_load(WRITTEN))


@given(seed=st.integers(0, 2**31))
def test_optuna_chooses_settings_that_can_be_made(space: Space, seed: int) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))

    config = space.suggest(study.ask())

    assert 1e-4 <= config["training.learning_rate"] <= 1e-2
    assert config["prompt.history_tokens"] in (128, 256, 384, 512)
    assert config["prompt.fields"] in ([], ["profile"], ["profile", "spend"])
    assert ("prompt.gaps" in config) == (config["prompt.name"] == "names")
    assert space.holds(config)
    settings = Settings().with_values(config)
    assert settings.prompt.name == config["prompt.name"]
    assert settings.prompt.gaps == config.get("prompt.gaps", "token")
    assert settings.prompt.fields == frozenset(config["prompt.fields"])


def test_a_search_begins_with_each_format_at_the_middle_of_the_rest(space: Space) -> None:
    first, second = space.firsts()

    assert first == {
        "training.learning_rate": pytest.approx(1e-3),
        "prompt.name": "compact",
        "prompt.history_tokens": 384,  # 320 lies between two steps
        "prompt.fields": [],
        "model.dropout": 0.1,
    }
    assert (second["prompt.name"], second["prompt.gaps"]) == ("names", "words")
    assert space.holds(first)
    assert space.holds(second)


def test_a_grid_has_every_combination_that_its_conditions_allow() -> None:
    space = space_of(
        {"prompt": ["compact", "names"], "prompt.gaps": {"choice": ["words", "none"], "when": {"prompt.name": "names"}}}
    )

    assert space.grid() == [
        {"prompt.name": "compact"},
        {"prompt.name": "names", "prompt.gaps": "words"},
        {"prompt.name": "names", "prompt.gaps": "none"},
    ]
    assert space.with_conditions(["prompt.gaps"]) == ["prompt.name", "prompt.gaps"]


def test_a_configuration_of_another_space_is_told(space: Space) -> None:
    config = space.firsts()[0]

    for change in (
        {"training.learning_rate": 0.5},
        {"prompt.name": "profile"},
        {"prompt.gaps": "none"},
        {"prompt.history_tokens": 200},  # between two steps
        {"other": 1},
    ):
        assert not space.holds({**config, **change})
    assert not space.holds({name: value for name, value in config.items() if name != "model.dropout"})


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("- prompt", "give settings by name"),
        ("training.learning_rate: {low: 0.1, high: 0.01}", "training.learning_rate: 0.1 to 0.01 is no range"),
        ("training.learning_rate: {low: 0, high: 0.1, log: true}", "low must be above 0"),
        ("training.learning_rate: {low: 0, high: 0.1, steps: 3}", "training.learning_rate"),
        ("training.learning_rate: {low: 0.01, high: 0.1, log: true, step: 0.01}", "do not go together"),
        ("prompt: []", "prompt.name"),
        ("prompt: [haiku]", "no prompt format 'haiku'"),
        ("training.speed: [1, 2]", "no setting 'training.speed'"),
        ("training.learning_rate: {low: 0.1, high: 7}", "less than 1"),
        ("prompt.gaps: {choice: [none], when: {prompt.name: names}}", "does not stand before it"),
    ],
)
def test_what_is_no_space_is_refused_by_the_parameters_name(written: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        space_of(yaml.safe_load(written)).check(Settings())


def test_a_range_has_the_values_of_its_steps_alone() -> None:
    space = space_of({"a": {"low": 0.1, "high": 0.7, "step": 0.1}, "b": {"low": 1, "high": 8, "log": True}})

    assert all(0.1 * place in space["a"] for place in (1, 3, 6))
    assert [value in space["a"] for value in (0.15, 0.0, 0.8)] == [False] * 3
    assert [value in space["b"] for value in (1, 3, 8, 2.5)] == [True, True, True, False]


def test_what_went_past_an_end_is_brought_back() -> None:
    space = space_of({"training.weight_decay": {"low": 0, "high": 0.1}, "training.epochs": {"low": 1, "high": 4}})

    assert [space["training.weight_decay"].nearest(value) for value in (-1.0, 0.05, 0.12)] == [0, 0.05, 0.1]
    assert [space["training.epochs"].nearest(value) for value in (0.8, 2.4, 4.8)] == [1, 2, 4]


def test_a_number_that_yaml_takes_for_a_word_is_one() -> None:
    assert Space({RATE: Choice.model_validate({"choice": [0.001, "1e-2", "1E+1"]})})[RATE].ends() == (0.001, 0.01, 10.0)
    assert Choice.model_validate({"choice": ["1e", "e-2", "none"]}).choice == ("1e", "e-2", "none")


def test_a_grid_wants_lists() -> None:
    with pytest.raises(SettingsError, match=r"list them, as in training.learning_rate=\[0.001, 0.01\]"):
        space_of({"training.learning_rate": {"low": 0.001, "high": 0.01}}).grid()
