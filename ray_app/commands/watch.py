"""demandcast watch."""

from json import dumps
from typing import Annotated

import typer

from demand.locations import Location, write_text
from ray_app.commands.options import PLACE, Customers, Data, Events, Json, Model, Set, Workers
from ray_app.output import check_file, console, emit, say


def watch(
    data: Data,
    model: Model = "demand@champion",
    as_of: Annotated[
        str | None, typer.Option(help="Nothing from this date on is read; by default the day after the last order.")
    ] = None,
    days: Annotated[int, typer.Option(min=7, max=91, help="Length of the newest window, which nobody has seen.")] = 28,
    limit: Annotated[
        list[str] | None,
        typer.Option(help="Another limit: NAME=NOTICE:ACT, such as gaps=0.2:0.5. May be repeated."),
    ] = None,
    retrain: Annotated[bool, typer.Option(help="Act on what is found.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Fine-tune even where no signal is past its limit.")] = False,
    share: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Share of the customers whom a challenger that won answers before it is promoted."
        ),
    ] = 0.1,
    canary_days: Annotated[int, typer.Option(min=1, help="For how long at least it answers only them.")] = 7,
    customers: Customers = None,
    workers: Workers = 1,
    set_: Set = None,
    events: Events = None,
    report: Annotated[
        Location | None,
        typer.Option(help="Write the HTML page there; by default under watch/ of the state folder.", **PLACE),
    ] = None,
    json: Json = False,
) -> None:
    """Compare what comes in, and how good the model still is, with its training period; act past limits.

    Acting is: the champion learns on from the newest data but for the last --days; both are asked about those; if the
    new model leads beyond chance, it becomes challenger, which a running 'serve' gives --share of the customers within
    seconds; a pass at least --canary-days later makes it champion, unless less of what it showed was bought.

    One pass a call: let cron, or a CronJob of Kubernetes, call it weekly, after the import of new data. A pass that was
    killed goes on where it was when it is called again.
    """
    from demand.dataset import Dataset
    from demand.moments import DAY, moment
    from demand.stability import parse_limit
    from ray_app.commands.serve import log_of
    from ray_app.home import Home
    from ray_app.reports.watch import watch_page
    from ray_app.scoreboard import signals_table
    from ray_app.watch import Asked, Watch

    if report:
        check_file("--report", report)
    limits = dict(parse_limit(each) for each in limit or ())
    dataset = Dataset.open(data)
    last = dataset.manifest["last_order"]
    moment_ = moment(as_of) if as_of else (moment(last) // DAY + 1) * DAY
    if dataset.ends_before(moment_):
        say(f"the data end on {last[:10]}: the days from then on count as days without orders")
    asked = Asked(
        data, model, moment_, days, share, canary_days, retrain, force, limits, set_ or (), customers, workers,
        log_of(Home.here(), events),
    )  # fmt: skip
    watching = Watch(asked)
    found = watching.run()
    console.print(signals_table(found))
    write_text(watching.home.watch / f"{watching.name}.json", dumps(found))
    page = report or watching.home.watch / f"{watching.name}.html"
    watch_page(found).write(page)
    say(f"{found['outcome']}: {found['why']}")
    say(f"report: {page}")
    emit(found, json)
