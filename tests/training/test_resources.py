"""What a run asks of clusters of several shapes."""

from collections import Counter
from typing import Any

import pytest
import ray

from demand.errors import SettingsError
from training.resources import check, has_gpus, offered, processors

COMING = {"CPU": 0, "CPU_to_come": 64, "GPU_to_come": 8}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    nodes: list[dict[str, float]] = request.param
    listed: list[dict[str, Any]] = [{"Alive": True, "Resources": each} for each in nodes]
    gone = {"Alive": False, "Resources": {"CPU": 1_000}}
    monkeypatch.setattr(ray, "nodes", lambda: [*listed, gone])
    monkeypatch.setattr(ray, "cluster_resources", lambda: dict(sum(map(Counter, nodes), Counter())))


@pytest.mark.parametrize("cluster", [[COMING], [COMING, {"CPU": 8, "GPU": 1}]], indirect=True)
@pytest.mark.usefixtures("cluster")
def test_a_cluster_that_grows_offers_what_has_yet_to_come() -> None:
    assert (offered("CPU"), offered("GPU")) == (64, 8)
    assert has_gpus(8)
    assert not has_gpus(9)


@pytest.mark.parametrize("cluster", [[{"CPU": 8, "GPU": 4}]], indirect=True)
@pytest.mark.usefixtures("cluster")
def test_gpus_for_some_workers_alone_are_refused() -> None:
    check(4)
    with pytest.raises(SettingsError, match="8 workers want 8 GPUs, and there are 4: choose --workers 4"):
        check(8)


@pytest.mark.parametrize("cluster", [[{"CPU": 2}]], indirect=True)
@pytest.mark.usefixtures("cluster")
def test_another_cluster_offers_what_is_there() -> None:
    assert (offered("CPU"), offered("GPU")) == (2, 0)


@pytest.mark.parametrize(
    ("cluster", "workers", "runs", "share"),
    [
        pytest.param([{"CPU": 2}], 1, 1, 2, id="all of the only node"),
        pytest.param([{"CPU": 2}], 2, 1, 1, id="half of the only node"),
        pytest.param([{"CPU": 2}], 4, 1, 0.5, id="more workers than processors"),
        pytest.param([{"CPU": 2}], 1, 4, 0.5, id="a part of a processor"),
        pytest.param([{"CPU": 4}, {"CPU": 4}], 1, 1, 4, id="no more than a node has"),
        pytest.param([{"CPU": 3}, {"CPU": 3}], 3, 1, 1, id="all find a place"),
        pytest.param([COMING], 4, 1, 1, id="beside each GPU"),
        pytest.param([COMING, {"CPU": 8, "GPU": 1}], 2, 8, 1, id="beside a GPU, whichever run gets it"),
        pytest.param([{"CPU": 0, "CPU_to_come": 64}], 1, 4, 1, id="a whole one where more come"),
        pytest.param([{"CPU": 0}], 1, 1, 1, id="of nodes that nobody told of"),
    ],
    indirect=["cluster"],
)
@pytest.mark.usefixtures("cluster")
def test_workers_share_processors_so_that_each_finds_its_place(workers: int, runs: int, share: float) -> None:
    assert processors(workers, runs) == share
