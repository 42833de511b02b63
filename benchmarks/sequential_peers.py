"""Deep sequential recommenders on demandcast's protocol: SASRec and BERT4Rec as RecTools implements them.

    make peers
    .venv-sequential-peers/bin/python benchmarks/sequential_peers.py --data DIR --cutoff 2017-12-04 --out DIR
    .venv-sequential-peers/bin/python benchmarks/sequential_peers.py --data DIR --last-order --no-repeats --out DIR

Each method is tuned on the 28 days before the cutoff: every trial learns from what precedes them and is scored after
each epoch by nDCG@10 of the next order; the best trial, with its best number of epochs, learns again from everything
before the cutoff. METHOD.parquet then ranks 20 items for each customer with at least three earlier orders;
METHOD.validation.parquet holds the best trial's rankings at the start of the 28 days. A second run with the same data
and settings finds them and does nothing. With --last-order (demandcast's protocol of that name) each customer's last
order is the test and the one before it the validation.

Every order line is one interaction, and what was bought before may be recommended again, for most of an order is; with
--no-repeats, for films say, it may not. Two things are given to the models that their papers do not have, since without
them they would look worse than they are: histories longer than a session are cut into several, where RecTools would
drop all but the last lines, and lines of an order lie in random order, where the dataset has them by name, a pattern
that says nothing about demand. Whether a mark stands between orders, so that a model can tell the next order from the
rest of this one, is chosen by trial.
"""

import argparse
import hashlib
import itertools
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from protocol import MINIMUM_ORDERS, Lines, ndcg, read_lines, regulars, validation

try:
    import pandas as pd
    import torch
    from pytorch_lightning import seed_everything
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.models import BERT4RecModel, SASRecModel
    from rectools.models.nn.transformers.lightning import TransformerLightningModule
except ImportError as error:
    sys.exit(f"{error}: run this with .venv-sequential-peers/bin/python, which 'make peers' sets up")

METHODS = {"sasrec": SASRecModel, "bert4rec": BERT4RecModel}
SIZES = {"n_factors": 64, "n_blocks": 2, "n_heads": 2, "batch_size": 8}  # the BERT4Rec paper's
SESSION = 100
SPREAD = 0.3  # of the items' embeddings at first
VALIDATION_DAYS, TOP, SEED = 28, 20, 1
MARK = -1  # stands between two orders; never recommended


@dataclass(frozen=True)
class Search:
    """How a method is tuned: each trial learns for `first` epochs, the best one goes on to `epochs` in all."""

    trials: list[dict[str, Any]]
    first: int
    epochs: int


SEARCHES = {
    "cutoff": Search([{"lr": 3e-3, "wide": True, "marks": marks} for marks in (True, False)], first=1, epochs=12),
    "last-order": Search(
        [
            {"lr": 1e-3, "wide": False, "marks": False},
            {"lr": 3e-3, "wide": False, "marks": False},
            {"lr": 1e-3, "wide": True, "marks": False},
            {"lr": 1e-3, "wide": False, "marks": True},
        ],
        first=5,
        epochs=30,
    ),
}


class Learner(TransformerLightningModule):
    """RecTools' softmax loss, computed only where there is something to predict: elsewhere it is thrown away."""

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        items = self.torch_model.item_model.get_all_embeddings()
        chosen = (batch["y"] != 0) & (batch["yw"] > 0)
        states = self.torch_model.encode_sessions(batch, items)[chosen]
        return torch.nn.functional.cross_entropy(states @ items.T, batch["y"][chosen])


class WideLearner(Learner):
    """Embeddings start wider than Xavier's .03: an item's embedding is its output too, so repeats come first."""

    def _xavier_normal_init(self) -> None:
        super()._xavier_normal_init()
        torch.nn.init.normal_(self.torch_model.item_model.item_net_blocks[0].ids_emb.weight, std=SPREAD)


class Progress:
    """Says after each epoch how it went and how long the rest will take at the pace so far."""

    def __init__(self, epochs: int) -> None:
        self.left, self.done, self.started = epochs, 0, time.monotonic()

    def epoch(self, text: str) -> None:
        self.left, self.done = self.left - 1, self.done + 1
        minutes = (time.monotonic() - self.started) / self.done * self.left / 60
        print(f"{text}; about {minutes:.0f} min left", flush=True)


