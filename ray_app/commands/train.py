"""demandcast train."""

from pathlib import Path
from typing import Annotated

import typer

from demand.errors import SettingsError
from ray_app.commands.options import Customers, Cutoff, Json, Name, Preset, Set, Workers
from ray_app.output import console, emit, say


def train(
    data: Annotated[Path | None, typer.Option(help="Dataset folder, as 'demandcast data import' makes it.")] = None,
    preset: Preset = "nano",
    cutoff: Cutoff = None,
    customers: Customers = None,
    workers: Workers = 1,
    resume: Annotated[str | None, typer.Option(help="Go on with a run that was stopped, by its name.")] = None,
    name: Name = "demand",
    set_: Set = None,
    json: Json = False,
) -> None:
    """Fine-tune a model with Ray Train and register it.

    Ctrl-C stops a run; --resume RUN goes on from its last checkpoint, with the settings it began with.
    """
    from ray_app import jobs
    from ray_app.home import Home, fresh_name
    from ray_app.presets import load_settings
    from training.run import Plan

    home = Home.here()
    if resume:
        run = resume
        plan = jobs.saved_plan(Plan, home.runs / f"{run}.json")
    elif data:
        run = fresh_name("train")
        plan = jobs.make_plan(data, load_settings(preset, set_ or []), cutoff, customers, workers, home)
    else:
        raise SettingsError("give --data FOLDER, or --resume RUN")
    say(f"run {run}")
    try:
        version, metrics = jobs.train(plan, run, name, home, console)
    except KeyboardInterrupt:
        say(f"stopped: go on with 'demandcast train --resume {run}'")
        raise
    say(f"{version}: " + ", ".join(f"{key} {value:.4f}" for key, value in metrics.items()) + " (validation)")
    emit({"model": str(version), "run": run, "metrics": metrics}, json)
