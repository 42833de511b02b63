"""Whether explanations are true, and what they cost: on the Complete Journey, of predictions at the cutoff.

    .venv/bin/python -m benchmarks.explanations --data DIR [--cutoff DATE] [--predictions N] [--seed N]

Of each customer drawn, with enough events, one of the 20 likeliest items is drawn; every other customer is asked about
28 days instead of the next order. The model then predicts anew, everything rendered again, without the events named
(up to three), and without as many others drawn at random. Faithful is an explanation where the events named move the
probability further. Beside it: how far the weight of the strongest event is from what the probability really moves
without it alone.

Latency: a prediction of 20 items with and without its explanation, in turn, in one process with one thread.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from demand.customer import Customer
from demand.dataset import Dataset
from demand.errors import DemandError
from demand.moments import moment
from demand.prompts import NEXT_ORDER
from demand.protocols import TEST, Cutoff
from demand.questions import Question
from demand.uses.explanation import NAMED, Event, Explanation, events_of, without
from modeling.occlusion import explained
from modeling.predictor import Predictor
from modeling.registry import Registry
from ray_app.home import Home

DAYS, TOP = 28, 20
TIMED = 100
ORDERS_TIMED = range(60, 101)


def faithfulness(
    predictor: Predictor, customers: Sequence[Customer], cutoff: int, rng: np.random.Generator
) -> dict[str, Any]:
    """How explanations of one item of each customer compare with chance, and with predicting anew."""
    further, named_moves, random_moves, weights, moves, times = [], [], [], [], [], []
    for number, customer in enumerate(customers):
        question = Question(customer, cutoff, (NEXT_ORDER, DAYS)[number % 2])
        (explanations,) = explained(predictor, question, TOP).explanations
        chosen: Explanation = explanations[int(rng.integers(len(explanations)))]
        others = [each for each in events_of(customer) if each not in chosen.events]
        drawn = [others[place] for place in rng.choice(len(others), len(chosen.events), replace=False)]
        whole, named, random, first = _chances(
            predictor, question, chosen.item, [(), chosen.events, drawn, chosen.events[:1]]
        )
        named_moves.append(abs(whole - named))
        random_moves.append(abs(whole - random))
        further.append(named_moves[-1] > random_moves[-1])
        weights.append(chosen.weights[0] if chosen.weights else 0.0)
        moves.append(whole - first)
        times.append(chosen.facts.times)
    bought = np.array(times) > 0
    won = np.array(further)
    off = np.abs(np.array(weights) - moves)
    return {
        "predictions": len(won),
        "faithful": float(won.mean()),
        "faithful, bought before": float(won[bought].mean()),
        "faithful, never bought": float(won[~bought].mean()) if (~bought).any() else None,
        "never bought": int((~bought).sum()),
        "named events move, mean": float(np.mean(named_moves)),
        "random events move, mean": float(np.mean(random_moves)),
        "strongest event moves, mean": float(np.mean(np.abs(moves))),
        "its weight is off by, mean": float(off.mean()),
        "its weight is off by, 95 %": float(np.quantile(off, 0.95)),
    }


def _chances(predictor: Predictor, question: Question, item: int, removed: Sequence[Sequence[Event]]) -> list[float]:
    """Of an item, predicted anew without each of some sets of events."""
    asked = [Question(without(question.customer, each), question.as_of, question.horizon_days) for each in removed]
    return [float(each) for each in predictor.chances(asked)[:, item]]


def latency(predictor: Predictor, customers: Sequence[Customer], cutoff: int) -> dict[str, float]:
    """Medians, in milliseconds, and their ratio."""

    def plain(question: Question) -> object:
        return predictor.answer([question], TOP)

    def with_reasons(question: Question) -> object:
        return explained(predictor, question, TOP).demands(TOP)

    took: dict[Callable[[Question], object], list[float]] = {plain: [], with_reasons: []}
    for customer in (customers[0], *customers):
        for answer, seconds in took.items():
            begin = time.perf_counter()
            answer(Question(customer, cutoff))
            seconds.append(time.perf_counter() - begin)
    without_ms, with_ms = (statistics.median(each[1:]) * 1_000 for each in took.values())
    return {"customers": len(customers), "plain ms": without_ms, "explained ms": with_ms, "ratio": with_ms / without_ms}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="the Complete Journey as a dataset folder")
    parser.add_argument("--model", default="demand@champion", help="as 'demandcast evaluate' takes it")
    parser.add_argument("--cutoff", default="2017-12-04")
    parser.add_argument("--predictions", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        dataset = Dataset.open(arguments.data)
        predictor = Predictor.load(Registry(Home.here().folder).resolve(arguments.model).checkpoint)
    except DemandError as error:
        sys.exit(str(error))
    cutoff = moment(arguments.cutoff)
    protocol = Cutoff(cutoff=cutoff, days=DAYS)
    predictor.read_sales(protocol.lines(dataset, TEST))
    rng = np.random.default_rng(arguments.seed)
    everyone = list(dataset.customers(before=cutoff))
    enough = [each for each in everyone if len(each.orders) >= 2 * NAMED]
    drawn = rng.choice(len(enough), min(arguments.predictions, len(enough)), replace=False)
    asked = [enough[place] for place in drawn]
    found = {
        "cutoff": arguments.cutoff,
        "faithfulness": faithfulness(predictor, asked, cutoff, rng),
        "latency": latency(predictor, asked[:TIMED], cutoff),
        f"latency, {ORDERS_TIMED[0]} to {ORDERS_TIMED[-1]} orders": latency(
            predictor, [each for each in enough if len(each.orders) in ORDERS_TIMED][:TIMED], cutoff
        ),
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
