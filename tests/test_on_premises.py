"""`ray up deploy/on-premises.yaml` for real: hosts of their own on this machine, SSH between them, work on both."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.hosts import Hosts, hosts

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.drill
RAY = Path(sys.prefix) / "bin" / "ray"
SHARED = "/srv/demandcast"
PATIENCE = 180.0
HOSTS = 3


@dataclass(frozen=True)
class Cluster:
    """A cluster's file, the home folder of who uses it, its state folder, and its hosts."""

    file: Path
    home: Path
    shared: Path
    hosts: Hosts

    def ray(self, *words: str, timeout: float = 300) -> str:
        """A command of Ray's on the user's machine; what it printed."""
        env = {**os.environ, "HOME": str(self.home), "RAY_AUTH_MODE": "token"}
        env.pop("RAY_ADDRESS", None)
        done = subprocess.run([RAY, *words], cwd=ROOT, env=env, capture_output=True, text=True, timeout=timeout)
        assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
        return done.stdout

    def on_head(self, command: str) -> str:
        """A command on the head."""
        return self.ray("exec", str(self.file), command)


def described(made: Hosts, folder: Path) -> dict[str, Any]:
    """deploy/on-premises.yaml for these hosts, which have the software already and need no download of it."""
    text = (ROOT / "deploy" / "on-premises.yaml").read_text()
    config: dict[str, Any] = yaml.safe_load(text.replace(SHARED, str(folder / "shared")))
    head, *workers = made.addresses
    config["provider"] |= {"head_ip": head, "worker_ips": workers}
    config["auth"] |= {"ssh_user": "root", "ssh_private_key": str(made.key)}
    downloads = [command for command in config["setup_commands"] if "pip install" in command or "uv" in command]
    assert len(downloads) == 4
    kept = [command for command in config["setup_commands"] if command not in downloads]
    config["setup_commands"] = [f"ln -sfn {sys.prefix} ~/venv", *kept]
    return config


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("hosts")
    with hosts(folder, HOSTS) as made:
        home = folder / "home"
        (home / ".ray").mkdir(parents=True)
        (home / ".ray" / "auth_token").write_text("0123456789abcdef" * 4)
        file = folder / "cluster.yaml"
        file.write_text(yaml.safe_dump(described(made, folder)))
        found = Cluster(file, home, folder / "shared", made)
        found.ray("up", "-y", "--no-config-cache", str(file))
        yield found


def test_every_host_joins_and_the_doctor_finds_all_well(cluster: Cluster) -> None:
    end, status = time.monotonic() + PATIENCE, ""
    while time.monotonic() < end and sum(map(int, re.findall(r"^ (\d+) local\.", status, re.MULTILINE))) < HOSTS:
        status = cluster.on_head("ray status")

    out = cluster.on_head("demandcast doctor --json")

    report = json.loads(next(line for line in reversed(out.splitlines()) if line.startswith("{")))
    found = {each["what"]: each for each in report["findings"]}
    assert found["nodes"]["found"].startswith(f"{HOSTS}, "), status + out
    assert report["healthy"], out
    assert found["token"]["found"] == "Ray asks everyone for its token"
    assert found["workers"]["found"].startswith(f"{HOSTS} add up over gloo")


def test_a_job_trains_on_two_hosts_and_replicas_answer_on_two(cluster: Cluster) -> None:
    head = cluster.hosts.addresses[0]
    address = ("--address", f"http://{head}:8265")
    small = "--preset tiny --customers 60 --tune-customers 40 --trials 1 --workers 2"

    out = cluster.ray("job", "submit", *address, "--", "bash", "-c", f"demandcast run {small} --json", timeout=600)

    assert '"model": "demand@' in out
    written = sorted(each.name for each in (cluster.shared / "runs").glob("train-*/checkpoint_*/manifest-*"))
    assert set(written) == {"manifest-0-of-2.json", "manifest-1-of-2.json"}

    serve = "demandcast serve --min-replicas 2 --max-replicas 2"
    cluster.ray("job", "submit", *address, "--no-wait", "--submission-id", "serve", "--", "bash", "-c", serve)
    end = time.monotonic() + PATIENCE
    said = ""
    while time.monotonic() < end and "serving" not in said:
        said = cluster.ray("job", "logs", *address, "serve")
    assert "serving" in said, said
    processes = [cluster.hosts.run(each, "ps -eo args") for each in cluster.hosts.addresses]
    assert sum("ServeReplica:demandcast:ModelReplica" in each for each in processes) == 2
    asked = 'import json; print(json.dumps({"customer": {"purchase_history": []}, "top_k": 3}))'
    answer = cluster.on_head(
        f"python -c '{asked}' > ~/q.json; curl -s -d @$HOME/q.json http://127.0.0.1:8000/v1/predict"
    )
    assert '"demands":' in answer
    cluster.ray("job", "stop", *address, "serve")


def test_it_ends(cluster: Cluster) -> None:
    assert all("raylet" in cluster.hosts.run(each, "ps -eo comm") for each in cluster.hosts.addresses)

    cluster.ray("down", "-y", str(cluster.file))

    end = time.monotonic() + PATIENCE  # workers end by themselves once they miss their head for a minute
    while time.monotonic() < end and _running(cluster):
        time.sleep(1)
    assert not _running(cluster)


def _running(cluster: Cluster) -> bool:
    return any("raylet" in cluster.hosts.run(each, "ps -eo comm") for each in cluster.hosts.addresses)
