"""demandcast data: import a source into a dataset folder."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from demand.locations import Location, local
from ray_app.commands.options import PLACE, Events, Json, PseudonymKeyFile
from ray_app.output import console, emit

if TYPE_CHECKING:
    from demand.privacy.guard import Guard

app = typer.Typer(no_args_is_help=True)


@app.callback()
def data() -> None:
    """Make datasets."""


@app.command("import")
def import_(
    source: Annotated[str, typer.Argument(help="complete-journey, ta-feng, csv, parquet, ga4 or events.")],
    out: Annotated[Location, typer.Option(help="Dataset folder to write; replaced in one step at the end.", **PLACE)],
    path: Annotated[Location | None, typer.Option(help="File or folder to read (csv, parquet, ga4).", **PLACE)] = None,
    mapping: Annotated[Location | None, typer.Option(help="YAML that maps columns (csv, parquet).", **PLACE)] = None,
    item_level: Annotated[str | None, typer.Option(help="What an item is, e.g. product_type or category.")] = None,
    events: Events = None,
    items: Annotated[
        Location | None,
        typer.Option(
            help="What items are called, for events: a dataset folder, or a CSV or Parquet file with columns item_id, "
            "name, category, department, price.",
            **PLACE,
        ),
    ] = None,
    pseudonym_key: PseudonymKeyFile = None,
    consent: Annotated[
        Location | None,
        typer.Option(
            help="CSV or Parquet with the columns customer_id and consent (true or false): who is not in it with true "
            "is left out.",
            **PLACE,
        ),
    ] = None,
    attributes: Annotated[
        list[str] | None, typer.Option(help="Keep only this demographic attribute. May be repeated.")
    ] = None,
    phone_region: Annotated[
        list[str] | None,
        typer.Option(
            help="Whose phone numbers are taken out of texts without a country code too, e.g. PL. May be repeated; by "
            "default those of ten large countries."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Read a source into a dataset folder. Bad rows are set aside with their reason; a bad file is an error.

    E-mail addresses, card and phone numbers are taken out of reviews and searches. With a pseudonym key, customer and
    order ids are replaced by keyed hashes, and the key is stored nowhere.
    """
    from demand.privacy.consent import Consent
    from demand.privacy.guard import Guard
    from demand.privacy.pseudonyms import PseudonymKey
    from demand.privacy.texts import PHONE_REGIONS, Cleaner

    guard = Guard(
        PseudonymKey.of(pseudonym_key),
        Consent.read(consent) if consent else None,
        attributes,
        Cleaner(phone_region or PHONE_REGIONS),
    )
    manifest = import_data(source, out, path, mapping, item_level, events, items, guard)
    console.print(summary(manifest))
    emit({"dataset": str(out), **manifest}, json)


def import_data(
    source: str,
    out: Location,
    path: Location | None = None,
    mapping: Location | None = None,
    item_level: str | None = None,
    events: str | None = None,
    items: Location | None = None,
    guard: "Guard | None" = None,
) -> dict[str, Any]:
    """Imports with progress and returns the manifest."""
    from demand import sources
    from demand.importing import import_dataset
    from ray_app.commands.serve import log_of
    from ray_app.home import Home

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with ExitStack() as copies, Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(f"importing {source}", total=None)
        if items and items.is_dir():
            items = items / "items.parquet"
        file, columns_of, named = (
            copies.enter_context(local(each)) if each else None for each in (path, mapping, items)
        )
        log = log_of(Home.here(), events) if events or source == "events" else None
        chunks = sources.source(source, sources.SourceOptions(file, columns_of, item_level, log, named))
        return import_dataset(
            source, chunks, out, lambda file, rows: bar.update(task, description=f"{file}: {rows:,} rows"), guard
        )


def summary(manifest: dict[str, Any]) -> Table:
    """Rows in, kept and rejected by reason, a row a file."""
    table = Table(
        title=f"{manifest['customers']:,} customers, {manifest['orders']:,} orders, "
        f"{manifest['rows']['items']:,} items, {manifest['first_order'][:10]} to {manifest['last_order'][:10]}"
    )
    for column in ("file", "rows in", "kept", "rejected, with reason"):
        table.add_column(column, justify="right" if column in ("rows in", "kept") else "left")
    for file, count in manifest["files"].items():
        reasons = "\n".join(f"{rows:,} {reason}" for reason, rows in count["rejected"].items())
        if left_out := count.get("left_out"):
            reasons = f"{left_out:,} without consent\n{reasons}".rstrip()
        table.add_row(escape(file), f"{count['in']:,}", f"{count['kept']:,}", escape(reasons))
    return table
