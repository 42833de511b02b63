"""The endpoint where KubeRay's RayService starts it: Ray Serve builds the application from its configuration.

No process of ours runs beside it, so it does not follow the registry as `demandcast serve` does: which models answer is
settled when the application is built. Other arguments build it anew, and replace its processes one after the other.
"""

import os

from pydantic import BaseModel, ConfigDict, Field
from ray.serve import Application

from demand.events.log import log_url
from modeling.checkpoint import load_checkpoint
from modeling.registry import Registry
from ray_app.commands.options import EVENTS
from ray_app.commands.serve import chosen, keys_of
from ray_app.home import Home
from serving.application import Served, check_guarded
from serving.application import application as bind
from serving.scaling import Scaling

EVERYWHERE = "0.0.0.0"  # noqa: S104
"""Ray Serve listens so that a Kubernetes service can reach it."""


class Arguments(BaseModel):
    """What `args` of the application holds, as the options of `demandcast serve` mean it.

    Attributes:
        scaling: it must be said, for a cluster that grows has no number of processors to begin with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scaling: Scaling
    model: str = "demand@champion"
    challenger_share: float = Field(default=0.0, ge=0, le=1)
    without_keys: bool = False
    cache_megabytes: float = Field(default=64.0, ge=0)


def application(arguments: Arguments) -> Application:
    """What `import_path` names.

    Raises:
        ModelNotFoundError: there is no such model.
        CheckpointError: one is damaged.
        SettingsError: anybody could ask.
    """
    home = Home.here()
    models = chosen(Registry(home.folder), arguments.model, arguments.challenger_share)
    for each in models.all:
        load_checkpoint(each.checkpoint)
    served = Served(
        models,
        keys_of(home),
        EVERYWHERE,
        scaling=arguments.scaling,
        open=arguments.without_keys,
        cache_megabytes=arguments.cache_megabytes,
        # A pod's disk is no place for a log.
        events=log_url(log) if (log := os.environ.get(EVENTS)) else None,
        registry=home.folder,
    )
    check_guarded(served)
    return bind(served, models, room=True)
