"""What Prometheus reads, and what the dashboard makes of it."""

import json
import re
from pathlib import Path

import httpx
import yaml
from ray._private.ray_constants import PROMETHEUS_SERVICE_DISCOVERY_FILE

from tests.serving.conftest import order, request
from tests.serving.prometheus import counted, scraped, soon


def test_prometheus_reads_what_was_asked_and_the_dashboard_asks_for_what_there_is(client: httpx.Client) -> None:
    told = {
        "answers": ("ray_demandcast_answers_total", {"model": "demand@3", "status": "200"}),
        "refused": ("ray_demandcast_answers_total", {"model": "demand@3", "status": "422"}),
        "timed": ("ray_demandcast_answer_seconds_count", {"model": "demand@3"}),
        "batches": ("ray_demandcast_batch_tokens_count", {}),
        "tokens": ("ray_demandcast_batch_tokens_sum", {}),
        "strangers": ("ray_serve_num_http_requests_total", {"status_code": "401"}),
    }

    def so_far() -> dict[str, float]:
        text = scraped()
        return {what: counted(text, name, **labels) for what, (name, labels) in told.items()}

    before = so_far()
    for customer in "abca":  # the last is known
        answer = client.post("/v1/predict", json=request({**order(), "customer_id": customer})).raise_for_status()
    item = answer.json()["demands"][0]["item_id"]
    outcome = {"model": answer.json()["model"], "shown": [item], "bought": [item]}
    client.post("/v1/outcomes", json=outcome).raise_for_status()
    client.post("/v1/predict", json=request(order()), headers={"Authorization": "Bearer x"})
    few = {"items": [item], "customers": [{}], "size": 1}
    assert client.post("/v1/audience", json=few).status_code == 422

    expected = {"answers": 3, "refused": 1, "timed": 4, "batches": 1, "tokens": 40, "strangers": 1}
    soon(lambda: all(so_far()[what] >= before[what] + least for what, least in expected.items()))
    board = json.loads(Path("deploy/grafana/demandcast.json").read_text())
    asked = " ".join(target["expr"] for panel in board["panels"] for target in panel["targets"])
    names = set(re.findall(r"ray_\w+", asked))
    soon(lambda: not [name for name in names if name + "{" not in scraped()])
    assert len(names) >= 8


def test_prometheus_finds_the_nodes_where_ray_lists_them() -> None:
    (job,) = yaml.safe_load(Path("deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]

    (file,) = job["file_sd_configs"][0]["files"]
    assert file == f"/tmp/ray/{PROMETHEUS_SERVICE_DISCOVERY_FILE}"  # noqa: S108 (where Ray has it)
