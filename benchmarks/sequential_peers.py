"""Deep sequential recommenders on demandcast's protocol: SASRec and BERT4Rec as RecTools implements them.

    make peers
    .venv-sequential-peers/bin/python benchmarks/sequential_peers.py --data DIR --cutoff 2017-12-04 --out DIR

Each method is tuned on the 28 days before the cutoff: every trial learns from what precedes them and is scored after
each epoch by nDCG@10 of the next order; the best trial, with its best number of epochs, learns again from everything
before the cutoff. METHOD.parquet then ranks 20 items for each customer with at least three earlier orders;
METHOD.validation.parquet holds the best trial's rankings at the start of the 28 days. A second run with the same data
and settings finds them and does nothing.

Every order line is one interaction, and what was bought before may be recommended again: most of an order is. Two
things are given to the models that their papers do not have, since without them they would look worse than they are:
histories longer than a session are cut into several, where RecTools would drop all but the last lines, and lines of an
order lie in random order, where the dataset has them by name, a pattern that says nothing about demand. Whether a mark
stands between orders, so that a model can tell the next order from the rest of this one, is chosen by trial.
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
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from protocol import MINIMUM_ORDERS, Lines, ndcg, next_orders, read_lines, regulars

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
EPOCHS = {"sasrec": 4, "bert4rec": 4}
TRIALS = [{"lr": 3e-3, "marks": True}, {"lr": 3e-3, "marks": False}]
FIRST = 1
VALIDATION_DAYS, TOP, SEED = 28, 20, 1
MARK = -1  # stands between two orders; never recommended


class Learner(TransformerLightningModule):
    """RecTools' softmax loss, computed only where there is something to predict: elsewhere it is thrown away.

    Embeddings start wider than Xavier's .03: an item's embedding is its output too, so repeats are favoured at once.
    """

    def _xavier_normal_init(self) -> None:
        super()._xavier_normal_init()
        torch.nn.init.normal_(self.torch_model.item_model.item_net_blocks[0].ids_emb.weight, std=SPREAD)

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        items = self.torch_model.item_model.get_all_embeddings()
        chosen = (batch["y"] != 0) & (batch["yw"] > 0)
        states = self.torch_model.encode_sessions(batch, items)[chosen]
        return torch.nn.functional.cross_entropy(states @ items.T, batch["y"][chosen])


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


def epochs(method: str, lines: Lines, trial: dict[str, Any], number: int) -> Iterator[pd.DataFrame]:
    """Trains on these lines; after each epoch the rankings for every customer with enough orders."""
    seed_everything(SEED, verbose=False)
    sessions = interactions(lines, trial["marks"], SESSION)
    histories = interactions(lines, trial["marks"])
    items = np.setdiff1d(lines.item, [MARK])
    model = METHODS[method](**SIZES, session_max_len=SESSION, lr=trial["lr"], lightning_module_type=Learner)
    for _ in range(number):
        model.fit_partial(sessions, min_epochs=1, max_epochs=1)
        yield model.recommend(regulars(lines), histories, k=TOP, filter_viewed=False, items_to_recommend=items)


def by_customer(ranked: pd.DataFrame) -> dict[int, np.ndarray]:
    """Items, best first."""
    grouped = ranked.sort_values(Columns.Rank).groupby(Columns.User)[Columns.Item]
    return {int(customer): items.to_numpy(int) for customer, items in grouped}


def tune(method: str, lines: Lines, since: int, progress: Progress) -> tuple[dict[str, Any], pd.DataFrame]:
    """The best trial with its number of epochs and all scores, and its rankings at the start of validation.

    Each trial learns for FIRST epochs, and the best one goes on: a whole run for each would take hours.
    """
    past, truth = lines.where(lines.ts < since), next_orders(lines, since)
    runs = [enumerate(epochs(method, past, trial, EPOCHS[method]), 1) for trial in TRIALS]
    results = []

    def learn(number: int, most: int) -> None:
        for epoch, ranked in itertools.islice(runs[number], most):
            score = {**TRIALS[number], "epochs": epoch, "ndcg@10": round(ndcg(by_customer(ranked), truth), 4)}
            results.append((score["ndcg@10"], number, score, ranked))
            progress.epoch(f"{method}, validation: {score}")

    for number in range(len(TRIALS)):
        learn(number, FIRST)
    learn(max(results, key=lambda result: result[0])[1], EPOCHS[method] - FIRST)
    best = max(results, key=lambda result: result[0])
    return {**best[2], "trials": [result[2] for result in results]}, best[3]


def run(method: str, lines: Lines, cutoff: datetime, out: Path, key: str, progress: Progress) -> None:
    """Tunes, learns again from everything and writes both files, the one that says it is done last."""
    started = time.monotonic()
    since = round((cutoff - timedelta(days=VALIDATION_DAYS)).timestamp() * 1e6)
    chosen, ranked = tune(method, lines, since, progress)
    write(out / f"{method}.validation.parquet", ranked, lines, {"key": key, "chosen": chosen})
    progress.left -= EPOCHS[method] - chosen["epochs"]
    again = epochs(method, lines, chosen, chosen["epochs"])
    for epoch in range(1, chosen["epochs"] + 1):
        ranked = next(again)
        progress.epoch(f"{method}, everything before {cutoff:%Y-%m-%d}: epoch {epoch} of {chosen['epochs']}")
    seconds = round(time.monotonic() - started)
    write(out / f"{method}.parquet", ranked, lines, {"key": key, "chosen": chosen, "seconds": seconds})
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


def key_of(content: str, cutoff: datetime, method: str) -> str:
    """Equal for equal data, cutoff and settings."""
    settings = [SIZES, SESSION, SPREAD, EPOCHS[method], FIRST, TRIALS, VALIDATION_DAYS, MINIMUM_ORDERS, TOP, SEED]
    return hashlib.sha256(json.dumps([content, str(cutoff), method, settings]).encode()).hexdigest()


def is_done(file: Path, key: str) -> bool:
    """Whether the file holds the rankings of these data and settings."""
    if not file.is_file():
        return False
    notes = (pq.read_schema(file).metadata or {}).get(b"sequential_peers", b"{}")
    return json.loads(notes).get("key") == key


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="dataset folder of 'demandcast data import'")
    parser.add_argument("--cutoff", type=lambda text: datetime.fromisoformat(text).replace(tzinfo=UTC), required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", choices=sorted(METHODS), default=list(METHODS))
    chosen = parser.parse_args()
    if not (chosen.data / "manifest.json").is_file():
        sys.exit(f"{chosen.data} is not a dataset folder (no manifest.json): make one with 'demandcast data import'")
    content = json.loads((chosen.data / "manifest.json").read_text())["content_hash"]
    keys = {method: key_of(content, chosen.cutoff, method) for method in chosen.methods}
    todo = [method for method in keys if not is_done(chosen.out / f"{method}.parquet", keys[method])]
    print("to do: " + (", ".join(todo) or f"nothing, {chosen.out} has the rankings already"), flush=True)
    if not todo:
        return
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    chosen.out.mkdir(parents=True, exist_ok=True)
    lines = read_lines(chosen.data, chosen.cutoff, SEED)
    progress = Progress(sum(FIRST * (len(TRIALS) - 1) + 2 * EPOCHS[method] for method in todo))
    for method in todo:
        run(method, lines, chosen.cutoff, chosen.out, keys[method], progress)


if __name__ == "__main__":
    main()
