"""The work behind the commands: each function does one stage and returns what the command prints."""

from typing import Any

from pydantic import ValidationError
from ray.train import Result
from rich.console import Console

from demand.dataset import Dataset
from demand.errors import DataError, SettingsError, StoppedRunError
from demand.locations import Location, absolute, location, write_text
from demand.protocols import protocol as by_name
from modeling.checkpoint import load_checkpoint
from modeling.registry import CHALLENGER, SWEEPS, TRAINING, ModelVersion, Registry
from ray_app.bases import registered_base
from ray_app.cluster import connect
from ray_app.home import Home
from ray_app.reports.sweep import sweep_page
from training.completion import finish
from training.progress import ProgressBar
from training.run import Plan, best, fit, last, prepare, refitted
from training.settings import Settings
from tuning.live import LiveTable
from tuning.plan import SweepPlan, Trial
from tuning.population import check_population
from tuning.results import save_ranking, saved_ranking
from tuning.sweep import run_sweep

REPORT = "report.html"
RANKING_METRICS = ("precision@10", "ndcg@10", "ndcg@20", "recall@10", "recall@20", "hit@10")


def make_plan(
    data: Location,
    settings: Settings,
    cutoff: str | None,
    customers: int | None,
    workers: int,
    home: Home,
    protocol: str = "cutoff",
    name: str = "demand",
) -> Plan:
    """A plan on a dataset folder; without a cutoff the dataset's default one.

    Raises:
        DataError: the folder is no dataset, or the cutoff no date.
        SettingsError: there is no such protocol, or it has no cutoff.
        ModelNotFoundError, CheckpointError: the base model is not there, or damaged.
    """
    dataset = Dataset.open(data)
    chosen = by_name(protocol, dataset, cutoff)
    base = None
    if settings.base:
        version = registered_base(settings.base, home)
        base = location(version.checkpoint)
        pretrained = load_checkpoint(base)
        if settings.privacy.epsilon and "data" in pretrained.card:
            learned = f"what {version} has learned of customers"
            raise SettingsError(f"privacy.epsilon promises nothing of {learned}: leave out base")
        # An alias moves; what a model learned from must be known for as long as there is the model.
        settings = settings.model_copy(update={"base": str(version), "model": pretrained.settings})
    return Plan(
        data=absolute(data),
        name=name,
        content_hash=dataset.content_hash,
        settings=settings,
        base=base,
        protocol=chosen,
        customers=customers,
        workers=workers,
    )


def make_sweep(**fields: Any) -> SweepPlan:
    """A sweep from what people gave.

    Raises:
        SettingsError: a value does not fit, or the sweep cannot be run as it is.
    """
    try:
        sweep = SweepPlan.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise SettingsError(f"--{option} {first['input']}: {first['msg'].lower()}") from None
    sweep.check()
    if sweep.stopping == "pbt":
        check_population(sweep)
    return sweep


def train(plan: Plan, run: str, home: Home, console: Console) -> tuple[ModelVersion, dict[str, Any]]:
    """Trains, or goes on with, a run, registers its model and returns the version and its validation metrics; of a run
    that came to its end before, what it made then.

    Raises:
        DataError: the data is not, or is no longer, what the run began with.
        StoppedRunError: it could not go on; the message says how to resume it.
    """
    if made := _made(plan, home.models / run, home):
        return made, dict(made.metrics or {})
    return _train(plan, run, home, console)


def _train(plan: Plan, run: str, home: Home, console: Console) -> tuple[ModelVersion, dict[str, Any]]:
    plan.dataset()  # as the run began with it; rather now than when a cluster stands
    save_plan(plan, home.runs / f"{run}.json")
    connect()
    private = plan.settings.privacy.epsilon is not None
    refit = None
    try:
        checkpoint, metrics = best(_fitted(plan, run, home, console), home.runs, private)
        if plan.settings.training.refit:
            again = refitted(plan, metrics)
            console.print(f"training again for {again.settings.training.epochs} epochs, validation orders too")
            refit = last(_fitted(again, f"{run}-refit", home, console), home.runs)
    except StoppedRunError as error:
        raise StoppedRunError(f"{error} (demandcast train --resume {run})") from None
    return register(plan, run, checkpoint, metrics, home, console, refit)


