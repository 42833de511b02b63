"""The Ray Data pipeline: customers of a dataset folder become packed prompts, rendered once and shared by all workers.

A row is one microbatch (demand.packing.TYPES). Tasks read ranges of customers, so no history is ever shuffled over
the network; rows come in the same order for the same seed, whatever the cluster, so that runs can be compared and
resumed.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import ray.data
from ray.data.dataset import MaterializedDataset

from demand.dataset import Dataset
from demand.packing import TYPES, grouped, pack
from demand.prompts import NEXT_ORDER, Prompt, Renderer
from demand.protocols import VALIDATION, Protocol, Stage
from demand.questions import Case

CUSTOMERS_PER_TASK = 128
STEP = "step"
"""A column of private packs."""


@dataclass(frozen=True)
class Examples:
    """How examples are rendered.

    Attributes:
        dataset: the folder read by every task; on a cluster it lies where all nodes reach it.
        customers: sorted ids of those who take part.
        protocol: what of each history is learned from and asked.
        alone: how many of a history's questions are asked, each in a prompt of its own, for a model that reads a prompt
            to its end before it answers, and prompts side by side; by default all of them, in one prompt.
        since: moment of the first training question, by default as early as histories allow.
    """

    dataset: Dataset
    customers: list[str]
    renderer: Renderer
    protocol: Protocol
    microbatch_tokens: int
    seed: int
    alone: int | None = None
    since: int | None = None

    def prompts(self, case: Case, rng: np.random.Generator) -> list[Prompt]:
        """What is learned from a customer, cut and asked anew each time."""
        prompts = list(self.renderer.training_prompts(case.past, case.moment, rng, self.protocol.at_orders, self.since))
        if self.alone is None:
            return prompts
        return [each for prompt in prompts for each in asked_alone(prompt, self.alone, rng)]


def training_packs(examples: Examples, until: Stage, epochs: int) -> MaterializedDataset[Any]:
    """Microbatches of all epochs in training order; each epoch cuts, asks and shuffles the histories anew.

    Args:
        until: the stage whose moments nothing is seen from.
    """
    ranges = _ranges(examples.customers)
    tasks = [
        {"epoch": epoch, "range": place, "ids": ranges[place]}
        for epoch in range(epochs)
        for place in np.random.default_rng([examples.seed, epoch]).permutation(len(ranges)).tolist()
    ]
    rendering = replace(examples, customers=[])

    def render(epoch: int, place: int, ids: list[str]) -> Iterator[Prompt]:
        rng = np.random.default_rng([rendering.seed, epoch, place])
        cases = rendering.protocol.cases(rendering.dataset, ids, until)
        prompts = [prompt for case in cases for prompt in rendering.prompts(case, rng)]
        rng.shuffle(prompts)
        yield from prompts

    return _packs(tasks, render, examples)


def private_packs(
    examples: Examples, until: Stage, steps: int, rate: float
) -> tuple[MaterializedDataset[Any], tuple[int, ...]]:
    """Microbatches of one customer each, in the order of their STEP, and how many each step has.

    Every step draws every customer by itself, with a chance of `rate` (Poisson sampling, which is what the accounts of
    differential privacy are about). Nobody may know who was drawn, so no seed decides it: a run that is resumed goes on
    with another draw.
    """
    rendering = replace(examples, customers=[])

    def run(task: pa.Table) -> pa.Table:
        rng = np.random.default_rng()
        rows: list[dict[str, Any]] = []
        for case in rendering.protocol.cases(rendering.dataset, task["ids"][0].as_py(), until):
            for step in np.flatnonzero(rng.random(steps) < rate).tolist():
                if prompts := rendering.prompts(case, rng):
                    rows.append({STEP: step, **pack(prompts)})
        return _table(rows).append_column(STEP, pa.array([row[STEP] for row in rows], type=pa.int64()))

    packs = _rendered([{"ids": ids} for ids in _ranges(examples.customers)], run, by=STEP)
    drawn = np.array([row[STEP] for row in packs.select_columns(STEP).take_all()], dtype=np.int64)
    return packs, tuple(np.bincount(drawn, minlength=steps).tolist())


def validation_packs(examples: Examples) -> MaterializedDataset[Any]:
    """Microbatches that ask for the next order as validation does, with what was bought as the truth."""
    dataset, renderer, protocol = examples.dataset, examples.renderer, examples.protocol

    def render(epoch: int, place: int, ids: list[str]) -> Iterator[Prompt]:
        questions = protocol.questions(dataset, ids, renderer.catalogue, VALIDATION)
        for customer, moment, target in zip(questions.customers, questions.moments, questions.next_order, strict=True):
            yield renderer.prompt(customer, moment, NEXT_ORDER).with_targets([target])

    tasks = [{"epoch": 0, "range": place, "ids": ids} for place, ids in enumerate(_ranges(examples.customers))]
    return _packs(tasks, render, examples)


def _packs(
    tasks: list[dict[str, Any]], render: Callable[[int, int, list[str]], Iterable[Prompt]], examples: Examples
) -> MaterializedDataset[Any]:
    """Each task brings its customers' ids along: `render` goes to every one of them, and must not grow with all ids."""
    tokens, padded = examples.microbatch_tokens, examples.alone is not None

    def run(task: pa.Table) -> pa.Table:
        (row,) = task.to_pylist()
        prompts = render(row["epoch"], row["range"], row["ids"])
        return _table([pack(group) for group in grouped(prompts, tokens, padded)])

    return _rendered(tasks, run)


def _table(packs: list[dict[str, Any]]) -> pa.Table:
    return pa.table({name: pa.array([each[name] for each in packs], type=_ARROW[name]) for name in TYPES})


def _rendered(
    tasks: list[dict[str, Any]], run: Callable[[pa.Table], pa.Table], by: str | None = None
) -> MaterializedDataset[Any]:
    """What Ray Data's tasks make of each, in order, or in that of a column."""
    context = ray.data.DataContext.get_current().copy()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    with ray.data.DataContext.current(context):
        rows = ray.data.from_items(tasks, override_num_blocks=len(tasks))
        packs = rows.map_batches(run, batch_size=1, batch_format="pyarrow")
        if by:
            packs = packs.sort(by)
        materialized: MaterializedDataset[Any] = packs.materialize()
    return materialized


def asked_alone(prompt: Prompt, count: int, rng: np.random.Generator) -> list[Prompt]:
    """Some of a prompt's questions at random, each in a prompt of its own."""
    asked = rng.choice(len(prompt.queries), min(count, len(prompt.queries)), replace=False)
    return [prompt.alone(int(query)) for query in asked]


def _ranges(customers: list[str]) -> list[list[str]]:
    return [customers[start : start + CUSTOMERS_PER_TASK] for start in range(0, len(customers), CUSTOMERS_PER_TASK)]


_ARROW = {name: pa.list_(pa.from_numpy_dtype(type)) for name, type in TYPES.items()}
