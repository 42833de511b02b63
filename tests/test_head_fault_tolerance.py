"""A head whose GCS dies: what it knew is in Redis, so that the endpoint answers on, and all works again after."""

import asyncio
import json
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.serving import Server
from benchmarks.serving_faults import REPLICA, asked
from demand.catalogue import Catalogue
from demand.vocabulary import Vocabulary
from modeling.registry import Registry
from ray_app.cluster import free_port
from tests.clusters import Cluster, cluster, wait_until
from tests.serving.conftest import order, request, save_model
from tests.serving.load import Load

pytestmark = pytest.mark.drill
REDIS = shutil.which("redis-server")
AWAY_SECONDS = 15.0
PATIENCE = 120.0


@pytest.fixture(scope="module")
def home(catalogue: Catalogue, vocabulary: Vocabulary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with demand@1, the champion, and demand@2."""
    folder = tmp_path_factory.mktemp("home")
    for level in (0.5, 1.0):
        saved = save_model(folder / f"model-{level}", catalogue, vocabulary, "profile", level)
        Registry(folder).register("demand", saved, None, {})
    Registry(folder).promote("demand@1")
    return folder


@pytest.fixture(scope="module")
def standing() -> Iterator[Cluster]:
    """A head that only coordinates and keeps what it knows in Redis, and a worker."""
    if not REDIS:
        pytest.skip("needs Debian's redis-server")
    port, password = free_port(), secrets.token_hex(16)
    with cluster(RAY_REDIS_ADDRESS=f"127.0.0.1:{port}", RAY_external_storage_namespace="drill") as made:
        made.run([REDIS, "--bind", "127.0.0.1", "--port", str(port), "--requirepass", password, "--save", ""])
        made.start_head("--num-cpus=0", f"--redis-password={password}")
        made.start_worker("--num-cpus=2")
        yield made


@pytest.fixture(scope="module")
def endpoint(standing: Cluster, home: Path) -> Iterator[httpx.Client]:
    """`demandcast serve`, with one replica where few ask and two where many do."""
    port = free_port()
    words = ("--max-replicas", 2, "--replica-requests", 2, "--up-seconds", 1, "--port", port)
    serve = standing.demandcast("serve", *words, home=home)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
        assert wait_until(lambda: serve.poll() is not None or _ready(client), PATIENCE)
        assert serve.poll() is None, serve.communicate()[0]
        yield client
    assert serve.poll() is None  # it outlived all that was done here


def test_answers_go_on_while_the_gcs_is_away_and_when_it_is_back(standing: Cluster, endpoint: httpx.Client) -> None:
    (gcs,) = standing.running("gcs_server")
    command, environment = gcs.cmdline(), gcs.environ()

    def away() -> None:
        gcs.kill()
        time.sleep(AWAY_SECONDS)
        standing.run(command, environment)  # as what supervises it would

    noticed = asyncio.run(asked(asking(endpoint), away, clients=1))

    print(noticed)
    assert set(noticed.statuses) == {200}
    assert noticed.gap_seconds < AWAY_SECONDS / 3


def test_then_replicas_follow_the_load_again_and_one_that_dies_is_replaced(
    standing: Cluster, endpoint: httpx.Client
) -> None:
    with Load(endpoint, clients=8):
        assert wait_until(lambda: len(standing.running(REPLICA)) == 2, PATIENCE)
        killed = standing.running(REPLICA)[0]
        killed.kill()
        assert wait_until(lambda: len({*standing.running(REPLICA)} - {killed}) == 2, PATIENCE)


def test_then_a_promoted_model_is_served(standing: Cluster, endpoint: httpx.Client, home: Path) -> None:
    promoting = standing.demandcast("models", "promote", "demand@2", home=home)
    said, _ = promoting.communicate(timeout=PATIENCE)

    assert promoting.returncode == 0, said
    assert wait_until(lambda: endpoint.get("/v1/model").json()["version"] == 2, PATIENCE)


def asking(endpoint: httpx.Client) -> Server:
    """What is asked: ever other questions, so that none is answered from memory."""
    url = str(endpoint.base_url)
    bodies = [json.dumps(request({**order(), "customer_id": str(number)})).encode() for number in range(10_000)]
    return Server("demandcast", [], f"{url}/readyz", f"{url}/v1/predict", bodies, {})


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.HTTPError:
        return False
