"""What Prometheus reads, and what the dashboard makes of it."""

import json
import re
from pathlib import Path

import httpx
import yaml

from tests.serving.conftest import order, request
from tests.serving.prometheus import counted, scraped, soon


def test_prometheus_reads_what_was_asked_and_the_dashboard_asks_for_what_there_is(client: httpx.Client) -> None:
    answers, refused = ({"model": "demand@3", "status": status} for status in ("200", "422"))
    before = counted(scraped(), "ray_demandcast_answers_total", **answers)
    for customer in "abca":
        answer = client.post("/v1/predict", json=request({**order(), "customer_id": customer})).raise_for_status()
    item = answer.json()["demands"][0]["item_id"]
    outcome = {"model": answer.json()["model"], "shown": [item], "bought": [item]}
    client.post("/v1/outcomes", json=outcome).raise_for_status()
    client.post("/v1/predict", json=request(order()), headers={"Authorization": "Bearer x"})

    board = json.loads(Path("deploy/grafana/demandcast.json").read_text())
    asked = " ".join(target["expr"] for panel in board["panels"] for target in panel["targets"])
    names = set(re.findall(r"ray_\w+", asked))
    few = {"items": [item], "customers": [{}], "size": 1}
    assert client.post("/v1/audience", json=few).status_code == 422
    soon(lambda: counted(scraped(), "ray_demandcast_answers_total", **answers) >= before + 3)
    soon(lambda: counted(scraped(), "ray_demandcast_answers_total", **refused) >= 1)
    soon(lambda: not [name for name in names if name + "{" not in scraped()])
    text = scraped()

    assert len(names) >= 8
    assert counted(text, "ray_demandcast_answer_seconds_count", model="demand@3") >= 3
    assert counted(text, "ray_demandcast_batch_tokens_sum") > counted(text, "ray_demandcast_batch_requests_sum") > 0
    assert counted(text, "ray_serve_num_http_requests_total", status_code="401") >= 1


def test_prometheus_finds_the_nodes_where_ray_lists_them() -> None:
    (job,) = yaml.safe_load(Path("deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]

    (file,) = job["file_sd_configs"][0]["files"]
    assert json.loads(Path(file).read_text())[0]["targets"]
