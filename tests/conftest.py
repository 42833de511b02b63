"""A small shop for all tests: who buys what, and when, is known by construction."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

from demand.catalogue import Catalogue
from demand.dataset import Dataset
from demand.importing import import_dataset
from demand.moments import DAY, moment
from demand.prompts import Prompt
from demand.protocols import TEST, Cutoff
from demand.record import Record
from demand.sources import SourceOptions, source
from demand.vocabulary import Vocabulary
from modeling.batch import Batch

for name in [*os.environ]:  # of whoever runs the tests, who may have an endpoint, a registry or a cluster of their own
    if name.startswith(("DEMANDCAST_", "MLFLOW_", "OTEL_")) or name == "RAY_ADDRESS":
        del os.environ[name]
settings.register_profile("tests", deadline=None)  # other tests take the processors meanwhile
settings.load_profile("tests")
os.environ.update(RAY_worker_niceness="0")  # else what Ray starts waits for all other processes of this machine
os.environ["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] = "0.2"  # runs of seconds report many times a second
CUTOFF = "2024-06-01"
STORES = ["north", "south"]
ITEMS = [f"item {letter}{number}" for letter in "abcdef" for number in range(5)]


def write_shop(folder: Path, customers: int = 40, seed: int = 7) -> Path:
    """CSV files: customers buy from their own few favourites, about once a week, to two weeks past CUTOFF, each in its
    own store."""
    rng = np.random.default_rng(seed)
    lines = []
    for customer in range(customers):
        favourites = rng.choice(len(ITEMS), 6, replace=False)
        ts = moment("2024-01-01") + int(rng.integers(0, 7 * DAY))
        while ts < moment(CUTOFF) + 14 * DAY:
            for item in rng.choice(favourites, int(rng.integers(1, 5)), replace=False):
                quantity = int(rng.integers(1, 4))
                order = f"c{customer:03}", f"o{customer}-{ts}", ts, ITEMS[item], quantity, quantity * 1.5
                lines.append((*order, STORES[customer % len(STORES)]))
            ts += int(rng.integers(3 * DAY, 11 * DAY))
    folder.mkdir(parents=True, exist_ok=True)
    orders = pd.DataFrame(lines, columns=["customer_id", "order_id", "ts", "item_id", "quantity", "amount", "store"])
    orders["ts"] = pd.to_datetime(orders["ts"], unit="us", utc=True).map(lambda ts: ts.isoformat())
    orders.to_csv(folder / "orders.csv", index=False)
    people = pd.DataFrame({"customer_id": [f"c{number:03}" for number in range(customers)]})
    people["age"] = np.where(people.index % 2 == 0, "35-44", "65+")
    people.to_csv(folder / "customers.csv", index=False)
    pd.DataFrame({"item_id": ITEMS, "name": [item.title() for item in ITEMS]}).to_csv(folder / "items.csv", index=False)
    return folder


def plain_text(tokens: np.ndarray) -> Batch:
    """Text without any order in it; the last token is taken for the question."""
    at = np.array([len(tokens) - 1, 0], dtype=np.int32)[:, None]
    return Batch.from_prompts([Prompt(tokens.astype(np.int32), at[0], at[1], at[1], Record.none(), at[1], [at[1][:0]])])


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The shop as a dataset folder."""
    folder = tmp_path_factory.mktemp("shop")
    import_dataset("csv", source("csv", SourceOptions(path=write_shop(folder / "csv"))), folder / "data")
    return Dataset.open(folder / "data")


@pytest.fixture(scope="session")
def catalogue(shop: Dataset) -> Catalogue:
    return Cutoff(cutoff=moment(CUTOFF)).catalogue(shop, TEST)


@pytest.fixture(scope="session")
def vocabulary(catalogue: Catalogue) -> Vocabulary:
    return Vocabulary.train(catalogue, [" age 35-44.", " age 65+."])


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One local Ray for all tests that need it."""
    import ray

    from ray_app.cluster import connect
    from serving.tracing import ENDPOINTS, environment_of_proxies

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(ENDPOINTS[0], "http://127.0.0.1:4318")  # where tests of traces collect them
        traced = environment_of_proxies()
    connect(processors=2, dashboard=True, environment=traced)
    yield
    ray.shutdown()
