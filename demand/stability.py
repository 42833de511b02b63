"""Whether what comes in is still what a model learned from: one number a signal, and the limits past which to act.

Populations are compared by the population stability index (PSI). With shares p of the training period and q of what
comes in over the same groups, it is the sum of (q - p) ln(q / p): the symmetrised divergence of Kullback & Leibler
(1951, there called J), which credit scoring took up by this name (Siddiqi, Credit Risk Scorecards, 2006). It is 0 for
equal shares, never negative, and the same both ways.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.special import chdtri

from demand.errors import SettingsError
from demand.moments import DAY, SECOND

INCOMING = ["customer_id", "ts", "order_id", "item_id", "amount"]
"""Columns of the order lines that `intakes` reads."""
BINS = 10
"""Of what is a number: tenths of the training period."""
MOST_GROUPS = 50
"""Groups of items that are told apart, the most sold in the training period; all others are one."""
CHANCE = 0.95
SMALLEST = 0.5
"""Added to each count, so that a group that one period lacks has a share."""
HOUR = 3_600 * SECOND
THURSDAY = 3
"""1970-01-01, counted from Monday on."""
Verdict = Literal["steady", "notice", "act"]


@dataclass(frozen=True)
class Limits:
    """From where on a signal is worth a notice, and from where on one acts."""

    notice: float
    act: float


PSI_LIMITS = Limits(0.1, 0.25)
"""What the field goes by (Siddiqi, 2006): below .1 little has changed, above .25 the population is another."""
LIMITS: dict[str, Limits] = {
    **dict.fromkeys(("categories", "gaps", "baskets", "spend", "hours", "weekdays"), PSI_LIMITS),
    "unknown-items": Limits(0.02, 0.1),  # at .1 one item in ten of what is bought cannot be shown by habit or embedding
    "new-customers": Limits(0.1, 0.3),  # of whom the model knows as little as anybody
    "ndcg@10": Limits(0.05, 0.1),  # months of a shop in which little changes differ by 7 % (docs/quality.md)
    "calibration-error": Limits(0.03, 0.06),  # of a chance that is shown; 1 to 2 % is what an evaluation finds at first
    "purchases": Limits(0.1, 0.25),  # a quarter more or less than was expected is a quarter of the stock
    "conversion": Limits(0.1, 0.25),
}
"""By signal."""


@dataclass(frozen=True)
class Signal:
    """One comparison of now with then, larger where more has changed.

    Attributes:
        name: one of LIMITS.
        text: what was compared, and how it stands, for people.
        value: a PSI, a share, or a relative change, as `text` says.
        chance: what the value stays below in 95 of 100 samples of this size where nothing has changed.
    """

    name: str
    text: str
    value: float
    chance: float = 0.0
    limits: Limits = PSI_LIMITS

    @property
    def verdict(self) -> Verdict:
        """What chance alone could bring is steady, however large."""
        if self.value <= self.chance or self.value < self.limits.notice:
            return "steady"
        return "act" if self.value >= self.limits.act else "notice"


def within(signals: Iterable[Signal], limits: Mapping[str, Limits]) -> list[Signal]:
    """The signals with these limits, where there are some for them, else with LIMITS."""
    return [replace(each, limits=limits.get(each.name, LIMITS[each.name])) for each in signals]


def parse_limit(text: str) -> tuple[str, Limits]:
    """'gaps=0.2:0.5' -> ('gaps', Limits(.2, .5)).

    Raises:
        SettingsError: there is no such signal, or these are no limits.
    """
    name, _, values = text.partition("=")
    if name not in LIMITS:
        raise SettingsError(f"--limit {text}: no signal '{name}': choose one of {', '.join(LIMITS)}")
    try:
        notice, act = map(float, values.split(":"))
    except ValueError:
        notice, act = np.nan, np.nan
    if not (0 <= notice <= act and act > 0):
        raise SettingsError(f"--limit {text}: write it like {name}=0.1:0.25, a notice from .1 on, acting from .25 on")
    return name, Limits(notice, act)


def population_stability_index(then: np.ndarray, now: np.ndarray) -> float:
    """The PSI of counts over the same groups, (B,) each; half an event is added to each group."""
    p, q = (_shares(each) for each in (then, now))
    return float(((q - p) * np.log(q / p)).sum())


def stability_by_chance(then: np.ndarray, now: np.ndarray) -> float:
    """What the PSI of two samples of one population stays below in CHANCE of all cases: of independent events it is
    distributed as (1/N + 1/M) times chi-squared with B - 1 degrees of freedom (Yurdakul, Statistical Properties of
    Population Stability Index, 2018). Groups that neither sample has do not count."""
    groups = int(((then + now) > 0).sum())
    if groups < 2 or not then.sum() or not now.sum():
        return 0.0
    return float(chdtri(groups - 1, 1 - CHANCE) * (1 / then.sum() + 1 / now.sum()))


def _shares(counts: np.ndarray) -> np.ndarray:
    shares: np.ndarray = (counts + SMALLEST) / (counts.sum() + SMALLEST * len(counts))
    return shares


@dataclass(frozen=True)
class Intake:
    """What came in within a period: O orders, G of them with an earlier one of their customer.

    Attributes:
        ts: (O,) moments.
        gaps: (G,) days since the customer's order before, which may lie before the period.
        baskets: (O,) different items.
        spend: (O,) paid, in currency units.
        lines: order lines by item.
        customers: who ordered.
        newcomers: those of them who had never ordered before a moment that `intakes` is told.
    """

    ts: np.ndarray
    gaps: np.ndarray
    baskets: np.ndarray
    spend: np.ndarray
    lines: Mapping[str, int]
    customers: int
    newcomers: int


def intakes(tables: Iterable[pa.Table], periods: Sequence[tuple[int, int]], known_before: int) -> list[Intake]:
    """What came in within periods, each from a moment to before another. Some 30 bytes an order are kept.

    Args:
        tables: order lines (INCOMING), of some customers at a time, all of theirs, in the order of a dataset.
        known_before: who had ordered before this moment is no newcomer.
    """
    kept: list[list[pd.DataFrame]] = [[] for _ in periods]
    lines: list[dict[str, int]] = [{} for _ in periods]
    people = [[0, 0] for _ in periods]
    for table in tables:
        if not len(table):
            continue
        rows = table.set_column(table.column_names.index("ts"), "ts", table["ts"].cast(pa.int64())).to_pandas()
        by_order = rows.groupby(["customer_id", "ts", "order_id"], sort=False)
        orders = by_order.agg(baskets=("item_id", "nunique"), spend=("amount", "sum")).reset_index()
        orders["gaps"] = orders.groupby("customer_id", sort=False)["ts"].diff() / DAY
        orders["first"] = orders.groupby("customer_id", sort=False)["ts"].transform("min")
        for place, (start, end) in enumerate(periods):
            mine = orders[(orders["ts"] >= start) & (orders["ts"] < end)]
            kept[place].append(mine[["ts", "gaps", "baskets", "spend"]])
            for item, count in rows[(rows["ts"] >= start) & (rows["ts"] < end)]["item_id"].value_counts().items():
                lines[place][str(item)] = lines[place].get(str(item), 0) + int(count)
            buyers = mine.drop_duplicates("customer_id")
            people[place][0] += len(buyers)
            people[place][1] += int((buyers["first"] >= known_before).sum())
    return [_intake(*each) for each in zip(kept, lines, people, strict=True)]


def _intake(frames: list[pd.DataFrame], lines: Mapping[str, int], people: Sequence[int]) -> Intake:
    columns = ["ts", "gaps", "baskets", "spend"]
    orders = pd.concat(frames) if frames else pd.DataFrame(columns=columns, dtype=float)
    ts, gaps, baskets, spend = (orders[name].to_numpy() for name in columns)
    return Intake(ts.astype(np.int64), gaps[~np.isnan(gaps.astype(float))], baskets, spend, lines, *people)


def incoming_signals(then: Intake, now: Intake, groups: Mapping[str, str]) -> list[Signal]:
    """How far what comes in differs from the training period, both with an order at least.

    Args:
        groups: by item that sold in the training period, what it is counted as.
    """
    numbers: tuple[tuple[str, str, Callable[[Intake], np.ndarray]], ...] = (
        ("gaps", "days between a customer's orders", lambda each: each.gaps),
        ("baskets", "different items of an order", lambda each: each.baskets),
        ("spend", "what an order cost", lambda each: each.spend),
    )
    signals = [_stability("categories", "what is bought, by category", *_by_group(then, now, groups))]
    for name, words, values in numbers:
        before, after = values(then), values(now)
        if len(before) and len(after):
            medians = f"median {np.median(after):.4g}, was {np.median(before):.4g}"
            signals.append(_stability(name, f"{words}, {medians}", *_in_tenths(before, after)))
    for name, words, first, length, size in (
        ("hours", "hour of the day (UTC)", 0, HOUR, 24),
        ("weekdays", "day of the week", THURSDAY, DAY, 7),
    ):
        before, after = (np.bincount((each.ts // length + first) % size, minlength=size) for each in (then, now))
        signals.append(_stability(name, words, before, after))
    unknown = sum(count for item, count in now.lines.items() if item not in groups) / sum(now.lines.values())
    signals.append(Signal("unknown-items", f"{unknown:.1%} of what is bought had not sold in training", unknown))
    new = now.newcomers / now.customers
    signals.append(Signal("new-customers", f"{new:.1%} of the customers had not ordered in training", new))
    return signals


def _stability(name: str, words: str, then: np.ndarray, now: np.ndarray) -> Signal:
    return Signal(name, words, population_stability_index(then, now), stability_by_chance(then, now))


def _in_tenths(then: np.ndarray, now: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts in bins that hold a tenth each of what was then, or more where one value is common."""
    edges = np.unique(np.quantile(then, np.arange(1, BINS) / BINS))
    before, after = (np.bincount(np.searchsorted(edges, each), minlength=len(edges) + 1) for each in (then, now))
    return before, after


def _by_group(then: Intake, now: Intake, groups: Mapping[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Lines of the most sold groups, and of all others in the last place."""
    counted = [
        pd.Series(each.lines, dtype=float).groupby(lambda item: groups.get(item, "")).sum() for each in (then, now)
    ]
    most = counted[0].drop("", errors="ignore").nlargest(MOST_GROUPS).index
    first, second = (
        np.append(each.reindex(most, fill_value=0.0), each.drop(most, errors="ignore").sum()) for each in counted
    )
    return first, second
