"""demandcast serve."""

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
    json: Json = False,
) -> None:
    """Answer predictions over HTTP until Ctrl-C. The interactive documentation is at /docs."""
    import ray

    from modeling.checkpoint import load_checkpoint
    from modeling.registry import Registry
    from ray_app.cluster import connect
    from ray_app.home import Home
    from serving.application import Served, running

    version = Registry(Home.here().folder).resolve(model)
    load_checkpoint(version.checkpoint)  # a damaged one is refused before anything starts
    connect()
    most = max_replicas or max(int(ray.cluster_resources().get("CPU", 1)), min_replicas)
    served = Served(version.checkpoint, version.name, version.version, host, port, min_replicas, most)
    with running(served) as url:
        say(f"serving {version} at {url} (documentation: {url}/docs; Ctrl-C stops)")
        emit({"model": str(version), "url": url}, json)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            say("stopping")
