"""The registry, on a real MLflow store: versions, aliases, and what a run records."""

from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from demand.errors import ModelNotFoundError
from modeling.registry import SWEEPS, TRAINING, Registry


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path)
    for number in (1, 2, 3):
        registry.register("demand", f"/models/{number}", None, {"ndcg@10": number / 10})
    return registry


def test_versions_are_numbered_and_remember_their_metrics(registry: Registry) -> None:
    assert [(str(each), each.checkpoint) for each in registry.versions()] == [
        ("demand@3", "/models/3"),
        ("demand@2", "/models/2"),
        ("demand@1", "/models/1"),
    ]
    assert registry.resolve("demand@2").metrics == {"ndcg@10": 0.2}


def test_the_first_version_is_champion_until_another_is_promoted(registry: Registry) -> None:
    assert str(registry.resolve("demand")) == "demand@1"


def test_a_rollback_restores_the_champion_before(registry: Registry) -> None:
    registry.promote("demand@3")
    assert str(registry.resolve("demand")) == str(registry.resolve("demand@champion")) == "demand@3"

    assert str(registry.rollback("demand")) == "demand@1"

    assert str(registry.resolve("demand@champion")) == "demand@1"


def test_promoting_the_champion_again_keeps_the_way_back(registry: Registry) -> None:
    registry.promote("demand@2")
    registry.promote("demand@2")

    assert str(registry.rollback("demand")) == "demand@1"


def test_a_challenger_leaves_the_champion_alone(registry: Registry) -> None:
    registry.promote("demand@2", "challenger")

    assert registry.resolve("demand@1").aliases == ("champion",)
    assert registry.resolve("demand@2").aliases == ("challenger",)

    assert str(registry.drop("demand")) == "demand@2"

    assert registry.resolve("demand@2").aliases == ()
    with pytest.raises(ModelNotFoundError, match="no model 'demand@challenger'"):
        registry.drop("demand")


def test_what_is_not_there_is_named(registry: Registry) -> None:
    for model in ("demand@9", "demand@challenger", "other", "demand@x", "", f"demand@{10**30}", "demand@²"):
        with pytest.raises(ModelNotFoundError, match=f"no model '{model}"):
            registry.resolve(model)


def test_a_server_that_is_away_does_not_say_that_there_is_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # where nobody listens

    for model in ("demand@champion", "demand@1"):
        with pytest.raises(MlflowException, match="failed with exception"):
            Registry(tmp_path).resolve(model)


def test_a_run_records_parameters_metrics_and_the_codes_version(tmp_path: Path) -> None:
    parent = Registry(tmp_path).log_run("sweeps", "sweep-1", {"trials": 2}, {})
    run_id = Registry(tmp_path).log_run("sweeps", "trial-1", {"prompt": "compact"}, {"ndcg@10": 0.3}, parent)

    run = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").get_run(run_id)
    assert (run.data.params, run.data.metrics) == ({"prompt": "compact"}, {"ndcg_at_10": 0.3})
    assert run.data.tags["demandcast.version"]
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert run.info.status == "FINISHED"


def test_what_was_recorded_and_registered_last_comes_first(registry: Registry, tmp_path: Path) -> None:
    parent = registry.log_run(SWEEPS, "sweep-1", {"trials": 1}, {})
    registry.log_run(SWEEPS, "trial-1", {"prompt": "compact"}, {"ndcg@10": 0.3}, parent)

    runs = {each.name: each for each in registry.runs(SWEEPS, most=10)}

    assert {name: each.parent for name, each in runs.items()} == {"sweep-1": None, "trial-1": parent}
    assert (runs["trial-1"].parameters, runs["trial-1"].metrics) == ({"prompt": "compact"}, {"ndcg@10": 0.3})
    assert [each.name for each in registry.runs(SWEEPS, most=1)] == ["trial-1"]
    assert registry.runs(TRAINING, most=10) == []
    assert [str(each) for each in registry.latest(most=2)] == ["demand@3", "demand@2"]