def _fitted(plan: Plan, run: str, home: Home, console: Console) -> Result:
    with console.status("rendering prompts"):
        prepared = prepare(plan)
    account, steps = prepared.job.account, prepared.job.total_steps
    of = f"{plan.settings.training.microbatches} microbatches"
    if account:
        of = f"{account.customers_per_step} customers, with noise of {account.noise:.2f} clips"
    console.print(f"training: {steps} steps of {of}, {plan.workers} worker{'s' if plan.workers > 1 else ''}")
    with ProgressBar(console, "training") as bar:
        return fit(prepared, run, home.runs, board=bar.board)


def tune(sweep: SweepPlan, name: str, home: Home, console: Console) -> tuple[ModelVersion, dict[str, Any], list[Trial]]:
    """Runs, or goes on with, a sweep and registers the best trial's model as challenger.

    Raises:
        DataError: no trial came to a result, or there is no sweep to begin from.
    """
    sweep.plan.dataset()
    past = saved_ranking(home.sweeps / sweep.warm_start) if sweep.warm_start else []
    save_plan(sweep, home.sweeps / f"{name}.json")
    connect(dashboard=True)
    trials = run_sweep(sweep, name, home.sweeps, [LiveTable(sweep)], past)
    save_ranking(trials, home.sweeps / name)
    winner = trials[0]
    if winner.checkpoint is None:
        raise DataError(f"no trial of {name} came to a result: see {home.sweeps / name}")
    settings = sweep.plan.settings.with_values(winner.config)
    plan = sweep.plan.model_copy(update={"settings": settings})
    run = f"{name}-{winner.id}"
    if made := _made(plan, home.models / run, home):
        return made, dict(made.metrics or {}), trials
    registry = Registry(home.folder)
    searched = {"trials": len(trials), "search": sweep.search, "stopping": sweep.stopping, **sweep.space.model_dump()}
    parent = registry.log_run(SWEEPS, name, searched, ranked(winner.metrics))
    for trial in trials:
        registry.log_run(SWEEPS, trial.id, trial.config, ranked(trial.metrics), parent=parent)
    version, metrics = register(plan, run, location(winner.checkpoint), dict(winner.metrics), home, console)
    version = registry.promote(str(version), CHALLENGER)
    with console.status("writing the report"):
        sweep_page(name, sweep, trials).write(home.sweeps / name / REPORT)
    return version, metrics, trials


def _made(plan: Plan, folder: Location, home: Home) -> ModelVersion | None:
    """The version of the plan's name that has its checkpoint in a folder, which only a run that ended has."""
    if not Registry.exists(home.folder):
        return None
    versions = Registry(home.folder).versions()
    return next((each for each in versions if (each.name, each.checkpoint) == (plan.name, str(folder))), None)


def register(
    plan: Plan,
    run: str,
    checkpoint: Location,
    metrics: dict[str, Any],
    home: Home,
    console: Console,
    refit: Location | None = None,
) -> tuple[ModelVersion, dict[str, Any]]:
    """Calibrates a trained checkpoint and adds it, or what was trained again in its place, to the registry."""
    folder = home.models / run
    with console.status("calibrating"):
        card = finish(plan, run, checkpoint, metrics, folder, refit)
    registry = Registry(home.folder)
    parameters = {
        "data": card["data"]["content_hash"],
        "data.source": card["data"]["source"],
        "trained_before": card["trained_before"],
        "prompt_format": plan.settings.prompt.name,
        **{f"training.{key}": value for key, value in plan.settings.training.model_dump().items()},
        **{f"model.{key}": value for key, value in plan.settings.model.model_dump().items()},
    }
    run_id = registry.log_run(TRAINING, run, parameters, ranked(metrics))
    return registry.register(plan.name, folder, run_id, ranked(metrics)), ranked(metrics)


def ranked(metrics: Any) -> dict[str, float]:
    """The metrics that are worth keeping with a model."""
    return {name: float(metrics[name]) for name in (*RANKING_METRICS, "loss") if name in metrics}


def save_plan(plan: Plan | SweepPlan, file: Location) -> None:
    """Keeps a plan beside its run, so that --resume finds it."""
    write_text(file, plan.model_dump_json(indent=2))


def saved_plan(kind: type[Plan] | type[SweepPlan], file: Location) -> Any:
    """The inverse of save_plan.

    Raises:
        DataError: there is no run or sweep of that name, or another version of demandcast began it.
    """
    if not file.is_file():
        known = ", ".join(sorted(each.stem for each in file.parent.glob("*.json"))) or "none"
        raise DataError(f"nothing to resume called '{file.stem}': known are {known}")
    try:
        return kind.model_validate_json(file.read_text())
    except ValidationError:
        raise DataError(
            f"{file.stem} was begun by another version of demandcast, which alone can go on with it"
        ) from None
