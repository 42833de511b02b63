"""demandcast tune."""

from dataclasses import asdict
from typing import Annotated

import typer

from demand.errors import SettingsError
from demand.formats import FORMATS
from demand.locations import Location
from ray_app.commands.options import (
    PLACE,
    Customers,
    Cutoff,
    DataOrNone,
    Json,
    Name,
    Preset,
    Set,
    given,
    refuse_beside_resume,
)
from ray_app.output import console, emit, say

TRIALS = 8
TRIED = ("compact", "profile", "names")


def tune(
    context: typer.Context,
    data: DataOrNone = None,
    preset: Preset = "nano",
    trials: Annotated[
        int | None,
        typer.Option(
            min=1, help=f"Try so many configurations; {TRIALS} where no other budget is given.", show_default=False
        ),
    ] = None,
    hours: Annotated[float | None, typer.Option(min=0, help="End after so many hours.")] = None,
    epochs: Annotated[
        float | None, typer.Option(min=0, help="End once all trials together passed over the data so often.")
    ] = None,
    lr: Annotated[tuple[float, float], typer.Option(help="Lowest and highest learning rate.")] = (3e-4, 1e-2),
    prompt_format: Annotated[
        list[str] | None,
        typer.Option(help=f"Try this format ({', '.join(FORMATS)}). May be repeated; by default {', '.join(TRIED)}."),
    ] = None,
    space: Annotated[
        Location | None,
        typer.Option(help="YAML file: more settings to search, by name, each a list or {low, high, log}.", **PLACE),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(help="One more setting to search: --vary 'training.weight_decay=[0, 0.1]'. May be repeated."),
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(
            help="How configurations are chosen: tpe (Optuna, the default), random or grid.", show_default=False
        ),
    ] = None,
    stopping: Annotated[
        str,
        typer.Option(
            help="What is done with unpromising trials: asha and hyperband stop them, pbt copies better ones; or none."
        ),
    ] = "asha",
    objective: Annotated[
        list[str] | None,
        typer.Option(
            help="What is best, by validation: ndcg@10, loss, tokens_per_second, … May be repeated; by default ndcg@10."
        ),
    ] = None,
    warm_start: Annotated[str | None, typer.Option(help="Begin from an earlier sweep's results, by its name.")] = None,
    customers: Customers = None,
    cutoff: Cutoff = None,
    at_once: Annotated[int, typer.Option(min=1, help="Trials that run at the same time.")] = 2,
    resume: Annotated[str | None, typer.Option(help="Go on with a sweep that was stopped, by its name.")] = None,
    name: Name = "demand",
    set_: Set = None,
    json: Json = False,
) -> None:
    """Search learning rates, prompt formats and any other setting with Ray Tune.

    Unpromising trials are stopped early. The best trial's model is registered as challenger; the ranking lies in the
    sweep's folder as JSON and Parquet, with a report to look at. Ctrl-C stops a sweep; --resume SWEEP goes on.
    """
    from ray_app import jobs
    from ray_app.home import Home, fresh_name
    from tuning.live import ranking_table
    from tuning.plan import SweepPlan

    home = Home.here()
    if resume:
        refuse_beside_resume(context)
        sweep_name = resume
        sweep = jobs.saved_plan(SweepPlan, home.sweeps / f"{sweep_name}.json")
        if "name" in given(context):
            sweep = sweep.model_copy(update={"plan": sweep.plan.model_copy(update={"name": name})})
    elif data:
        from ray_app.presets import load_settings, load_space

        sweep_name = fresh_name("sweep")
        standing = {
            "training.learning_rate": {"low": lr[0], "high": lr[1], "log": True},
            "prompt.name": prompt_format or [*TRIED],
        }
        if search != "grid" and not (trials or hours or epochs):
            trials = TRIALS
        sweep = jobs.make_sweep(
            plan=jobs.make_plan(data, load_settings(preset, set_ or []), cutoff, customers, 1, home, name=name),
            space=load_space(standing, space, vary or []),
            trials=trials,
            hours=hours,
            epochs=epochs,
            search=search or ("random" if stopping == "pbt" else "tpe"),
            stopping=stopping,
            objectives=objective or ["ndcg@10"],
            warm_start=warm_start,
            at_once=at_once,
        )
    else:
        raise SettingsError("give --data FOLDER, or --resume SWEEP")
    say(f"sweep {sweep_name}")
    try:
        version, metrics, trials_ranked = jobs.tune(sweep, sweep_name, home, console)
    except KeyboardInterrupt:
        say(f"stopped: go on with 'demandcast tune --resume {sweep_name}'")
        raise
    console.print(ranking_table(trials_ranked, sweep.objectives))
    say(f"{version} is the best trial's model, now challenger")
    say(f"report: {home.sweeps / sweep_name / jobs.REPORT}")
    keys = ("id", "state", "config", "metrics")
    listed = [{key: asdict(trial)[key] for key in keys} for trial in trials_ranked]
    emit({"model": str(version), "run": sweep_name, "metrics": metrics, "trials": listed, "sweep": sweep_name}, json)
