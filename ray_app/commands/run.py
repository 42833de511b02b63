"""demandcast run: the whole chain on the Complete Journey."""

from typing import Annotated

import typer

from demand.locations import Location
from ray_app.commands.options import PLACE, Customers, Json, Preset, Set, Workers
from ray_app.output import emit, say


def run(
    preset: Preset = "nano",
    trials: Annotated[int, typer.Option(min=1, help="Trials of the sweep.")] = 4,
    tune_customers: Annotated[int, typer.Option(min=1, help="Customers who take part in the sweep.")] = 300,
    customers: Customers = None,
    workers: Workers = 1,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the endpoint.")] = 8000,
    data: Annotated[Location | None, typer.Option(help="Dataset folder; imported if it is not there.", **PLACE)] = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Import, tune, fine-tune, evaluate, register, serve and predict, for real.

    What is already there is reused, and what was stopped goes on.
    """
    from ray_app.chain import Chain
    from ray_app.presets import load_settings

    chain = Chain(load_settings(preset, set_ or []), trials, tune_customers, customers, workers, port, data)
    try:
        result = chain.run()
    except KeyboardInterrupt:
        say("stopped: the same command goes on from there")
        raise
    say("done: " + ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in result["seconds"].items()))
    emit(result, json)
