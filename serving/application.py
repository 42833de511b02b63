"""Starting and stopping the application on Ray Serve."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
from ray import serve

from demand.errors import SettingsError
from serving.ingress import Ingress
from serving.keys import Keys
from serving.replica import TARGET, ModelReplica

NAME = "demandcast"
ANSWER_SECONDS = 10.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Served:
    """The model to serve, and where.

    Attributes:
        keys: those that are let in; without, everybody is.
        open: whether others than this machine may ask without a key.
    """

    checkpoint: str
    name: str
    version: int
    keys: Keys | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    min_replicas: int = 1
    max_replicas: int = 1
    open: bool = False

    @property
    def url(self) -> str:
        """Where the ingress answers."""
        return f"http://{'127.0.0.1' if self.host == '0.0.0.0' else self.host}:{self.port}"  # noqa: S104


@contextmanager
def running(served: Served) -> Iterator[str]:
    """Ingress and replicas on the running Ray cluster, while the block lasts; gives the URL once they can answer.

    At the end requests that are being answered are finished first. Ray Serve itself goes on: it may serve others.

    Raises:
        SettingsError: the port is taken or Ray Serve has another one, the replica counts are no range, or anybody could
            ask.
    """
    if not 1 <= served.min_replicas <= served.max_replicas:
        raise SettingsError(
            f"replicas {served.min_replicas} to {served.max_replicas}: the least is 1 and not above the most"
        )
    if not (served.host in LOOPBACK or served.open or (served.keys and served.keys.wanted)):
        raise SettingsError(
            f"on {served.host} anybody could ask: make a key (demandcast keys create NAME), or say --without-keys"
        )
    check_port(served.host, served.port)
    replicas = ModelReplica.options(  # type: ignore[attr-defined]
        user_config={"checkpoint": served.checkpoint, "name": served.name, "version": served.version},
        autoscaling_config={
            "min_replicas": served.min_replicas,
            "max_replicas": served.max_replicas,
            "target_ongoing_requests": TARGET,
        },
    )
    serve.start(http_options={"host": served.host, "port": served.port})
    try:
        serve.run(Ingress.bind(replicas.bind(), served.keys), name=NAME, route_prefix="/")  # type: ignore[attr-defined]
        _check_answers(served)
        yield served.url
    finally:
        serve.delete(NAME)


def _check_answers(served: Served) -> None:
    """Ray Serve takes a port when it starts, and keeps it for whatever it serves later."""
    try:
        httpx.get(f"{served.url}/healthz", timeout=ANSWER_SECONDS)
    except httpx.HTTPError:
        raise SettingsError(
            f"nothing answers at {served.url}: Ray Serve runs in this Ray cluster already, on another port or address; "
            "end it first (serve shutdown), or serve from another cluster"
        ) from None


def check_port(host: str, port: int) -> None:
    """Raises SettingsError where nothing can listen on host and port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SettingsError(
                f"cannot listen on {host}:{port} ({error.strerror}): choose another --host or --port"
            ) from None
