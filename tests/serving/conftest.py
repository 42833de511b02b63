"""One endpoint for all tests of this folder, with a small model that nobody trained."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from ray import serve

from demand.catalogue import Catalogue
from demand.events.log import EventLog, log_url
from demand.formats import prompt_format
from demand.moments import iso, moment
from demand.vocabulary import Vocabulary
from modeling.calibration import Calibration, Curve
from modeling.checkpoint import Checkpoint, save_checkpoint
from modeling.golden import golden_requests
from modeling.megatron.model import DemandModel, initialize_from_catalogue
from modeling.megatron.shards import whole_weights
from modeling.parallel import initialize
from modeling.predictor import Predictor
from modeling.settings import ModelSettings
from ray_app.cluster import free_port
from serving.application import Endpoint, Served, running
from serving.client import SECONDS
from serving.keys import KeyFile, Keys, Scope
from serving.models import ModelReference, Models
from serving.tracing import ENDPOINTS
from tests.conftest import CUTOFF
from tests.serving.collector import PORT, Collector, collecting

AS_OF = moment(CUTOFF)


def early_in_a_minute() -> None:
    """Waits where what follows could reach into the next minute, which has a new count of requests."""
    if (second := time.time() % 60) > 50:
        time.sleep(60 - second)


def reference(folder: Path, version: int = 1) -> ModelReference:
    return ModelReference(checkpoint=str(folder), name="demand", version=version)


def champion(folder: Path, version: int = 1) -> Models:
    return Models(champion=reference(folder, version))


def request(customer: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {"customer": customer or {}, "as_of": iso(AS_OF), "top_k": 5, **fields}


def order(ts: str = "2024-05-01T00:00:00Z", **fields: Any) -> dict[str, Any]:
    line = {"item_id": "item a0", "quantity": 1, "amount": 2.5, **fields}
    return {"purchase_history": [{"ts": ts, "items": [line]}]}


def save_model(folder: Path, catalogue: Catalogue, vocabulary: Vocabulary, written: str, level: float) -> Path:
    """A model whose prompts are of the format `written`, and whose chances `level` raises."""
    initialize(seed=5)
    settings = ModelSettings(layers=1, hidden=32, heads=2, ffn=64)
    model = DemandModel(settings, len(vocabulary), len(catalogue))
    initialize_from_catalogue(model, vocabulary, catalogue)
    calibration = Calibration(next_order=Curve(slope=0.9, level=level), horizon=Curve(slope=0.9, level=level, span=0.2))
    made = Checkpoint(
        settings, prompt_format(written), vocabulary, catalogue, whole_weights(model), calibration, {"run": "r"}
    )
    save_checkpoint(replace(made, golden=golden_requests(Predictor(made))), folder)
    return folder


@pytest.fixture(scope="package")
def model_folder(catalogue: Catalogue, vocabulary: Vocabulary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("serving") / "model", catalogue, vocabulary, "profile", 0.5)


@pytest.fixture(scope="package")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyFile:
    return KeyFile(tmp_path_factory.mktemp("keys") / "keys.sqlite")


@pytest.fixture(scope="package")
def registry_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The endpoint's, where nobody made a registry yet."""
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="package")
def collector() -> Iterator[Collector]:
    with collecting() as collector, pytest.MonkeyPatch.context() as environment:
        environment.setenv(ENDPOINTS[0], f"http://127.0.0.1:{PORT}")
        yield collector


@pytest.fixture(scope="package")
def log(tmp_path_factory: pytest.TempPathFactory) -> EventLog:
    """The endpoint's."""
    return EventLog(log_url(str(tmp_path_factory.mktemp("log") / "events.db")))


@pytest.fixture(scope="package")
def endpoint(
    ray_cluster: None, collector: Collector, model_folder: Path, keys: KeyFile, log: EventLog, registry_folder: Path
) -> Iterator[Endpoint]:
    keys.create("somebody")  # from now on keys are asked for
    served = Served(champion(model_folder, 3), Keys(keys), port=free_port(), events=log.url, registry=registry_folder)
    with running(served) as endpoint:
        yield endpoint
    serve.shutdown()  # other tests serve at other ports


def client_of(endpoint: Endpoint, keys: KeyFile, scope: Scope) -> httpx.Client:
    _, key = keys.create("tests", per_minute=1_000_000, scope=scope)
    return httpx.Client(base_url=endpoint.url, timeout=SECONDS, headers={"Authorization": f"Bearer {key}"})


@pytest.fixture(scope="package")
def client(endpoint: Endpoint, keys: KeyFile) -> Iterator[httpx.Client]:
    with client_of(endpoint, keys, "predict") as client:
        yield client


@pytest.fixture(scope="package")
def admin(endpoint: Endpoint, keys: KeyFile) -> Iterator[httpx.Client]:
    with client_of(endpoint, keys, "admin") as client:
        yield client
