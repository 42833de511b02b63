"""Starting and stopping the application on Ray Serve."""

import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import ray
from ray import serve
from ray.exceptions import RayTaskError
from ray.serve import Application
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import LoggingConfig
from sqlalchemy.engine import URL

from demand.errors import CheckpointError, SettingsError
from demand.locations import Location
from serving.door import LOOPBACK
from serving.ingress import Ingress
from serving.keys import Keys
from serving.models import Models, check
from serving.replica import ModelReplica
from serving.scaling import SURGE_PERCENT, Scaling
from serving.tracing import tracing

NAME = "demandcast"
ANSWER_SECONDS = 30.0
LOGS = LoggingConfig(encoding="JSON")
HAPROXY = "RAY_SERVE_ENABLE_HA_PROXY"
"""With it Ray Serve's processes listen on all addresses, so that HAProxy on other nodes finds them."""


@dataclass(frozen=True)
class Served:
    """What to serve, and where.

    Attributes:
        keys: those that are let in; without, everybody is.
        open: whether others than this machine may ask without a key.
        certificate, private_key: PEM files; with both, HTTPS is spoken.
        cache_megabytes: of answers that are kept for those who ask the same again.
        events: where the log of events is; without, none is kept.
        registry: the state folder whose registry /v1/models tells of.
    """

    models: Models
    keys: Keys | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    scaling: Scaling = field(default_factory=Scaling)
    open: bool = False
    certificate: Path | None = None
    private_key: Path | None = None
    cache_megabytes: float = 64.0
    events: URL | None = None
    registry: Location | None = None

    @property
    def url(self) -> str:
        """Where the ingress answers."""
        host = "127.0.0.1" if self.host == "0.0.0.0" else self.host  # noqa: S104
        return f"http{'s' if self.certificate else ''}://{host}:{self.port}"


class Endpoint:
    """A running application."""

    def __init__(self, served: Served) -> None:
        self.url = served.url
        self.models = served.models
        self._served = served
        self._generation = 1

    def change_to(self, models: Models) -> None:
        """Other models from now on. Replicas load them beside those that answer, and lose no request.

        Raises:
            CheckpointError: one cannot be served; all is as it was.
        """
        replicas: DeploymentHandle[Any] = serve.get_deployment_handle(ModelReplica.name, NAME)  # type: ignore[attr-defined]
        try:
            replicas.check.remote(models).result()
        except RayTaskError as error:  # whatever it is; its own text is a traceback
            raise CheckpointError(str(error.cause)) from None
        _deploy(self._served, models, self._generation)
        self.models = models

    def renew(self) -> None:
        """Other processes from now on, of the code that is installed now. Each answers before one of the old ones ends,
        where the cluster has a processor for it; else one place at a time is empty for a while."""
        self._generation += 1
        _deploy(self._served, self.models, self._generation)


@contextmanager
def running(served: Served) -> Iterator[Endpoint]:
    """Ingress and replicas on the running Ray cluster, while the block lasts; gives them once they can answer.

    At the end requests that are being answered are finished first. In a cluster that outlives this process Ray Serve
    itself ends too, which else keeps the port, unless it serves others.

    Raises:
        SettingsError: the port is taken or Ray Serve has another one, the cluster has an endpoint already, the
            certificate cannot be used, traces cannot be made, or anybody could ask.
        CheckpointError: a model cannot be served.
    """
    check_guarded(served)
    tls = _tls(served)
    check_port(served.host, served.port)
    if NAME in serve.status().applications:
        raise SettingsError(
            "this Ray cluster serves demandcast already: end that first (Ctrl-C there, or serve shutdown)"
        )
    serve.start(
        http_options={"host": served.host, "port": served.port, **tls}, logging_config=LOGS, tracing_config=tracing()
    )
    try:
        try:
            _deploy(served, served.models, start=True)
        except RuntimeError:
            _check_loads(served.models)
            raise
        _check_answers(served)
        yield Endpoint(served)
    finally:
        serve.delete(NAME)
        if os.environ.get("RAY_ADDRESS") and not serve.status().applications:
            serve.shutdown()


def check_guarded(served: Served) -> None:
    """Raises SettingsError where others than this machine could ask without a key, and nobody said that they may."""
    haproxy = os.environ.get(HAPROXY) == "1"
    reached = haproxy or served.host not in LOOPBACK
    if reached and not (served.open or (served.keys and served.keys.wanted)):
        raise SettingsError(
            f"{f'with {HAPROXY}' if haproxy else f'on {served.host}'} anybody could ask: "
            "make a key (demandcast keys create NAME), or say --without-keys"
        )


def application(served: Served, models: Models, room: bool, generation: int = 1, start: bool = False) -> Application:
    """Ingress and replicas, as Ray Serve takes them.

    Args:
        room: whether the cluster has a processor for one more replica while all are replaced.
        generation: another one is other code, for which all processes are replaced.
        start: whether there are no replicas yet.
    """
    # Ray Serve otherwise takes every deployment for new code, and starts all replicas anew. Only its REST interface can
    # be told that nothing but the user_config has changed, and that takes all applications of a cluster as its own.
    options = {"version": str(generation), "_internal": True, "user_config": models.model_dump()}
    replicas = ModelReplica.options(  # type: ignore[attr-defined]
        **options,
        max_surge_percent=SURGE_PERCENT if room else 0,
        autoscaling_config=served.scaling.options(start),
    )
    ingress = Ingress.options(**options, max_surge_percent=SURGE_PERCENT)  # type: ignore[attr-defined]
    bound: Application = ingress.bind(
        replicas.bind(),
        served.keys,
        served.cache_megabytes,
        served.scaling.sleeps,
        served.events,
        served.registry,
        served.open,
    )
    return bound


def _deploy(served: Served, models: Models, generation: int = 1, start: bool = False) -> None:
    room = ray.available_resources().get("CPU", 0) >= 1
    serve.run(application(served, models, room, generation, start), name=NAME, route_prefix="/", logging_config=LOGS)


def _check_loads(models: Models) -> None:
    """Ray Serve tells that no replica started, not why; this does, in a process that ends with it.

    Raises:
        CheckpointError: a model cannot be served.
    """
    try:
        ray.get(ray.remote(num_cpus=0, max_calls=1)(check).remote(models))
    except RayTaskError as error:
        raise CheckpointError(str(error.cause)) from None


def _tls(served: Served) -> dict[str, str]:
    """Ray Serve's options."""
    if not served.certificate and not served.private_key:
        return {}
    if not served.certificate or not served.private_key:
        raise SettingsError("HTTPS needs both a certificate and its private key")
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(served.certificate, served.private_key)
    except OSError as error:  # an SSLError is one, too
        raise SettingsError(f"{served.certificate} and {served.private_key} cannot be used: {error}") from None
    return {"ssl_certfile": str(served.certificate), "ssl_keyfile": str(served.private_key)}


def _check_answers(served: Served) -> None:
    """Ray Serve takes a port when it starts, and keeps it for whatever it serves later."""
    try:
        # A certificate is for those who come from elsewhere, by its name.
        httpx.get(f"{served.url}/healthz", timeout=ANSWER_SECONDS, verify=False)  # noqa: S501
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
