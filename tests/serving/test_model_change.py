"""Models change under load: no request is lost, none meets the prompts of one model and the weights of another."""

import asyncio
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from demand.catalogue import Catalogue
from demand.errors import CheckpointError
from demand.vocabulary import Vocabulary
from modeling.checkpoint import write_manifest
from modeling.predictor import Predictor
from serving.application import Endpoint
from serving.models import Models
from serving.replica import ModelReplica
from serving.schemas import PredictRequest
from tests.serving.conftest import champion, order, reference, request, save_model
from tests.serving.load import CLIENTS, SOON_SECONDS, Load


@pytest.fixture(scope="module")
def other_folder(catalogue: Catalogue, vocabulary: Vocabulary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("other") / "model", catalogue, vocabulary, "compact", 1.0)


@pytest.fixture(autouse=True)
def changed_back(endpoint: Endpoint, client: httpx.Client) -> Iterator[None]:
    before = endpoint.models
    yield
    endpoint.change_to(before)
    until_answered_by(client, before.champion.version)


def until_answered_by(client: httpx.Client, version: int) -> None:
    end = time.monotonic() + SOON_SECONDS
    while client.get("/v1/model").json()["version"] != version:
        assert time.monotonic() < end, f"version {version} does not answer"
        time.sleep(0.1)


def likeliest(folder: Path) -> float:
    (demands,) = Predictor.load(folder).answer(PredictRequest(**request(order())).questions(), 1)
    return demands[0].probability


def test_a_replica_that_could_not_load_a_model_tries_again(monkeypatch: pytest.MonkeyPatch, model_folder: Path) -> None:
    replica = object.__new__(ModelReplica.func_or_class)
    tried: list[Models] = []

    def load(models: Models, _: object) -> str:
        tried.append(models)
        if len(tried) == 1:
            raise OSError("the store is out of reach")
        return "loaded"

    monkeypatch.setattr("serving.replica.LoadedModels.load", load)
    monkeypatch.setattr("serving.replica.AGAIN_SECONDS", 0.0)
    replica._wanted, replica._models = champion(model_folder, 4), "old"

    asyncio.run(replica._change_over(champion(model_folder, 4)))

    assert (len(tried), replica._models) == (2, "loaded")


def test_a_change_under_load_loses_nothing_and_mixes_nothing(
    client: httpx.Client, endpoint: Endpoint, model_folder: Path, other_folder: Path
) -> None:
    expected = {("profile", 3): likeliest(model_folder), ("compact", 4): likeliest(other_folder)}
    assert abs(expected["profile", 3] - expected["compact", 4]) > 0.01

    with Load(client) as load:
        for models in (champion(other_folder, 4), champion(model_folder, 3), champion(other_folder, 4)):
            endpoint.change_to(models)
            until_answered_by(client, models.champion.version)
            load.more(2 * CLIENTS)

    assert {status for status, _ in load.answers} == {200}
    contents = [json.loads(text) for _, text in load.answers]
    met = {(each["model"]["prompt_format"], each["model"]["version"]) for each in contents}
    assert met == set(expected)
    for each in contents:
        made_by = each["model"]["prompt_format"], each["model"]["version"]
        assert each["demands"][0]["probability"] == pytest.approx(expected[made_by], abs=1e-5)


def test_a_damaged_model_and_one_that_answers_otherwise_than_when_it_was_made_are_refused(
    client: httpx.Client, endpoint: Endpoint, other_folder: Path, tmp_path: Path
) -> None:
    damaged = shutil.copytree(other_folder, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"nothing")
    other = shutil.copytree(other_folder, tmp_path / "other")
    golden = json.loads((other / "golden.json").read_text())
    item = next(iter(golden[0]["chances"]))
    golden[0]["chances"][item] += 0.2
    (other / "golden.json").write_text(json.dumps(golden))
    write_manifest(other)

    refused = ((damaged, "damaged"), (other, f"golden request 1 .* '{item}'"), (tmp_path, "is not a checkpoint"))
    for folder, why in refused:
        with pytest.raises(CheckpointError, match=why):
            endpoint.change_to(champion(folder, 5))

    answer = client.post("/v1/predict", json=request(order())).raise_for_status().json()
    assert answer["model"]["version"] == 3


def test_a_challenger_answers_its_share_of_the_customers_and_always_the_same_ones(
    client: httpx.Client, endpoint: Endpoint, other_folder: Path
) -> None:
    models = Models(champion=endpoint.models.champion, challenger=reference(other_folder, 4), share=0.3)
    customers = [f"customer {number}" for number in range(40)]

    def versions() -> dict[str, int]:
        asked = [request({"customer_id": each}) for each in [*customers, ""]]
        answers = client.post("/v1/predict/batch", json={"requests": asked}).raise_for_status().json()["responses"]
        return dict(zip([*customers, ""], (each["model"]["version"] for each in answers), strict=True))

    endpoint.change_to(models)
    end = time.monotonic() + SOON_SECONDS
    while set((met := versions()).values()) != {3, 4}:
        assert time.monotonic() < end
        time.sleep(0.1)

    assert met == versions() == {each: models.of(each).version for each in [*customers, ""]}
    assert met[""] == 3
    assert 4 <= list(met.values()).count(4) <= 22
