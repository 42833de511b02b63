"""`demandcast serve` in a process of its own: what it prints, follows and ends with."""

import json
import re
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from ray._private.ray_constants import PROMETHEUS_SERVICE_DISCOVERY_FILE

from ray_app.cluster import free_port
from serving.client import Client
from tests.clusters import wait_until
from tests.conftest import CUTOFF
from tests.ray_app.commandline import demandcast, last_json, start

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture
def ray_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where Ray's files of processes that start now lie; its sockets want a short name."""
    with tempfile.TemporaryDirectory(prefix="dc") as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield Path(folder) / "ray"


def metrics_that_prometheus_finds(ray_folder: Path) -> bool:
    """Whether one of the nodes that Ray lists in the file of deploy/prometheus tells of the endpoint."""
    file = ray_folder / PROMETHEUS_SERVICE_DISCOVERY_FILE
    targets = [target for each in json.loads(file.read_text()) for target in each["targets"]] if file.exists() else []
    told = []
    for each in targets:
        with suppress(httpx.HTTPError):
            told.append(httpx.get(f"http://{each}/metrics").text)
    return "ray_demandcast_" in "".join(told)


def test_serve_says_when_it_is_ready_answers_follows_the_champion_sleeps_wakes_and_ends_with_ctrl_c(
    home: Path, trained: dict, tmp_path: Path, ray_folder: Path
) -> None:
    (tmp_path / "customer.json").write_text(
        json.dumps(
            {"purchase_history": [{"ts": "2024-05-01", "items": [{"item_id": "item a0"}, {"item_id": "nothing"}]}]}
        )
    )
    sleepy = ("--min-replicas", 0, "--down-seconds", 20)
    port = free_port()
    process = start("serve", "--model", "demand@champion", "--port", port, *sleepy, "--json", home=home)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = re.search(rf"http://\S+:{port}", line)
        assert url, line
        assert json.loads(process.stdout.readline()) == {"model": trained["model"], "url": url[0]}
        asked = ("predict", "--customer", tmp_path / "customer.json", "--url", url[0])
        answer = last_json(demandcast(*asked, "--json", home=home)[0])
        assert len(answer["demands"]) == 20
        assert answer["unknown_items"] == ["nothing"]
        out, _ = demandcast(*asked, "--as-of", CUTOFF, "--explain", "--json", home=home)
        assert "bought once, 31 days ago" in out.replace("\n", " ")
        (reasons,) = (each["reasons"] for each in last_json(out)["demands"] if each["item_id"] == "item a0")
        assert reasons["events"][0]["item_id"] == "item a0"

        status = last_json(demandcast("serve", "status", "--url", url[0], "--json", home=home)[0])
        assert (status["status"], status["replicas"], status["ongoing"]) == ("RUNNING", {"RUNNING": 1}, 0)
        assert [(f"{each['name']}@{each['version']}", each["share"]) for each in status["models"]] == [
            (trained["model"], 1.0)
        ]

        assert wait_until(lambda: metrics_that_prometheus_finds(ray_folder), 180)

        folder = last_json(demandcast("models", "show", trained["model"], "--json", home=home)[0])["checkpoint"]
        other = last_json(demandcast("models", "import", folder, "--json", home=home)[0])["model"]
        for change, model in ((("promote", other), other), (("rollback",), trained["model"])):
            demandcast("models", *change, home=home)
            assert process.stdout.readline() == f"serving {model}\n"
            assert json.loads(process.stdout.readline())["model"] == model

        def status() -> dict:
            return last_json(demandcast("serve", "status", "--url", url[0], "--json", home=home)[0])

        deadline = time.monotonic() + 180
        while status()["replicas"]:
            assert time.monotonic() < deadline
            time.sleep(0.5)
        assert (status()["status"], status()["models"]) == ("RUNNING", [])
        with Client(url[0]) as patient:
            assert patient.predict({}).model.model_dump() == answer["model"]
        assert last_json(demandcast(*asked, "--json", home=home)[0])["model"] == answer["model"]
        assert status()["replicas"] == {"RUNNING": 1}

        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=180)
        assert "Traceback" not in err
        assert f"no answer from {url[0]}" in demandcast(*asked, home=home, code=2)[1]
    finally:
        process.kill()


@pytest.mark.drill
def test_serve_ends_in_order_when_a_process_manager_says_so(home: Path, trained: dict) -> None:
    process = start("serve", "--model", trained["model"], "--port", free_port(), "--json", home=home)
    try:
        assert process.stdout is not None
        assert "serving" in process.stdout.readline()
        process.terminate()
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, out + err
        assert out.endswith("stopping\n")
        assert "SIGTERM" not in err
    finally:
        process.kill()
