"""What the model reads: signals that lie in one kind of event alone, and what is left where it is not there."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from demand.catalogue import Catalogue
from demand.customer import Browsing, Customer, Order, Review
from demand.formats import prompt_format
from demand.moments import DAY, WEEK
from demand.packing import pack
from demand.prompts import Renderer
from demand.vocabulary import Vocabulary
from modeling.batch import Batch
from modeling.megatron.finetuning import FineTuning, Schedule
from modeling.megatron.model import DemandModel, initialize_from_catalogue
from modeling.parallel import initialize
from modeling.settings import ModelSettings

NAMES = ["lemons", "sugar", "coffee", "butter", "onions", "cheese", "salmon", "olives", "honey", "yeast"]
WEEKS = 6
END = WEEKS * WEEK
STEPS = 140
Signal = Callable[[np.random.Generator, int, int], tuple[list[Browsing], list[Review]]]


def looked_at(rng: np.random.Generator, wanted: int, day: int) -> tuple[list[Browsing], list[Review]]:
    """What will be bought was looked at before."""
    return [Browsing((day - int(rng.integers(1, 6))) * DAY, "view", NAMES[wanted])], []


def asked_for(rng: np.random.Generator, wanted: int, day: int) -> tuple[list[Browsing], list[Review]]:
    """A review of something else says what will be bought."""
    return [], [Review((day - 5) * DAY, NAMES[int(rng.integers(len(NAMES)))], 3, f"next time {NAMES[wanted]}")]


def shop(signal: Signal, count: int) -> list[tuple[Customer, int]]:
    """Customers who buy one item a week, any item; each with what comes after END."""
    rng = np.random.default_rng(0)
    people = []
    for number in range(count):
        wanted = rng.integers(len(NAMES), size=WEEKS + 1)
        days = [week * 7 + 7 for week in range(WEEKS + 1)]
        orders = [Order(day * DAY, (NAMES[item],), (1,), (1.0,)) for day, item in zip(days, wanted, strict=True)]
        signs = [signal(rng, int(item), day) for day, item in zip(days, wanted, strict=True)]
        browsing = tuple(sorted((each for looks, _ in signs for each in looks), key=lambda each: each.ts))
        reviews = tuple(each for _, said in signs for each in said)
        people.append((Customer(str(number), tuple(orders[:-1]), browsing, reviews), int(wanted[-1])))
    return people


TASTES = ["organic", "spicy", "frozen", "salted"]
TASTEFUL = sorted(f"{taste} {thing}" for taste in TASTES for thing in NAMES)
NEVER_SOLD = [f"{taste} {NAMES[-1]}" for taste in TASTES]


def tasteful(count: int) -> list[tuple[Customer, int]]:
    """Customers who each buy what is to their taste, but for what is not sold yet; each with that taste."""
    rng = np.random.default_rng(0)
    people = []
    for number in range(count):
        taste = int(rng.integers(len(TASTES)))
        things = rng.integers(len(NAMES) - 1, size=WEEKS)
        items = [f"{TASTES[taste]} {NAMES[thing]}" for thing in things]
        orders = [Order((week * 7 + 7) * DAY, (item,), (1,), (1.0,)) for week, item in enumerate(items)]
        people.append((Customer(str(number), tuple(orders)), taste))
    return people


class Shopkeeper:
    """A small model that learned from some customers of a shop that sells these items."""

    def __init__(self, people: list[tuple[Customer, int]], names: list[str], never_sold: Sequence[str] = ()) -> None:
        columns = {name: pa.nulls(len(names), pa.string()) for name in ("category", "department")}
        figures = {"orders": [int(name not in never_sold) for name in names]}
        means = {name: [1.0] * len(names) for name in ("mean_quantity", "mean_amount")}
        prices = {"price": pa.nulls(len(names), pa.float64())}
        catalogue = Catalogue(pa.table({"item_id": names, "name": names, **columns, **prices, **figures, **means}))
        vocabulary = Vocabulary.train(catalogue, ["next time"])
        self.renderer = Renderer(prompt_format("profile"), vocabulary, catalogue)
        initialize(seed=1)
        settings = ModelSettings(layers=1, hidden=64, heads=2, ffn=64, habit_width=32, dropout=0.0)
        model = DemandModel(settings, len(vocabulary), len(catalogue), catalogue=catalogue)
        initialize_from_catalogue(model, vocabulary, catalogue)
        self.tuning = FineTuning(model, Schedule(1e-2, 10, STEPS, 0.01, 1.0))
        rng = np.random.default_rng(2)
        for step in range(STEPS):
            chosen = [people[one][0] for one in rng.choice(len(people), 12, replace=False)]
            prompts = [each for customer in chosen for each in self.renderer.training_prompts(customer, END, rng)]
            self.tuning.step([Batch.from_arrays(pack(prompts))], [step])

    def hits(self, people: list[tuple[Customer, int]], among: Sequence[int] | None = None) -> float:
        """How often the likeliest item, of all or of some, is the one that is wanted."""
        prompts = [self.renderer.prompt(customer, END + 6 * DAY) for customer, _ in people]
        (forecasts,) = self.tuning.forecasts([Batch.from_arrays(pack(prompts))], 1)
        rates = forecasts[:, 1:] if among is None else forecasts[:, 1:][:, among]
        return float(np.mean(rates.argmax(1) == [wanted for _, wanted in people]))


@pytest.mark.parametrize("signal", [looked_at, asked_for])
def test_a_signal_that_lies_in_one_kind_of_event_is_found_there_and_nowhere_else(signal: Signal) -> None:
    people = shop(signal, 400)
    seen, unseen = people[:-100], people[-100:]

    model = Shopkeeper(seen, NAMES)

    assert model.hits(unseen) > 0.7
    without = [(replace(customer, browsing=(), reviews=()), wanted) for customer, wanted in unseen]
    assert model.hits(without) < 0.25  # 1 in 10 by chance


def test_a_name_tells_who_will_like_what_nobody_bought_before() -> None:
    people = tasteful(400)
    seen, others = people[:-100], people[-100:]

    model = Shopkeeper(seen, TASTEFUL, NEVER_SOLD)

    assert model.hits(others, [TASTEFUL.index(item) for item in NEVER_SOLD]) > 0.9  # 1 in 4 by chance
