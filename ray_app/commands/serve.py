"""demandcast serve: the registry's champion over HTTP, whichever it is."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from demand.errors import CheckpointError, DemandError, ModelNotFoundError, SettingsError
from ray_app.commands.options import DEFAULT_URL, EVENTS, KEY, Events, Json, Model, Url, refuse_others
from ray_app.output import console, emit, say

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from modeling.registry import Registry
    from ray_app.home import Home
    from serving.application import Endpoint
    from serving.keys import Keys
    from serving.models import Models

WATCH_SECONDS = 2.0
app = typer.Typer(no_args_is_help=False)


@app.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    model: Model = "demand@champion",
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    min_replicas: Annotated[
        int, typer.Option(min=0, help="Replicas that always run; with 0 none does where nobody asks.")
    ] = 1,
    max_replicas: Annotated[int | None, typer.Option(min=1, help="Most replicas; by default one a processor.")] = None,
    replica_requests: Annotated[
        float, typer.Option(min=0.1, help="Requests at once for which one replica is enough.")
    ] = 16.0,
    up_seconds: Annotated[float, typer.Option(min=0, help="With more requests for so long, a replica starts.")] = 10.0,
    down_seconds: Annotated[float, typer.Option(min=0, help="With fewer for so long, one ends.")] = 300.0,
    challenger_share: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Share of the customers whom NAME@challenger answers; by default what 'watch' gave it, or none.",
        ),
    ] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="PEM file: speak HTTPS, with --tls-key.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file of the certificate's private key.")] = None,
    without_keys: Annotated[
        bool, typer.Option("--without-keys", help="Let others than this machine ask without a key.")
    ] = False,
    cache_megabytes: Annotated[
        float, typer.Option(min=0, help="Of answers kept for who asks the very same again; 0 keeps none.")
    ] = 64.0,
    events: Events = None,
    json: Json = False,
) -> None:
    """Answer predictions over HTTP until Ctrl-C. A page to look at is at /console, interactive documentation at /docs.

    Where the alias moves (models promote, rollback, drop), the replicas change over without losing a request. SIGHUP
    replaces all processes, one after the other, by those of the code that is installed now.

    Keys (demandcast keys create, or DEMANDCAST_API_KEYS) are asked for as soon as there are any.
    """
    if context.invoked_subcommand:
        refuse_others(context, (), f"these start an endpoint, and '{context.invoked_subcommand}' asks one that runs")
        return
    from modeling.checkpoint import load_checkpoint
    from modeling.registry import Registry
    from ray_app.cluster import connect
    from ray_app.home import Home
    from serving.application import Served, running
    from serving.scaling import Scaling
    from serving.tracing import environment_of_proxies
    from training.resources import offered

    home = Home.here()
    keys = keys_of(home)
    log = log_of(home, events)
    registry = Registry(home.folder)
    models = chosen(registry, model, challenger_share)
    for each in models.all:
        load_checkpoint(each.checkpoint)  # a damaged one is refused before anything starts
    connect(dashboard=True, environment=environment_of_proxies())  # where Prometheus reads of the nodes
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: Ray would end with a trace of itself
    most = max_replicas or max(offered("CPU"), min_replicas, 1)
    scaling = Scaling(min_replicas, most, replica_requests, up_seconds, down_seconds)
    served = Served(
        models, keys, host, port, scaling, without_keys, tls_certificate, tls_key, cache_megabytes, log, home.folder
    )
    with running(served) as endpoint:
        renewal = threading.Event()
        signal.signal(signal.SIGHUP, lambda *_: renewal.set())
        try:
            say(f"serving {_names(models)} at {endpoint.url} (/console to look, /docs to read; Ctrl-C stops)")
            emit({"model": str(models.champion), "url": endpoint.url}, json)
            for news in _news(endpoint, registry, model, challenger_share, renewal):
                say(news)
                emit({"model": str(endpoint.models.champion), "url": endpoint.url}, json)
        except KeyboardInterrupt:
            say("stopping")


@app.command()
def status(url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Models, replicas and load of a running endpoint. Keys: DEMANDCAST_API_KEY, of the scope admin.

    Of each model: what it answered since the ingress started, and how much of what was shown was bought, as the
    applications tell (POST /v1/outcomes), with the 95 % interval of that share.
    """
    import httpx

    from serving.client import Client, PredictError

    try:
        with Client(url, os.environ.get(KEY), retries=1) as client:
            found = client.status()
    except (PredictError, httpx.HTTPError, httpx.InvalidURL) as error:
        raise DemandError(f"no status from {url} ({error})") from None
    replicas = ", ".join(f"{count} {state.lower()}" for state, count in found.replicas.items()) or "none"
    say(f"{found.status.lower()}; replicas: {replicas}; requests now: {found.ongoing}")
    table = Table("model", "prompt format", "customers", "answers", "failures", "mean ms", "shown", "bought of it")
    for each in found.models:
        mean = f"{each.seconds / each.answers * 1e3:.0f}" if each.answers else ""
        counts = f"{each.answers:,}", f"{each.failures:,}", mean, f"{each.shown:,}"
        name = f"{each.name}@{each.version}"
        table.add_row(name, each.prompt_format, f"{each.share:.0%}", *counts, _share(each.bought, each.shown))
    if found.models:
        console.print(table)
    emit(found.model_dump(), json)


