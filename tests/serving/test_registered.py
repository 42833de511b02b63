"""What the endpoint tells of the registry, on a real MLflow store."""

import asyncio
from pathlib import Path

import pytest

from modeling.registry import SWEEPS, TRAINING, Registry
from serving import registered
from serving.problems import Problem
from serving.registered import Registered, RegisteredResponse


def test_versions_come_with_their_runs_and_sweeps_with_their_trials(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    run = registry.log_run(TRAINING, "train-1", {"data": "7caf", "prompt_format": "profile"}, {"ndcg@10": 0.3})
    registry.register("demand", "/models/1", run, {"ndcg@10": 0.3, "loss": float("nan")})
    registry.register("demand", "/models/2", None, {"ndcg@10": 0.4})
    sweep = registry.log_run(SWEEPS, "sweep-1", {"trials": 2}, {"ndcg@10": 0.4})
    for name in ("trial-1", "trial-2"):
        registry.log_run(SWEEPS, name, {"prompt.name": "compact"}, {"recall@20": 0.2}, parent=sweep)

    told = asyncio.run(Registered(tmp_path).response())

    newest, oldest = told.models
    assert (newest.version, newest.aliases, newest.run, newest.settings) == (2, [], None, {})
    assert (oldest.version, oldest.aliases, oldest.run) == (1, ["champion"], "train-1")
    assert (oldest.metrics, oldest.settings) == ({"ndcg@10": 0.3}, {"data": "7caf", "prompt_format": "profile"})
    assert oldest.created.startswith("20")
    (found,) = told.sweeps
    assert (found.name, found.settings, found.metrics) == ("sweep-1", {"trials": "2"}, {"ndcg@10": 0.4})
    assert {(each.name, each.settings["prompt.name"], each.metrics["recall@20"]) for each in found.trials} == {
        ("trial-1", "compact", 0.2),
        ("trial-2", "compact", 0.2),
    }


def test_where_there_is_no_registry_none_is_made(tmp_path: Path) -> None:
    for home in (None, tmp_path):
        with pytest.raises(Problem) as problem:
            asyncio.run(Registered(home).response())
        assert problem.value.status == 404
    assert list(tmp_path.iterdir()) == []


def test_it_is_read_once_for_all_who_ask_and_again_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Path] = []

    def read(home: Path) -> RegisteredResponse:
        reads.append(home)
        return RegisteredResponse(models=[], sweeps=[])

    monkeypatch.setattr(registered, "read", read)
    (tmp_path / "mlflow.db").touch()

    async def ask() -> None:
        registry = Registered(tmp_path)
        await asyncio.gather(*(registry.response() for _ in range(10)))
        assert len(reads) == 1
        monkeypatch.setattr(registered, "KEPT_SECONDS", 0.0)
        await registry.response()
        assert len(reads) == 2

    asyncio.run(ask())


def test_one_that_fails_is_a_problem_and_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mlflow.db").write_text("no database " * 100)
    answers = Registered(tmp_path)

    async def ask() -> None:
        with pytest.raises(Problem) as problem:
            await answers.response()
        assert problem.value.status == 503
        monkeypatch.setattr(registered, "read", lambda _: RegisteredResponse(models=[], sweeps=[]))
        assert (await answers.response()).models == []

    asyncio.run(ask())
