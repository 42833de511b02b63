"""A sweep's results on disk: its ranking for programs (JSON) and for tables (Parquet)."""

import json
from collections.abc import Sequence
from dataclasses import asdict

import pyarrow as pa
import pyarrow.parquet as pq

from demand.errors import DataError
from demand.locations import Location, whole, write_text
from tuning.plan import Trial

RANKING = "ranking.json"


def save_ranking(trials: Sequence[Trial], folder: Location) -> None:
    """Writes ranking.json and ranking.parquet: a row a trial, best first, settings and metrics as columns of their own;
    settings that are neither numbers nor words as JSON text, and those that are now a number, now a word, as words."""
    rows = [
        {
            "rank": rank,
            "trial": trial.id,
            "state": trial.state,
            **{name: _flat(value) for name, value in trial.config.items()},
            **trial.metrics,
        }
        for rank, trial in enumerate(trials, start=1)
    ]
    names = dict.fromkeys(name for row in rows for name in row)
    table = pa.table({name: _column([row.get(name) for row in rows]) for name in names})
    with whole(folder / "ranking.parquet") as file:
        pq.write_table(table, file)
    write_text(folder / RANKING, json.dumps([asdict(trial) for trial in trials], indent=1))


def saved_ranking(folder: Location) -> list[Trial]:
    """The inverse of save_ranking.

    Raises:
        DataError: there is no finished sweep.
    """
    if not (folder / RANKING).is_file():
        known = ", ".join(sorted(each.parent.name for each in folder.parent.glob(f"*/{RANKING}"))) or "none"
        raise DataError(f"no finished sweep called '{folder.name}': known are {known}")
    return [Trial(**each) for each in json.loads((folder / RANKING).read_text())]


def _column(values: list[object]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if each is None else str(each) for each in values])


def _flat(value: object) -> object:
    return value if isinstance(value, str | int | float | None) else json.dumps(value)