def _share(bought: int, shown: int) -> str:
    """With its 95 % interval, by Wilson's formula."""
    if not shown:
        return ""
    from scipy.stats import binomtest

    interval = binomtest(bought, shown).proportion_ci(method="wilson")
    return f"{bought / shown:.1%} ({interval.low:.1%}-{interval.high:.1%})"


def keys_of(home: "Home") -> "Keys":
    """Those of the state folder, where it can hold a file of them, and of the environment."""
    from serving.keys import ENVIRONMENT, KeyFile, Keys

    return Keys(KeyFile(home.keys) if home.keys else None, os.environ.get(ENVIRONMENT, ""))


def log_of(home: "Home", events: str | None) -> "URL | None":
    """Where the log of events is, if there is one: as said, as the environment says, or a file of the state folder.

    Raises:
        SettingsError: it is no place for a log, or a password was said where every process can read it.
    """
    from demand.events.log import log_url

    said = log_url(events) if events else None
    if said and said.password:
        raise SettingsError(f"others on this machine can read a password in --events: give the URL by {EVENTS}")
    default = os.environ.get(EVENTS) or home.events
    return said or (log_url(str(default)) if default else None)


def chosen(registry: "Registry", model: str, challenger_share: float | None) -> "Models":
    """What the registry names now; without a share the challenger has that which the registry says.

    Raises:
        ModelNotFoundError: there is no such model.
    """
    from modeling.registry import CHALLENGER
    from serving.models import ModelReference, Models

    champion = registry.resolve(model)
    alone = Models(champion=ModelReference.of(champion))
    try:
        challenger = registry.resolve(f"{champion.name}@{CHALLENGER}")
    except ModelNotFoundError:
        return alone
    share = challenger.share if challenger_share is None else challenger_share
    if not share or challenger.version == champion.version:
        return alone
    return Models(champion=alone.champion, challenger=ModelReference.of(challenger), share=share)


def _news(
    endpoint: "Endpoint", registry: "Registry", model: str, challenger_share: float | None, renewal: threading.Event
) -> Iterator[str]:
    """Changes over whenever the registry names other models, renews all processes when that is wanted, and says so.
    What cannot be served is tried once."""
    refused, said = None, ""
    while True:
        time.sleep(WATCH_SECONDS)
        try:
            if renewal.is_set():
                renewal.clear()
                endpoint.renew()
                yield f"serving {_names(endpoint.models)} from new processes"
            models = chosen(registry, model, challenger_share)
            if models == endpoint.models:
                refused = None
            if models in (endpoint.models, refused):
                continue
            endpoint.change_to(models)
            news = f"serving {_names(models)}"
        except CheckpointError as error:
            refused, news = models, f"still serving {_names(endpoint.models)}: {error}"
        except Exception as error:  # a registry that is out of reach ends nothing that is served
            news = f"still serving {_names(endpoint.models)}: {type(error).__name__}: {error}"
        if news != said:
            yield news
            said = news


def _names(models: "Models") -> str:
    if models.challenger:
        return f"{models.champion}, and {models.challenger} for {models.share:.0%} of the customers"
    return str(models.champion)
