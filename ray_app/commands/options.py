"""Options that several commands share."""

from collections.abc import Container
from typing import Annotated, Any

import typer

from demand.errors import SettingsError
from demand.locations import Location, location

DEFAULT_URL = "http://127.0.0.1:8000"
KEY = "DEMANDCAST_API_KEY"
"""The environment variable of a key for an endpoint that wants one."""
Url = Annotated[str, typer.Option("--url", help="Where 'demandcast serve' answers.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]
EVENTS = "DEMANDCAST_EVENTS"
"""The environment variable of the log's URL, which may hold a password."""
Events = Annotated[
    str | None,
    typer.Option(
        help="Log of events: postgresql://USER@HOST/NAME or an SQLite file; by default DEMANDCAST_EVENTS, else "
        "events.db in the state folder."
    ),
]
PLACE: dict[str, Any] = {"parser": location, "metavar": "PATH|URI"}
"""An option that names a file or a folder: a path, or a URI such as s3://bucket/folder."""
DATA: Any = typer.Option("--data", help="Dataset folder, as 'demandcast data import' makes it.", **PLACE)
Data = Annotated[Location, DATA]
DataOrNone = Annotated[Location | None, DATA]
Model = Annotated[str, typer.Option("--model", help="NAME@ALIAS or NAME@VERSION.")]
Name = Annotated[str, typer.Option("--name", help="What the registered model is called.")]
Preset = Annotated[str, typer.Option("--preset", help="Settings by name (nano, smollm2-135m, …) or a YAML file.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="Override a setting: --set training.epochs=2. May be repeated.")
]
Cutoff = Annotated[
    str | None,
    typer.Option(help="Training sees only what is before this date; the 28 days before it are for validation."),
]
Protocol = Annotated[
    str,
    typer.Option(
        help="What is learned from and what is asked: cutoff, the days from a date on; last-order, each customer's "
        "last one (leave-one-out); or taiw, the same by the rules of a published comparison."
    ),
]
Customers = Annotated[int | None, typer.Option(min=1, help="Let only so many customers take part, drawn at random.")]
Workers = Annotated[int, typer.Option(min=1, help="Training workers: copies of the model, or parts of one (layout.*).")]
HorizonDays = Annotated[int | None, typer.Option(min=1, max=91, help="Ask about so many days.")]
PSEUDONYM_KEY = (
    "File with the secret that turns customer ids into pseudonyms ('openssl rand -hex 32' makes one), or "
    "DEMANDCAST_PSEUDONYM_KEY in the environment."
)
PseudonymKeyFile = Annotated[Location | None, typer.Option("--pseudonym-key", help=PSEUDONYM_KEY, **PLACE)]
PseudonymKeyFiles = Annotated[
    list[Location] | None,
    typer.Option(
        "--pseudonym-key",
        help=f"{PSEUDONYM_KEY} May be repeated, where datasets were made with several.",
        **PLACE,
    ),
]


def given(context: typer.Context) -> dict[str, str]:
    """What the command line itself says, and no default: by parameter the option as it is written."""
    sources = {each.name: context.get_parameter_source(each.name) for each in context.command.params if each.name}
    said = {name for name, source in sources.items() if source and source.name == "COMMANDLINE"}
    return {each.name: each.opts[0] for each in context.command.params if each.name in said}


def refuse_beside_resume(context: typer.Context) -> None:
    """Raises SettingsError where --resume comes with what would be another run's or sweep's."""
    refuse_others(context, ("resume", "name", "json"), "what is resumed goes on as it began: leave them out")


def refuse_others(context: typer.Context, allowed: Container[str], why: str) -> None:
    """Raises SettingsError where the command line gives options that would come to nothing, naming them."""
    if others := [option for name, option in given(context).items() if name not in allowed]:
        raise SettingsError(f"{', '.join(others)}: {why}")
