"""demandcast serve."""

import os
import time
from typing import Annotated

import typer

from ray_app.commands.options import Json, Model
from ray_app.output import emit, say


def serve(
    model: Model = "demand@champion",
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    min_replicas: Annotated[int, typer.Option(min=1, help="Replicas that always run.")] = 1,
    max_replicas: Annotated[int | None, typer.Option(min=1, help="Most replicas; by default one a processor.")] = None,
    without_keys: Annotated[
        bool, typer.Option("--without-keys", help="Let others than this machine ask without a key.")
    ] = False,
    json: Json = False,
) -> None:
    """Answer predictions over HTTP until Ctrl-C. The interactive documentation is at /docs.

    Keys (demandcast keys create, or DEMANDCAST_API_KEYS) are asked for as soon as there are any.
    """
    import ray

    from modeling.checkpoint import load_checkpoint
    from modeling.registry import Registry
    from ray_app.cluster import connect
    from ray_app.home import Home
    from serving.application import Served, running
    from serving.keys import ENVIRONMENT, KeyFile, Keys

    home = Home.here()
    keys = Keys(KeyFile(home.keys), os.environ.get(ENVIRONMENT, ""))
    version = Registry(home.folder).resolve(model)
    load_checkpoint(version.checkpoint)  # a damaged one is refused before anything starts
    connect()
    most = max_replicas or max(int(ray.cluster_resources().get("CPU", 1)), min_replicas)
    served = Served(
        version.checkpoint, version.name, version.version, keys, host, port, min_replicas, most, without_keys
    )
    with running(served) as url:
        say(f"serving {version} at {url} (documentation: {url}/docs; Ctrl-C stops)")
        emit({"model": str(version), "url": url}, json)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            say("stopping")
