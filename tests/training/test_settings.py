"""Settings: one name for each, and a clear word about a wrong one."""

from pathlib import Path
from typing import Any

import pytest

from demand.errors import SettingsError
from demand.formats import FORMATS
from modeling.layout import LayoutSettings, usable
from ray_app.presets import load_settings, preset_names
from training.accounts import Account
from training.settings import PrivacySettings, check_layout

LEARNED = ("model.positions=learned", "model.family=gpt2")


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
        ("model.heads=3", "model: hidden 32 must be a multiple"),
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


@pytest.mark.parametrize(
    ("workers", "assignments", "named"),
    [
        (3, ["layout.tensor=2"], "3 workers cannot hold whole copies of a model spread over 2"),
        (4, ["layout.tensor=4"], "layout.tensor 4 does not divide model.heads 2"),
        (2, ["layout.pipeline=2"], "layout.pipeline 2 does not divide model.layers 1"),
        (4, ["layout.pipeline=2", "model.layers=2", "layout.distributed_optimizer=true"], "shared embeddings wrongly"),
        (1, ["layout.sequence_parallel=true"], "needs layout.tensor above 1"),
        (1, ["layout.precision=fp8"], "fp8 needs a GPU and Transformer Engine"),
        (1, ["layout.precision=fp8", "base=some", "lora.rank=4"], "fp8 and lora.rank do not go together"),
        (1, ["lora.rank=4"], "adapts a pretrained model: name one with base"),
        (1, ["training.refit=true", "privacy.epsilon=8"], "--set training.refit=false"),
        (2, ["layout.tensor=2", "privacy.epsilon=8"], "every worker holds the whole model"),
        (2, ["training.microbatches=3"], "training.microbatches 3 cannot be shared by 2 workers"),
        (4, ["layout.tensor=2", "training.microbatches=3"], "by 4 workers with 2 copies of the model"),
        (4, ["layout.tensor=2", "training.min_workers=3"], "training.min_workers 3 must be at most the 4 workers"),
        (2, ["training.min_workers=3"], "training.min_workers 3 must be"),
        (1, [*LEARNED, "model.places=257"], "do not fit the model's 257 learned places: choose fewer, e.g. --set "),
    ],
)
def test_what_workers_cannot_share_is_refused_and_says_why(workers: int, assignments: list[str], named: str) -> None:
    with pytest.raises(SettingsError) as error:
        check_layout(load_settings("tiny", assignments), workers, on_gpu=False)

    assert named in str(error.value)


def test_a_history_its_beginning_and_a_question_find_learned_places() -> None:
    check_layout(load_settings("tiny", [*LEARNED, "model.places=258"]), 1, on_gpu=False)
    check_layout(load_settings("gpt2-345m"), 1, on_gpu=True)


def test_customers_that_chance_draws_need_not_be_shared_evenly() -> None:
    private = ["privacy.epsilon=8", "training.microbatches=2", "training.min_workers=2"]

    check_layout(load_settings("tiny", private), 3, on_gpu=False)


def test_no_more_customers_are_expected_in_a_step_than_there_are() -> None:
    account = Account.of(PrivacySettings(epsilon=8, customers_per_step=500), customers=40, epochs=3)

    assert (account.rate, account.customers_per_step, account.steps) == (1.0, 40, 3)


@pytest.mark.parametrize(
    ("layout", "multiple"),
    [
        ({}, 1),
        ({"tensor": 2, "sequence_parallel": True}, 2),
        ({"context": 2}, 4),
        ({"precision": "fp8"}, 16),
        ({"tensor": 2, "sequence_parallel": True, "context": 2, "precision": "fp8"}, 2 * 4 * 16),
    ],
)
def test_every_process_holds_as_many_tokens_and_eight_bits_want_sixteens(layout: dict[str, Any], multiple: int) -> None:
    assert LayoutSettings(**layout).tokens_multiple == multiple


def test_encoders_and_decoders_know_neither_pipelines_nor_shared_sequences() -> None:
    for assignment in ("layout.pipeline=2", "layout.context=2"):
        with pytest.raises(SettingsError, match="architecture t5 knows"):
            check_layout(load_settings("t5-nano", [assignment]), 2, on_gpu=False)


def test_encoders_and_decoders_know_no_eight_bits() -> None:
    with pytest.raises(SettingsError, match="architecture t5 cannot read: use bf16"):
        check_layout(load_settings("t5-nano", ["layout.precision=fp8"]), 1, on_gpu=True)


@pytest.mark.parametrize(
    ("tensor", "pipeline", "microbatches", "workers", "expected"),
    [(1, 1, 8, 7, 4), (1, 1, 0, 7, 7), (2, 1, 8, 7, 4), (2, 2, 6, 15, 12), (2, 1, 8, 1, 0), (1, 1, 5, 4, 1)],
)
def test_the_most_workers_that_can_work_together(
    tensor: int, pipeline: int, microbatches: int, workers: int, expected: int
) -> None:
    assert usable(LayoutSettings(tensor=tensor, pipeline=pipeline), workers, microbatches) == expected