def interactions(lines: Lines, marks: bool, session: int | None = None) -> Dataset:
    """RecTools' interactions: one user a customer, or with a session length one a session.

    Sessions are cut from a history's end and begin with the last line of the one before, which is there to learn from:
    so each line is learned once. A mark is nothing to learn, so its weight is 0.
    """
    frame = pd.DataFrame({Columns.User: lines.customer, Columns.Item: lines.item, "order": lines.order})
    frame[Columns.Weight] = 1.0
    if marks:
        ends = frame.drop_duplicates("order", keep="last").assign(**{Columns.Item: MARK, Columns.Weight: 0.0})
        frame = pd.concat([frame, ends]).sort_values("order", kind="stable", ignore_index=True)
    frame[Columns.Datetime] = pd.to_datetime(np.arange(len(frame)), unit="s")  # RecTools sorts by it
    if session:
        place = frame.groupby(Columns.User).cumcount(ascending=False)
        pieces = frame.assign(piece=place // session)
        shared = pieces[(place % session == 0) & (place > 0)]
        frame = pd.concat([pieces, shared.assign(piece=shared["piece"] - 1)], ignore_index=True)
        frame[Columns.User] = frame[Columns.User].astype(np.int64) * len(frame) + frame["piece"]
    return Dataset.construct(frame[Columns.Interactions])


def by_customer(ranked: pd.DataFrame) -> dict[int, np.ndarray]:
    """Items, best first."""
    grouped = ranked.sort_values(Columns.Rank).groupby(Columns.User)[Columns.Item]
    return {int(customer): items.to_numpy(int) for customer, items in grouped}


@dataclass(frozen=True)
class Task:
    """What is learned from, and where validation begins.

    Attributes:
        lines: everything before the test.
        cutoff: of the test; None where each customer's last order is.
        repeats: whether what was bought before may be recommended.
    """

    lines: Lines
    cutoff: datetime | None
    repeats: bool

    @property
    def search(self) -> Search:
        return SEARCHES["cutoff" if self.cutoff else "last-order"]

    def epochs(self, method: str, lines: Lines, trial: dict[str, Any], fewest: int) -> Iterator[pd.DataFrame]:
        """Trains on these lines; after each epoch the rankings for every customer with enough orders."""
        seed_everything(SEED, verbose=False)
        sessions = interactions(lines, trial["marks"], SESSION)
        histories = interactions(lines, trial["marks"])
        asked, items = regulars(lines, fewest), np.setdiff1d(lines.item, [MARK])
        learner = WideLearner if trial["wide"] else Learner
        model = METHODS[method](**SIZES, session_max_len=SESSION, lr=trial["lr"], lightning_module_type=learner)
        for _ in range(self.search.epochs):
            model.fit_partial(sessions, min_epochs=1, max_epochs=1)
            yield model.recommend(asked, histories, k=TOP, filter_viewed=not self.repeats, items_to_recommend=items)

    def tune(self, method: str, progress: Progress) -> tuple[dict[str, Any], pd.DataFrame]:
        """The best trial with its number of epochs and all scores, and its rankings at the start of validation.

        Each trial learns for a while, and the best one goes on: a whole run for each would take hours.
        """
        since = None
        if self.cutoff:
            since = round((self.cutoff - timedelta(days=VALIDATION_DAYS)).timestamp() * 1e6)
        past, truth = validation(self.lines, since)
        search = self.search
        fewest = MINIMUM_ORDERS if self.cutoff else MINIMUM_ORDERS - 2
        runs = [enumerate(self.epochs(method, past, trial, fewest), 1) for trial in search.trials]
        results = []

        def learn(number: int, most: int) -> None:
            for epoch, ranked in itertools.islice(runs[number], most):
                found = round(ndcg(by_customer(ranked), truth), 4)
                score = {**search.trials[number], "epochs": epoch, "ndcg@10": found}
                results.append((found, number, score, ranked))
                progress.epoch(f"{method}, validation: {score}")

        for number in range(len(search.trials)):
            learn(number, search.first)
        learn(max(results, key=lambda result: result[0])[1], search.epochs - search.first)
        best = max(results, key=lambda result: result[0])
        return {**best[2], "trials": [result[2] for result in results]}, best[3]

    def run(self, method: str, out: Path, key: str, progress: Progress) -> None:
        """Tunes, learns again from everything and writes both files, the one that says it is done last."""
        started = time.monotonic()
        chosen, ranked = self.tune(method, progress)
        write(out / f"{method}.validation.parquet", ranked, self.lines, {"key": key, "chosen": chosen})
        progress.left -= self.search.epochs - chosen["epochs"]
        fewest = MINIMUM_ORDERS if self.cutoff else MINIMUM_ORDERS - 1
        again = self.epochs(method, self.lines, chosen, fewest)
        for epoch in range(1, chosen["epochs"] + 1):
            ranked = next(again)
            progress.epoch(f"{method}, everything before the test: epoch {epoch} of {chosen['epochs']}")
        seconds = round(time.monotonic() - started)
        write(out / f"{method}.parquet", ranked, self.lines, {"key": key, "chosen": chosen, "seconds": seconds})
        del chosen["trials"]
        print(f"{method}: {chosen}, {seconds} s; {out / f'{method}.parquet'}", flush=True)


def write(file: Path, ranked: pd.DataFrame, lines: Lines, notes: dict[str, Any]) -> None:
    """Rankings with the ids of the dataset, and how they came about in the schema's metadata."""
    ranked = ranked.sort_values([Columns.User, Columns.Rank])
    table = pa.table(
        {
            "customer_id": np.asarray(lines.customer_ids, dtype=object)[ranked[Columns.User].to_numpy(int)],
            "rank": ranked[Columns.Rank].to_numpy(np.int32),
            "item_id": np.asarray(lines.item_ids, dtype=object)[ranked[Columns.Item].to_numpy(int)],
        }
    )
    table = table.replace_schema_metadata({"sequential_peers": json.dumps(notes)})
    unfinished = file.with_suffix(".unfinished")
    pq.write_table(table, unfinished)
    os.replace(unfinished, file)


def key_of(content: str, cutoff: datetime | None, repeats: bool) -> str:
    """Equal for equal data, cutoff and settings."""
    search = asdict(SEARCHES["cutoff" if cutoff else "last-order"])
    settings = [SIZES, SESSION, SPREAD, search, repeats, VALIDATION_DAYS, MINIMUM_ORDERS, TOP, SEED]
    return hashlib.sha256(json.dumps([content, str(cutoff), settings]).encode()).hexdigest()


def is_done(file: Path, key: str) -> bool:
    """Whether the file holds the rankings of these data and settings."""
    if not file.is_file():
        return False
    notes = (pq.read_schema(file).metadata or {}).get(b"sequential_peers", b"{}")
    return json.loads(notes).get("key") == key


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="dataset folder of 'demandcast data import'")
    split = parser.add_mutually_exclusive_group(required=True)
    split.add_argument("--cutoff", type=lambda text: datetime.fromisoformat(text).replace(tzinfo=UTC))
    split.add_argument("--last-order", action="store_true", help="each customer's last order is the test")
    parser.add_argument("--no-repeats", action="store_true", help="recommend nothing that was bought before")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", choices=sorted(METHODS), default=list(METHODS))
    chosen = parser.parse_args()
    if not (chosen.data / "manifest.json").is_file():
        sys.exit(f"{chosen.data} is not a dataset folder (no manifest.json): make one with 'demandcast data import'")
    content = json.loads((chosen.data / "manifest.json").read_text())["content_hash"]
    key = key_of(content, chosen.cutoff, not chosen.no_repeats)
    todo = [method for method in chosen.methods if not is_done(chosen.out / f"{method}.parquet", key)]
    print("to do: " + (", ".join(todo) or f"nothing, {chosen.out} has the rankings already"), flush=True)
    if not todo:
        return
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    chosen.out.mkdir(parents=True, exist_ok=True)
    task = Task(read_lines(chosen.data, chosen.cutoff, SEED), chosen.cutoff, not chosen.no_repeats)
    search = task.search
    progress = Progress((search.first * (len(search.trials) - 1) + 2 * search.epochs) * len(todo))
    for method in todo:
        task.run(method, chosen.out, key, progress)


if __name__ == "__main__":
    main()
