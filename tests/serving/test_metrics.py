"""What Prometheus reads, and what the dashboard makes of it."""

import json
import re
import time
from pathlib import Path

import httpx
import ray
import yaml

from tests.serving.conftest import order, request

SOON_SECONDS = 40


def scraped() -> str:
    """All that the node tells Prometheus."""
    (node,) = (each for each in ray.nodes() if each["Alive"])
    return httpx.get(f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics").text


def counted(text: str, name: str, **labels: str) -> float:
    """The sum of a metric over its series that have these labels."""
    lines = [line for line in text.splitlines() if line.startswith(name + "{")]
    has = [line for line in lines if all(f'{key}="{value}"' in line for key, value in labels.items())]
    return sum(float(line.rpartition(" ")[2]) for line in has)


def test_prometheus_reads_what_was_asked_and_the_dashboard_asks_for_what_there_is(client: httpx.Client) -> None:
    answers = {"model": "demand@3", "status": "200"}
    before = counted(scraped(), "ray_demandcast_answers_total", **answers)
    for _ in range(3):
        client.post("/v1/predict", json=request(order())).raise_for_status()
    client.post("/v1/predict", json=request(order()), headers={"Authorization": "Bearer x"})

    board = json.loads(Path("deploy/grafana/demandcast.json").read_text())
    asked = " ".join(target["expr"] for panel in board["panels"] for target in panel["targets"])
    names = set(re.findall(r"ray_\w+", asked))
    end = time.monotonic() + SOON_SECONDS
    while counted(text := scraped(), "ray_demandcast_answers_total", **answers) < before + 3 or [
        name for name in names if name + "{" not in text
    ]:
        assert time.monotonic() < end, [name for name in names if name + "{" not in text]
        time.sleep(0.5)

    assert len(names) >= 8
    assert counted(text, "ray_demandcast_answer_seconds_count", model="demand@3") >= 3
    assert counted(text, "ray_demandcast_batch_tokens_sum") > counted(text, "ray_demandcast_batch_requests_sum") > 0
    assert counted(text, "ray_serve_num_http_requests_total", status_code="401") >= 1


def test_prometheus_finds_the_nodes_where_ray_lists_them() -> None:
    (job,) = yaml.safe_load(Path("deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]

    (file,) = job["file_sd_configs"][0]["files"]
    assert json.loads(Path(file).read_text())[0]["targets"]
