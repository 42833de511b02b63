"""What the registry knows: model versions and sweeps with their quality, for those who look after them."""

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import Mapping

from pydantic import BaseModel, Field

from demand.locations import Location
from modeling.registry import SWEEPS, TRAINING, LoggedRun, Registry
from serving.problems import Problem

MOST_VERSIONS, MOST_RUNS = 100, 1_000
"""That one answer tells of: the newest, and of their runs and trials."""
KEPT_SECONDS = 5.0
READ_SECONDS = 15.0


class RegisteredVersion(BaseModel):
    name: str
    version: int
    aliases: list[str]
    created: str = Field(description="when it was registered")
    metrics: dict[str, float] = Field(description="of the validation period")
    run: str | None = Field(description="name of the run that it comes from")
    settings: dict[str, str] = Field(description="of that run, its data among them; none where nobody recorded it")


class Trial(BaseModel):
    name: str
    settings: dict[str, str]
    metrics: dict[str, float]


class Sweep(BaseModel):
    name: str
    recorded: str
    settings: dict[str, str] = Field(description="what was searched, and how")
    metrics: dict[str, float] = Field(description="of the best trial")
    trials: list[Trial]


class RegisteredResponse(BaseModel):
    """The newest versions of all models, and the newest sweeps, newest first."""

    models: list[RegisteredVersion] = Field(max_length=MOST_VERSIONS)
    sweeps: list[Sweep]


class Registered:
    """Reads the registry in a thread, never twice at a time, and keeps what it found for a few seconds."""

    def __init__(self, home: Location | None) -> None:
        """`home`: the state folder, as for `modeling.registry.Registry`; None where this endpoint has no registry."""
        self._home = home
        self._reading: asyncio.Task[RegisteredResponse] | None = None
        self._read_at = 0.0

    async def response(self) -> RegisteredResponse:
        """What it knows.

        Raises:
            Problem: there is no registry here, or it does not answer.
        """
        if self._home is None or not Registry.exists(self._home):
            raise Problem(404, "this endpoint has no registry: 'demandcast serve' and MLFLOW_TRACKING_URI give it one")
        old = self._reading and self._reading.done() and time.monotonic() - self._read_at > KEPT_SECONDS
        if self._reading is None or old:
            self._reading = asyncio.create_task(asyncio.to_thread(read, self._home))
            self._read_at = time.monotonic()
        reading = self._reading
        try:
            return await asyncio.wait_for(asyncio.shield(reading), READ_SECONDS)
        except Exception as error:  # MLflow's, a database's, or those of a connection
            if reading.done() and self._reading is reading:
                self._reading = None
            raise Problem(503, f"the registry does not answer ({type(error).__name__})") from None


def read(home: Location) -> RegisteredResponse:
    """What the registry of a state folder knows."""
    registry = Registry(home)
    runs = {each.run_id: each for each in registry.runs(TRAINING, MOST_RUNS)}
    versions = []
    for each in registry.latest(MOST_VERSIONS):
        run = runs.get(each.run_id or "")
        versions.append(
            RegisteredVersion(
                name=each.name,
                version=each.version,
                aliases=list(each.aliases),
                created=each.created,
                metrics=_finite(each.metrics or {}),
                run=run.name if run else None,
                settings=dict(run.parameters) if run else {},
            )
        )
    return RegisteredResponse(models=versions, sweeps=_sweeps(registry.runs(SWEEPS, MOST_RUNS)))


def _sweeps(runs: list[LoggedRun]) -> list[Sweep]:
    trials = defaultdict(list)
    for run in runs:
        if run.parent:
            trials[run.parent].append(Trial(name=run.name, settings=dict(run.parameters), metrics=_finite(run.metrics)))
    return [
        Sweep(
            name=run.name,
            recorded=run.recorded,
            settings=dict(run.parameters),
            metrics=_finite(run.metrics),
            trials=trials[run.run_id],
        )
        for run in runs
        if not run.parent
    ]


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Without those that JSON cannot say, of trials that went astray."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
