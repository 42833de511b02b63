"""demandcast privacy: erase, consent and audit."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from demand.locations import Location
from ray_app.commands.options import DATA, PLACE, Data, Events, Json, PseudonymKeyFile, PseudonymKeyFiles
from ray_app.output import console, emit, say

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from ray_app.home import Home

app = typer.Typer(no_args_is_help=True)


@app.callback()
def privacy() -> None:
    """Erase a customer, take out who gave no consent, and audit what models give away."""


@app.command()
def erase(
    customer: Annotated[str, typer.Argument(help="The customer's id, as the shop knows it.")],
    data: Annotated[list[Location] | None, DATA] = None,
    events: Events = None,
    pseudonym_key: PseudonymKeyFiles = None,
    json: Json = False,
) -> None:
    """Remove a customer everywhere, mark the models that learned from them, and search for what is left.

    Everywhere is the state folder, the log of events (--events, as for 'serve'), and what --data names.

    Datasets are written anew without the customer, other files with customers (predictions, databases) lose their rows,
    and caches go. Then every file is searched, and what still names the customer is listed: exit code 1. An id of
    eight characters or more that is not letters or digits alone is looked for anywhere; another, which is also a word,
    a price or an order's number somewhere, as a whole value of customer_id. To do it again is safe.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from demand.errors import DataError
    from demand.privacy.pseudonyms import PseudonymKey
    from ray_app.erasure import erase as erase_everywhere
    from ray_app.home import Home

    home = Home.here()
    files: Sequence[Location | None] = pseudonym_key or [None]  # or what the environment has
    keys = [key for each in files if (key := PseudonymKey.of(each))]
    try:
        with console.status("erasing"):
            done = erase_everywhere(customer, keys, data or [], home, _log_elsewhere(home, events))
    except SQLAlchemyError as error:
        raise DataError(f"the log of events cannot be used now: {type(error).__name__}") from None
    for folder, rows in done.datasets.items():
        say(f"{folder}: {rows:,} rows erased")
    for file in done.files:
        say(f"{file}: rows erased")
    if not done.datasets and not done.files:
        say("no file names this customer")
    if done.models:
        say(f"learned from this customer, or may have: {', '.join(done.models)}; train them again")
    proof = done.proof
    for place in (*proof.found, *proof.unread):
        say(f"left: {place}" if place in proof.found else f"not read: {place}")
    say(f"{proof.searched:,} files searched, {len(proof.found)} name the customer")
    emit(
        {
            "datasets": [{"dataset": folder, "rows": rows} for folder, rows in done.datasets.items()],
            "files": done.files,
            "models": done.models,
            "searched": proof.searched,
            "found": proof.found,
            "unread": proof.unread,
        },
        json,
    )
    if not proof.clean:
        raise typer.Exit(1)


def _log_elsewhere(home: "Home", events: str | None) -> "list[Engine]":
    """The log of events, where it is no file below the state folder, which is searched in any case.

    Raises:
        DataError: `events` names a file that is not there, as a slip of the pen does: the log would keep the customer.
    """
    from sqlalchemy import create_engine

    from demand.errors import DataError
    from ray_app.commands.serve import log_of

    log = log_of(home, events)
    if log is None:
        return []
    if log.get_backend_name() == "sqlite":
        file = Path(log.database or "").resolve()
        if events and not file.is_file():
            raise DataError(f"no log of events at {file}")
        if not file.is_file():
            say(f"no log of events at {file}: --events URL names another")
        if not file.is_file() or (isinstance(home.folder, Path) and file.is_relative_to(home.folder.resolve())):
            return []
    return [create_engine(log)]


@app.command()
def consent(
    file: Annotated[
        Location,
        typer.Argument(help="CSV or Parquet with the columns customer_id and consent (true or false).", **PLACE),
    ],
    data: Data,
    pseudonym_key: PseudonymKeyFile = None,
    json: Json = False,
) -> None:
    """Take out of a dataset who gave no consent, or gave it up, so that what is trained from now on leaves them out.

    Whoever FILE does not name with a yes is taken out, as 'data import --consent' does, and models that learned from
    them are marked.
    """
    from demand.dataset import Dataset
    from demand.privacy.consent import Consent
    from demand.privacy.pseudonyms import PseudonymKey
    from ray_app.erasure import withdraw
    from ray_app.home import Home

    gone, models = withdraw(Consent.read(file), PseudonymKey.of(pseudonym_key), Dataset.open(data), Home.here())
    say(f"{data}: {gone:,} customers without consent taken out")
    if models:
        say(f"learned from some of them, or may have: {', '.join(models)}; train them again")
    emit({"dataset": str(data), "customers": gone, "models": models}, json)


@app.command()
def audit(
    model: Annotated[str, typer.Argument(help="NAME@ALIAS or NAME@VERSION.")],
    data: Data,
    json: Json = False,
) -> None:
    """Attack a model: can one tell from its answers whom it learned from?

    An AUC of .5 is a coin's, 1 gives everybody away. It compares customers whom the model learned from with those
    whom it did not, so it wants one that was trained with --customers N, on the same dataset. Of two attacks the
    stronger one on half of the customers is measured on the other half.
    """
    from demand.dataset import Dataset
    from modeling.predictor import Predictor
    from modeling.registry import Registry
    from ray_app.home import Home
    from training.audit import audit as attack

    dataset = Dataset.open(data)
    version = Registry(Home.here().folder).resolve(model)
    with console.status(f"attacking {version}"):
        found = attack(Predictor.load(version.checkpoint), dataset)
    say(f"{version}: {found.members:,} customers whom it learned from, {found.others:,} whom it did not")
    for name, each in found.attacks.items():
        say(f"{name}, all customers: AUC {each.auc:.3f} ({each.low:.3f} to {each.high:.3f})")
    auc = found.result
    say(f"{found.attack}, chosen on one half, on the other: AUC {auc.auc:.3f} ({auc.low:.3f} to {auc.high:.3f})")
    emit({"model": str(version), **asdict(found)}, json)
