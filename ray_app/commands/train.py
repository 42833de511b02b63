"""demandcast train."""

from typing import Annotated

import typer

from demand.errors import SettingsError
from demand.locations import Location
from ray_app.commands.options import (
    Customers,
    Cutoff,
    DataOrNone,
    Json,
    Name,
    Preset,
    Protocol,
    Set,
    Workers,
    given,
    refuse_beside_resume,
)
from ray_app.output import console, emit, say


def train(
    context: typer.Context,
    data: DataOrNone = None,
    preset: Preset = "nano",
    protocol: Protocol = "cutoff",
    cutoff: Cutoff = None,
    customers: Customers = None,
    workers: Workers = 1,
    resume: Annotated[str | None, typer.Option(help="Go on with a run that was stopped, by its name.")] = None,
    name: Name = "demand",
    set_: Set = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Train nothing: print layout, parameters, memory and expected speed, and refuse what cannot fit. "
            "Works without --data.",
        ),
    ] = False,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            "--gpu",
            help="What --dry-run counts with: h100, a100-80gb, a100-40gb, l40s, l4 or cpu; by default what is here.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Fine-tune a model with Ray Train and register it.

    Ctrl-C stops a run; --resume RUN goes on from its last checkpoint, with the settings it began with. --dry-run says
    beforehand what a run would take, here or on other GPUs.
    """
    if dry_run and not resume:
        _estimate(data, preset, set_ or [], workers, device, json)
        return
    if dry_run or device:
        raise SettingsError("--dry-run is for a run that has not begun, and --device for --dry-run only")
    from modeling.registry import CHAMPION
    from ray_app import jobs
    from ray_app.home import Home, fresh_name
    from ray_app.presets import load_settings
    from training.run import Plan

    home = Home.here()
    if resume:
        refuse_beside_resume(context)
        run = resume
        plan = jobs.saved_plan(Plan, home.runs / f"{run}.json")
        if "name" in given(context):
            plan = plan.model_copy(update={"name": name})
    elif data:
        run = fresh_name("train")
        plan = jobs.make_plan(data, load_settings(preset, set_ or []), cutoff, customers, workers, home, protocol, name)
    else:
        raise SettingsError("give --data FOLDER, or --resume RUN")
    say(f"run {run}")
    try:
        version, metrics = jobs.train(plan, run, home, console)
    except KeyboardInterrupt:
        say(f"stopped: go on with 'demandcast train --resume {run}'")
        raise
    say(f"{version}: " + ", ".join(f"{key} {value:.4f}" for key, value in metrics.items()) + " (validation)")
    if CHAMPION in version.aliases:
        say(f"{version} is {plan.name}@{CHAMPION}")
    else:
        say(f"another one stays {plan.name}@{CHAMPION} until 'demandcast models promote {version}'")
    emit({"model": str(version), "run": run, "metrics": metrics}, json)


def _estimate(
    data: Location | None, preset: str, assignments: list[str], workers: int, device_name: str | None, json: bool
) -> None:
    from modeling.devices import device
    from modeling.estimate import estimate
    from ray_app.dry_run import as_json, question, refuse_what_does_not_fit, table
    from ray_app.home import Home
    from ray_app.presets import load_settings

    settings = load_settings(preset, assignments)
    found_device = device(device_name, workers)
    run, assumed = question(settings, workers, found_device, data, Home.here())
    found = estimate(run, found_device)
    console.print(table(run, found, found_device, assumed))
    emit(as_json(run, found, found_device, assumed), json)
    refuse_what_does_not_fit(run, found, found_device)
