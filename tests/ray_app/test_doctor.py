"""What the doctor says of a healthy cluster, and of ills that can be made up."""

import time
from pathlib import Path

import pytest
import ray

from ray_app.doctor import Finding, clocks, disk, storage, versions
from tests.ray_app.commandline import demandcast, last_json

SAME = {"python": "3.11.7", "ray": "2.60.0", "torch": "2.13.0"}


@pytest.mark.usefixtures("ray_cluster")
def test_a_healthy_cluster_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray_app.doctor.PATIENCE", 300.0)  # other tests take the processors meanwhile
    out, _ = demandcast("doctor", "--json", home=tmp_path)

    report = last_json(out)
    assert report["healthy"]
    found = {each["what"]: each for each in report["findings"]}
    assert list(found) == ["nodes", "token", "versions", "storage", "disk", "clocks", "workers"]
    assert found["nodes"]["found"] == "1, with 2 CPUs and 0 GPUs"
    assert f"ray {ray.__version__}" in found["versions"]["found"]
    assert found["workers"]["found"].startswith("2 add up over gloo, ")
    assert list(tmp_path.iterdir()) == []  # it left nothing


@pytest.mark.usefixtures("ray_cluster")
def test_a_state_folder_that_cannot_be_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    out, _ = demandcast("doctor", "--json", home=tmp_path / "file" / "home", code=1)

    report = last_json(out)
    assert not report["healthy"]
    assert report["findings"][-1]["what"] == "storage"
    assert "DEMANDCAST_HOME" in report["findings"][-1]["advice"]


@pytest.mark.usefixtures("ray_cluster")
def test_a_node_whose_clock_is_off_is_named() -> None:
    @ray.remote(num_cpus=0)
    def wrong() -> float:
        return time.time() - 3_600

    @ray.remote(num_cpus=0)
    def right() -> float:
        return time.time()

    assert clocks({"10.0.0.1": right.remote}).state == "ok"
    found = clocks({"10.0.0.1": right.remote, "10.0.0.2": wrong.remote})

    assert found.state == "failed"
    assert "10.0.0.2 by 3" in found.found
    assert "10.0.0.1" not in found.found


def test_nodes_that_differ_are_named() -> None:
    assert versions({"a": SAME, "b": SAME}).state == "ok"

    found = versions({"a": SAME, "b": {**SAME, "torch": "2.12.0"}})

    assert found.state == "failed"
    assert found.found == "torch: 2.13.0 on a, 2.12.0 on b"


def test_a_node_without_the_shared_folder_is_named() -> None:
    well = {"shared": True, "writable": True}

    for ill in ({"shared": False}, {"writable": False}):
        found = storage(Path("/home/x"), {"a": well, "b": {**well, **ill}})
        assert (found.state, found.found.endswith("on b")) == ("failed", True)


def test_a_full_disk_is_a_warning() -> None:
    found = disk(Path("/home/x"), {"a": 2**40, "b": 2**30})

    assert found == Finding(
        "disk", "warning", "free: a 1024 GiB, b 1 GiB", "make room on b: runs keep two snapshots each under /home/x"
    )
