"""demandcast events: the log of what an endpoint was told."""

from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from ray_app.commands.options import Data, Events, Json
from ray_app.output import console, emit, say

if TYPE_CHECKING:
    from demand.events.log import EventLog

AT_ONCE = 5_000
"""Events that are put on disk together."""
app = typer.Typer(no_args_is_help=True)


@app.command()
def load(
    data: Data,
    before: Annotated[str | None, typer.Option(help="Only what happened before this date.")] = None,
    events: Events = None,
    json: Json = False,
) -> None:
    """Put a dataset's orders, reviews, browsing and profiles into the log, as if an endpoint had been told of them.

    Their ids are made of what they tell, so that loading the same twice adds nothing. With ever later dates for
    --before a year can be told month by month.
    """
    from demand.dataset import Dataset
    from demand.moments import moment
    from serving.loading import events_of

    dataset, until = Dataset.open(data), moment(before) if before else None
    log, since = _log(events), moment(dataset.manifest["first_order"])
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    told = new = 0
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("loading", total=None)
        customers = dataset.customers(before=until)
        all_events = (each for one in customers for each in events_of(one, since) if until is None or each.ts < until)
        while some := list(islice(all_events, AT_ONCE)):
            new += len(log.append(some))
            told += len(some)
            bar.update(task, description=f"{told:,} events, {new:,} of them new")
    say(f"{new:,} events are new, {told - new:,} were known")
    emit({"accepted": new, "known": told - new}, json)


@app.command()
def status(events: Events = None, json: Json = False) -> None:
    """How much the log holds of each kind, from when to when, and its size."""
    from demand.moments import iso

    log = _log(events, make=False)
    counts, size = log.counts(), log.size()
    table = Table("kind", "rows", "first", "last")
    for each in counts:
        table.add_row(each.kind, f"{each.rows:,}", iso(each.first), iso(each.last))
    console.print(table)
    say(f"{size / 2**20:,.1f} MiB at {log.url}")
    kinds = {each.kind: {"rows": each.rows, "first": iso(each.first), "last": iso(each.last)} for each in counts}
    emit({"url": str(log.url), "bytes": size, "kinds": kinds}, json)


def _log(events: str | None, make: bool = True) -> "EventLog":
    from demand.errors import SettingsError
    from demand.events.log import EventLog
    from ray_app.commands.serve import log_of
    from ray_app.home import Home

    home = Home.here()
    url = log_of(home, events)
    if url is None:
        raise SettingsError(f"{home.folder} can hold no log of events: say --events URL")
    return EventLog(url, make)
