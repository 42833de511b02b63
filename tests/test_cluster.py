"""cluster.yaml is right as far as Ray's own validation can tell."""

import copy
import os
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parent.parent
PROJECT = "~/demandcast"
"""Where nodes have the project."""


@pytest.fixture
def cluster() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


def test_ray_accepts_it(cluster: dict[str, Any]) -> None:
    validate_config(prepare_config(cluster))


@pytest.mark.parametrize("path", [("max_wokers",), ("available_node_types", "gpu", "min_wokers")])
def test_ray_refuses_an_unknown_key(cluster: dict[str, Any], path: tuple[str, ...]) -> None:
    broken = copy.deepcopy(cluster)
    section = broken
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = 3

    with pytest.raises(jsonschema.ValidationError):
        validate_config(prepare_config(broken))


def test_no_work_is_scheduled_on_the_head_which_tells_what_workers_may_come(cluster: dict[str, Any]) -> None:
    types = dict(cluster["available_node_types"])
    head = types.pop(cluster["head_node_type"])
    (processors,), (gpus,) = ({each["resources"][kind] for each in types.values()} for kind in ("CPU", "GPU"))
    most = min(sum(each["max_workers"] for each in types.values()), cluster["max_workers"])

    assert head["resources"] == {"CPU": 0, "CPU_to_come": most * processors, "GPU_to_come": most * gpus}


def test_gpu_workers_start_from_none(cluster: dict[str, Any]) -> None:
    workers = {
        name: each for name, each in cluster["available_node_types"].items() if name != cluster["head_node_type"]
    }

    assert workers
    assert all(
        each["resources"]["GPU"] >= 1 and each["min_workers"] == 0 < each["max_workers"] for each in workers.values()
    )


@pytest.mark.parametrize("file", ["cluster.yaml", "deploy/on-premises.yaml"])
def test_every_node_gets_all_that_the_project_is_installed_from(file: str) -> None:
    cluster = yaml.safe_load((ROOT / file).read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.partition(".")[0] for name in project["tool"]["setuptools"]["packages"]}
    needed = packages | {"pyproject.toml", "constraints.txt", project["project"]["readme"]}

    mounted = {origin: target for target, origin in cluster["file_mounts"].items() if not origin.startswith("~")}

    assert mounted == {name: f"{PROJECT}/{name}" for name in needed}
    assert all((ROOT / name).exists() for name in mounted)


@pytest.mark.parametrize("file", ["cluster.yaml", "deploy/on-premises.yaml"])
def test_every_node_installs_the_project_with_the_constraints(file: str) -> None:
    cluster = yaml.safe_load((ROOT / file).read_text())
    installs = [command for command in cluster["setup_commands"] if "pip install" in command]

    assert all(f"-c {PROJECT}/constraints.txt" in command for command in installs)
    assert any(f"-e {PROJECT}" in command for command in installs)


@pytest.mark.parametrize(("part", "registry"), [("head", "http://127.0.0.1:5000"), ("worker", "http://10.0.0.1:5000")])
def test_ray_starts_with_the_token_the_bucket_and_the_registry(
    cluster: dict[str, Any], tmp_path: Path, part: str, registry: str
) -> None:
    ray = tmp_path / "venv" / "bin" / "ray"
    ray.parent.mkdir(parents=True)
    (tmp_path / "demandcast").mkdir()
    ray.write_text('#!/bin/sh\necho "$1 $RAY_AUTH_MODE $DEMANDCAST_HOME $MLFLOW_TRACKING_URI"\n')
    ray.chmod(0o700)
    (writes,) = [each for each in cluster["setup_commands"] if each.endswith("> ~/demandcast/environment")]
    starts = cluster[f"{part}_start_ray_commands"][-1]

    out = subprocess.run(
        ["bash", "-c", f"export RAY_HEAD_IP=10.0.0.1; {writes}; {starts}"],
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert out.split() == ["start", "token", "s3://demandcast-state/home", registry]
