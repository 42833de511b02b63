"""The registry: MLflow keeps runs, model versions and the aliases champion and challenger."""

import json
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from demand.errors import ModelNotFoundError, SettingsError
from demand.locations import Location
from demand.moments import iso

SERVER, FILE = "MLFLOW_TRACKING_URI", "mlflow.db"
CHAMPION = "champion"
CHALLENGER = "challenger"
PREVIOUS = "previous"
"""The alias that remembers the last champion, for `rollback`."""
ERASED = "erased."
"""How tags begin that count customers who were erased since a model learned from them."""
SWEEPS, TRAINING = "sweeps", "training"
"""Experiments: a sweep and its trials, and the runs that models come from."""
PARENT_TAG = "mlflow.parentRunId"
"""The tag of a trial that names its sweep, as MLflow's own pages read it."""
SHARE = "share"
MOST_DIGITS = 9
"""Of a version; a registry's database holds no longer ones."""
NOT_FOUND = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""MLflow's words for a model or version that there is not, and for an alias."""


@dataclass(frozen=True)
class ModelVersion:
    """A registered model: `name@version` and the folder of its checkpoint.

    Attributes:
        erased: customers whom it learned from and who were erased since.
        share: of the customers, its own as long as it is challenger, where an endpoint is told no other share.
    """

    name: str
    version: int
    checkpoint: str
    aliases: tuple[str, ...] = ()
    run_id: str | None = None
    metrics: Mapping[str, float] | None = None
    erased: int = 0
    created: str = ""
    share: float = 0.0

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class LoggedRun:
    """What was recorded of a run: settings as text, metrics, when, and the run of the sweep that it is a trial of."""

    run_id: str
    name: str
    recorded: str
    parameters: Mapping[str, str]
    metrics: Mapping[str, float]
    parent: str | None = None


