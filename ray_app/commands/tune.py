"""demandcast tune."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from demand.errors import SettingsError
from demand.formats import FORMATS
from ray_app.commands.options import Customers, Cutoff, Json, Name, Preset, Set
from ray_app.output import console, emit, say


def tune(
    data: Annotated[Path | None, typer.Option(help="Dataset folder, as 'demandcast data import' makes it.")] = None,
    preset: Preset = "nano",
    trials: Annotated[int, typer.Option(min=1, help="How many configurations to try.")] = 8,
    lr: Annotated[tuple[float, float], typer.Option(help="Lowest and highest learning rate.")] = (3e-4, 1e-2),
    prompt_format: Annotated[
        list[str] | None, typer.Option(help=f"Try this format ({', '.join(FORMATS)}). May be repeated.")
    ] = None,
    customers: Customers = None,
    cutoff: Cutoff = None,
    at_once: Annotated[int, typer.Option(min=1, help="Trials that run at the same time.")] = 2,
    resume: Annotated[str | None, typer.Option(help="Go on with a sweep that was stopped, by its name.")] = None,
    name: Name = "demand",
    set_: Set = None,
    json: Json = False,
) -> None:
    """Search learning rates and prompt formats with Ray Tune; unpromising trials are stopped early (ASHA).

    The best trial's model is registered as challenger. Ctrl-C stops a sweep; --resume SWEEP goes on.
    """
    from ray_app import jobs
    from ray_app.home import Home, fresh_name
    from ray_app.presets import load_settings
    from tuning.live import ranking_table
    from tuning.sweep import SweepPlan, check_formats

    home = Home.here()
    if resume:
        sweep_name = resume
        sweep = jobs.saved_plan(SweepPlan, home.sweeps / f"{sweep_name}.json")
    elif data:
        sweep_name = fresh_name("sweep")
        formats = check_formats(prompt_format or ["compact", "profile", "names"])
        plan = jobs.make_plan(data, load_settings(preset, set_ or []), cutoff, customers, 1, home)
        sweep = SweepPlan(plan=plan, trials=trials, rates=lr, formats=formats, at_once=at_once)
    else:
        raise SettingsError("give --data FOLDER, or --resume SWEEP")
    say(f"sweep {sweep_name}")
    try:
        version, metrics, ranked = jobs.tune(sweep, sweep_name, name, home, console)
    except KeyboardInterrupt:
        say(f"stopped: go on with 'demandcast tune --resume {sweep_name}'")
        raise
    console.print(ranking_table(ranked))
    say(f"{version} is the best trial's model, now challenger")
    keys = ("id", "state", "config", "metrics")
    listed = [{key: asdict(trial)[key] for key in keys} for trial in ranked]
    emit({"model": str(version), "run": sweep_name, "metrics": metrics, "trials": listed, "sweep": sweep_name}, json)
