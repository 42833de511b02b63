"""Ray clusters of this machine's own processes, as `ray start` makes them, beside others that may run here."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from ray_app.cluster import free_port

RAY = Path(sys.prefix) / "bin" / "ray"
ROOT = Path(__file__).parent.parent
TOKEN = "0123456789abcdef" * 4
STARTING_SECONDS, ENDING_SECONDS = 120.0, 10.0


@dataclass(frozen=True)
class Cluster:
    """Where a cluster's parts listen, and what all its processes are told.

    Attributes:
        state: Ray's folder, of this cluster alone.
        environment: of every node and command.
        started: the commands so far.
    """

    state: Path
    environment: Mapping[str, str]
    port: int = field(default_factory=free_port)
    dashboard: int = field(default_factory=free_port)
    started: list["subprocess.Popen[str]"] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Of the head."""
        return f"127.0.0.1:{self.port}"

    def nodes(self) -> list[dict[str, Any]]:
        """Those that are there, as Ray's dashboard tells."""
        url, token = f"http://127.0.0.1:{self.dashboard}/api/v0/nodes", self.environment["RAY_AUTH_TOKEN"]
        answer = httpx.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=STARTING_SECONDS)
        nodes = answer.raise_for_status().json()["data"]["result"]["result"]
        return [each for each in nodes if each["state"] == "ALIVE"]

    def start_head(self, *words: str) -> None:
        """The head, whose ports are its own."""
        self._start(
            "--head",
            f"--port={self.port}",
            "--dashboard-host=127.0.0.1",
            f"--dashboard-port={self.dashboard}",
            f"--ray-client-server-port={free_port()}",
            f"--temp-dir={self.state}",
            *words,
        )

    def start_worker(self, *words: str) -> None:
        """One more node."""
        self._start(f"--address={self.address}", *words)

    def _start(self, *words: str) -> None:
        everywhere = (
            "--min-worker-port=0",
            "--max-worker-port=0",
            "--dashboard-agent-listen-port=0",
            "--disable-usage-stats",
        )
        starting = self.run([str(RAY), "start", *words, *everywhere], output=subprocess.PIPE)
        said, _ = starting.communicate(timeout=STARTING_SECONDS)
        assert starting.returncode == 0, said[-3_000:]

    def demandcast(self, *words: object, home: Path) -> "subprocess.Popen[str]":
        """A command of ours on this cluster, with what it says, errors too, in its `stdout`."""
        at = {
            "DEMANDCAST_HOME": str(home),
            "RAY_ADDRESS": self.address,
            "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{self.dashboard}",
        }
        return self.run([sys.executable, "-m", "ray_app.cli", *map(str, words)], at, subprocess.PIPE)

    def run(
        self, command: list[str], environment: Mapping[str, str] | None = None, output: int = subprocess.DEVNULL
    ) -> "subprocess.Popen[str]":
        """A process that ends with the cluster."""
        process = subprocess.Popen(
            command,
            env={**os.environ, **self.environment, **(environment or {})},
            cwd=ROOT,
            text=True,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def running(self, command: str) -> list[psutil.Process]:
        """Those of this cluster's processes in whose command line that stands."""
        found = []
        for each in self.processes():
            with contextlib.suppress(psutil.Error):
                if command in " ".join((process := psutil.Process(each)).cmdline()):
                    found.append(process)
        return found

    def processes(self) -> list[int]:
        """All that this cluster started, however deep below: each command is a session of its own, which children keep
        when their parent ends."""
        sessions = {each.pid for each in self.started}
        found = []
        for each in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(int(each.name)) in sessions:
                    found.append(int(each.name))
        return found


@contextlib.contextmanager
def cluster(**environment: str) -> Iterator[Cluster]:
    """No node yet, and none at the end."""
    state = Path(tempfile.mkdtemp(prefix="ray-"))  # a short path: Ray's sockets lie there
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    patience = {"RAY_raylet_start_wait_time_s": f"{STARTING_SECONDS:g}"}  # on a machine that does much else
    made = Cluster(state, {**token, **patience, **environment})
    try:
        yield made
    finally:
        end = time.monotonic() + ENDING_SECONDS
        while time.monotonic() < end and (left := made.processes()):
            for each in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
            for process in made.started:
                process.poll()
            time.sleep(0.1)
        shutil.rmtree(state, ignore_errors=True)


def wait_until(true: Callable[[], object], seconds: float) -> bool:
    """Whether something came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.2)
    return False
