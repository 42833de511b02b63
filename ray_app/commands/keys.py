"""demandcast keys: create, list and revoke."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from demand.errors import SettingsError
from ray_app.commands.options import Json
from ray_app.output import console, emit, say

if TYPE_CHECKING:
    from serving.keys import KeyFile

app = typer.Typer(no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who will use it.")],
    per_minute: Annotated[int, typer.Option(min=1, help="Requests that it may make; a batch is one.")] = 6_000,
    scope: Annotated[
        Literal["predict", "events", "admin"],
        typer.Option(
            help="What it may do: predict is for applications that ask, events for those that only tell what customers "
            "do, admin sees the endpoint's state and customers as well."
        ),
    ] = "predict",
    json: Json = False,
) -> None:
    """Make a key. It is shown once; as soon as there is one, every request needs one."""
    key, text = _file().create(name, per_minute, scope)
    say(f"{text}\nkeep it: it cannot be shown again. Send it as the header Authorization: Bearer KEY")
    emit({"key": text, **asdict(key)}, json)


@app.command("list")
def list_(json: Json = False) -> None:
    """Every key, without its secret."""
    keys = _file().all()
    table = Table("id", "name", "scope", "per minute", "created", "")
    for key in keys:
        table.add_row(key.id, key.name, key.scope, f"{key.per_minute:,}", key.created, "revoked" if key.revoked else "")
    console.print(table)
    emit({"keys": [asdict(key) for key in keys]}, json)


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(help="As keys list shows it.")], json: Json = False) -> None:
    """End a key for good, within seconds also where it is in use."""
    key = _file().revoke(key_id)
    say(f"revoked {key.id} ({key.name})")
    emit({"revoked": key.id}, json)


def _file() -> "KeyFile":
    from ray_app.home import Home
    from serving.keys import ENVIRONMENT, KeyFile

    home = Home.here()
    if home.keys is None:
        raise SettingsError(f"{home.folder} can hold no file of keys: give them to 'serve' by {ENVIRONMENT}")
    return KeyFile(home.keys)