class Registry:
    """Runs and model versions, in a SQLite file of the state folder or at MLFLOW_TRACKING_URI."""

    def __init__(self, home: Location) -> None:
        """Raises SettingsError where the state folder, being remote, cannot hold the file."""
        os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        for library in ("alembic", "mlflow"):
            logging.getLogger(library).setLevel(logging.WARNING)
        from mlflow import MlflowClient

        uri = os.environ.get(SERVER) or _made_in(home)
        self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)

    @staticmethod
    def exists(home: Location) -> bool:
        """Whether there is one to look at; making a Registry would make it."""
        return bool(os.environ.get(SERVER)) or (isinstance(home, Path) and (home / FILE).is_file())

    def log_run(
        self,
        experiment: str,
        name: str,
        parameters: Mapping[str, Any],
        metrics: Mapping[str, float],
        parent: str | None = None,
    ) -> str:
        """Records a finished run, with the version of this code, and returns its id."""
        from mlflow.entities import Metric, Param

        found = self._client.get_experiment_by_name(experiment)
        experiment_id = found.experiment_id if found else self._client.create_experiment(experiment)
        run = self._client.create_run(experiment_id, run_name=name, tags=_code_version())
        run_id = str(run.info.run_id)
        if parent:
            self._client.set_tag(run_id, PARENT_TAG, parent)
        now = int(time.time() * 1000)
        self._client.log_batch(
            run_id,
            params=[Param(key, str(value)[:6000]) for key, value in parameters.items()],
            metrics=[Metric(key.replace("@", "_at_"), float(value), now, 0) for key, value in metrics.items()],
        )
        self._client.set_terminated(run_id)
        return run_id

    def register(
        self, name: str, checkpoint: Location | str, run_id: str | None, metrics: Mapping[str, float]
    ) -> ModelVersion:
        """A new version of a model that points at a checkpoint folder; a model's first version is its champion."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        made = self._client.create_model_version(
            name, str(checkpoint), run_id=run_id, tags={"metrics": json.dumps(dict(metrics))}
        )
        version = f"{name}@{made.version}"
        return self.promote(version) if int(made.version) == 1 else self.resolve(version)

    def resolve(self, model: str) -> ModelVersion:
        """NAME@ALIAS or NAME@VERSION; a bare NAME means its champion.

        Raises:
            ModelNotFoundError: there is none.
        """
        from mlflow.exceptions import MlflowException

        name, _, which = model.partition("@")
        which = which or CHAMPION
        try:
            if which.isdecimal() and len(which) <= MOST_DIGITS:
                found = self._client.get_model_version(name, which)
            else:
                found = self._client.get_model_version_by_alias(name, which)
        except MlflowException as error:
            if error.error_code not in NOT_FOUND:  # a server that is away, say, which does not tell what it knows
                raise
            raise ModelNotFoundError(f"no model '{name}@{which}': see 'demandcast models list'") from None
        return self._version(found)

    def versions(self) -> list[ModelVersion]:
        """Every version of every model, newest first within a model."""
        found: list[ModelVersion] = []
        token = None
        while token != "":
            page = self._client.search_model_versions(max_results=1_000, page_token=token)
            found += map(self._version, page)
            token = page.token or ""
        return sorted(found, key=lambda each: (each.name, -each.version))

    def latest(self, most: int) -> list[ModelVersion]:
        """The versions registered last, of all models, newest first."""
        page = self._client.search_model_versions(max_results=most, order_by=["creation_timestamp DESC"])
        return list(map(self._version, page))

    def runs(self, experiment: str, most: int) -> list[LoggedRun]:
        """What `log_run` recorded last, newest first; none where there is no such experiment."""
        found = self._client.get_experiment_by_name(experiment)
        if not found:
            return []
        newest_first = ["attributes.start_time DESC"]
        runs = self._client.search_runs([found.experiment_id], max_results=most, order_by=newest_first)
        return [
            LoggedRun(
                run_id=str(run.info.run_id),
                name=str(run.info.run_name),
                recorded=iso(run.info.start_time * 1_000),
                parameters=dict(run.data.params),
                metrics={key.replace("_at_", "@"): float(value) for key, value in run.data.metrics.items()},
                parent=run.data.tags.get(PARENT_TAG),
            )
            for run in runs
        ]

    def promote(self, model: str, alias: str = CHAMPION) -> ModelVersion:
        """Moves an alias to a model; the champion before it becomes `previous`."""
        version = self.resolve(model)
        if alias == CHAMPION:
            try:
                current = self.resolve(f"{version.name}@{CHAMPION}")
            except ModelNotFoundError:
                current = version
            if current.version != version.version:
                self._client.set_registered_model_alias(version.name, PREVIOUS, str(current.version))
        self._client.set_registered_model_alias(version.name, alias, str(version.version))
        return self.resolve(f"{version.name}@{version.version}")

    def challenge(self, model: str, share: float) -> ModelVersion:
        """Makes a model challenger, for a share of the customers."""
        version = self.resolve(model)
        self._client.set_model_version_tag(version.name, str(version.version), SHARE, str(share))
        return self.promote(model, CHALLENGER)

    def rollback(self, name: str) -> ModelVersion:
        """Makes the champion before the present one champion again.

        Raises:
            ModelNotFoundError: there was none.
        """
        return self.promote(f"{name}@{PREVIOUS}")

    def drop(self, name: str) -> ModelVersion:
        """Takes the challenger's alias away, and returns who had it.

        Raises:
            ModelNotFoundError: there is no challenger.
        """
        challenger = self.resolve(f"{name}@{CHALLENGER}")
        self._client.delete_registered_model_alias(name, CHALLENGER)
        return challenger

    def mark_erased(self, version: ModelVersion, occasion: str, customers: int) -> None:
        """Counts customers who were erased since a model learned from them; for one occasion once, however often."""
        self._client.set_model_version_tag(version.name, str(version.version), f"{ERASED}{occasion}", str(customers))

    def _version(self, found: Any) -> ModelVersion:
        model = self._client.get_registered_model(found.name)
        aliases = tuple(sorted(alias for alias, version in model.aliases.items() if str(version) == str(found.version)))
        metrics = json.loads(found.tags.get("metrics", "{}"))
        erased = sum(int(count) for name, count in found.tags.items() if name.startswith(ERASED))
        created = iso(found.creation_timestamp * 1_000)
        return ModelVersion(
            found.name,
            int(found.version),
            found.source,
            aliases,
            found.run_id,
            metrics,
            erased=erased,
            created=created,
            share=float(found.tags.get(SHARE, 0)),
        )


def _made_in(home: Location) -> str:
    if not isinstance(home, Path):
        raise SettingsError(f"the registry cannot lie in {home}: name a server or a database by {SERVER}")
    home.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{home.resolve()}/{FILE}"


def _code_version() -> dict[str, str]:
    """Tags that name the installed version and, in a checkout, its commit."""
    from mlflow.utils.git_utils import get_git_commit

    commit = get_git_commit(str(Path(__file__).parent))
    tags = {"demandcast.version": metadata.version("demandcast")}
    return {**tags, "mlflow.source.git.commit": commit} if commit else tags
