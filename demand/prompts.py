"""Rendering: one customer's history, as of a moment, becomes what the model reads: a token sequence and a record.

The same code serves training, evaluation and serving. A prompt is the only thing that passes from the domain to the
model.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from demand.catalogue import Catalogue
from demand.customer import Browsing, Customer, Order, Review
from demand.formats import PromptFormat
from demand.moments import DAY, WEEK
from demand.record import Record
from demand.vocabulary import GAP_DAYS, HORIZON_DAYS, LONGEST_HORIZON, SPEND, Vocabulary

NEXT_ORDER = 0
"""The question that asks for the next order, among questions that otherwise are a number of days."""
REVIEW_TOKENS = 48
HORIZON_SHARE = 0.3
"""Share of training queries that ask for a horizon rather than the next order."""
QUESTIONS_A_WEEK, HALVING_WEEKS = 2.0, 13.0
"""How many training queries there are at the end of what is learned from, and when there were half as many."""


@dataclass(frozen=True)
class Prompt:
    """A rendered history. T tokens, Q queries.

    Attributes:
        tokens: (T,) int32 token ids.
        queries: (Q,) int32 positions at which a question is asked.
        moments: (Q,) int64 microseconds when each is asked.
        horizons: (Q,) int32 days that each asks about, NEXT_ORDER for the next order.
        record: all that the customer did before the last moment, however little of it the tokens hold.
        waits: (Q,) float32 days until the next order; below zero where none came in so many days, and zero outside of
            training.
        targets: for each query the indices of the items that were really bought, within a horizon once for each order
            that held them; empty arrays outside of training, and where no next order came.
    """

    tokens: np.ndarray
    queries: np.ndarray
    moments: np.ndarray
    horizons: np.ndarray
    record: Record
    waits: np.ndarray
    targets: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.tokens)

    def with_targets(self, targets: list[np.ndarray]) -> "Prompt":
        """The same prompt with the truth to each of its queries."""
        return replace(self, targets=targets)

    def alone(self, query: int) -> "Prompt":
        """The prompt up to one of its queries, without the others: for a model that reads all before it answers."""
        tokens = np.delete(self.tokens[: self.queries[query] + 1], self.queries[:query])
        one = slice(query, query + 1)
        end = np.array([len(tokens) - 1], dtype=np.int32)
        waits, targets = self.waits[one], self.targets[one]
        return Prompt(tokens, end, self.moments[one], self.horizons[one], self.record, waits, targets)


_NOTHING = np.zeros(0, dtype=np.int64)


class _Question(NamedTuple):
    """As in Prompt."""

    moment: int
    days: int
    wait: float = 0.0
    targets: np.ndarray = _NOTHING


@dataclass
class _Writer:
    """Grows a prompt token by token."""

    record: Record
    tokens: list[int] = field(default_factory=list)
    queries: list[int] = field(default_factory=list)
    questions: list[_Question] = field(default_factory=list)

    def ask(self, token: int, question: _Question) -> None:
        self.queries.append(len(self.tokens))
        self.questions.append(question)
        self.tokens.append(token)

    def finish(self) -> Prompt:
        moments, horizons, waits, targets = zip(*self.questions, strict=True)
        return Prompt(
            np.array(self.tokens, dtype=np.int32),
            np.array(self.queries, dtype=np.int32),
            np.array(moments, dtype=np.int64),
            np.array(horizons, dtype=np.int32),
            self.record.lines(self.record.times < moments[-1]),
            np.array(waits, dtype=np.float32),
            list(targets),
        )


Event = Order | Browsing | Review


class Renderer:
    """Writes customers' histories in one prompt format."""

    def __init__(self, prompt_format: PromptFormat, vocabulary: Vocabulary, catalogue: Catalogue) -> None:
        self.format = prompt_format
        self.vocabulary = vocabulary
        self.catalogue = catalogue
        self._item_tokens = self._written_items()

    def prompt(self, customer: Customer, as_of: int, question: int = NEXT_ORDER) -> Prompt:
        """The prompt that asks one question at a moment; events from that moment on are left out.

        Args:
            question: NEXT_ORDER or a horizon in days, 1 to LONGEST_HORIZON.
        """
        events = self._events(customer.before(as_of))
        first, room = len(events), self.format.history_tokens
        while first and (room := room - self._size(events[first - 1])) >= 0:
            first -= 1
        asked = [_Question(as_of, question)]
        return self._write(customer, Record.of(customer, self.catalogue), events, first, asked)

    def training_prompts(
        self, customer: Customer, end: int, rng: np.random.Generator, at_orders: bool = False, since: int | None = None
    ) -> Iterator[Prompt]:
        """Prompts that ask about a customer time and again, as far as the answer lies before `end`.

        A history too long for one prompt is cut into several, at another place each time (`rng`). Questions are asked
        at random moments, as they will be in use, where nobody knows when the next order comes, or whether: the later,
        the more often, for then histories are as long and the times as they will be; and one before the first order.
        `at_orders` asks for each order at its own moment instead, and for nothing else: as in use where that moment is
        known. Nothing is asked `since` before a moment, of a model that has learned that already.
        """
        known = customer.before(end)
        questions = self._training_questions(known, end, None if at_orders else rng)
        if since is not None:
            questions = [each for each in questions if each.moment >= since]
        record = Record.of(known, self.catalogue)
        events = self._events(known)
        sizes = [self._size(event) for event in events]
        for moment, *_ in questions:  # a question's token is written before the event that follows it
            sizes[min(bisect_left(events, moment, key=lambda event: event.ts), len(sizes) - 1)] += 1
        capacity = self.format.history_tokens
        room = capacity if sum(sizes) <= capacity else int(rng.integers(capacity // 2, capacity + 1))
        first = 0
        while first < len(events):
            last = first
            while last < len(events) and (last == first or room >= sizes[last]):
                room -= sizes[last]
                last += 1
            starts_at = events[first].ts if first else -math.inf
            ends_at = events[last].ts if last < len(events) else end
            asked = [each for each in questions if starts_at < each.moment <= ends_at]
            if asked:
                yield self._write(customer, record, events[:last], first, asked)
            first, room = last, capacity

    def _training_questions(self, customer: Customer, end: int, rng: np.random.Generator | None) -> list[_Question]:
        """At random moments, or with no `rng` at each order."""
        if not customer.orders:
            return []
        times = np.array([order.ts for order in customer.orders], dtype=np.int64)
        baskets = [self._indices(order) for order in customer.orders]
        moments = np.unique(times)
        days = np.full(len(moments), NEXT_ORDER)
        if rng:
            moments = _moments(times[0], end, rng)
            days = _days(moments, end, rng)
        questions: list[_Question] = []
        for moment, horizon in zip(moments.tolist(), days.tolist(), strict=True):
            first = int(np.searchsorted(times, moment))
            together = 1 if rng else int(np.searchsorted(times, moment, side="right")) - first
            last = int(np.searchsorted(times, moment + horizon * DAY)) if horizon else first + together
            wanted = np.concatenate([_NOTHING, *baskets[first:last]])
            came = first < len(times)
            wait = (times[first] - moment) / DAY if came else (moment - end) / DAY
            questions.append(_Question(moment, horizon, wait if rng else 0.0, wanted))
        return questions

    def _write(
        self, customer: Customer, record: Record, events: list[Event], first: int, questions: list[_Question]
    ) -> Prompt:
        writer = _Writer(record)
        writer.tokens += self._opening(customer)
        previous = next((event.ts for event in reversed(events[:first]) if isinstance(event, Order)), None)
        asked = 0
        for event in events[first:]:
            while asked < len(questions) and questions[asked].moment <= event.ts:
                self._ask(writer, questions[asked])
                asked += 1
            writer.tokens += self._written(event, previous)[: self.format.history_tokens]
            if isinstance(event, Order):
                previous = event.ts
        for question in questions[asked:]:
            self._ask(writer, question)
        return writer.finish()

    def _ask(self, writer: _Writer, question: _Question) -> None:
        days = question.days
        control = self.vocabulary.control["<next-order>"]
        writer.ask(self.vocabulary.bucket("within", HORIZON_DAYS, days) if days else control, question)

    def _opening(self, customer: Customer) -> list[int]:
        tokens = [self.vocabulary.control["<start>"]]
        if self.format.instruction:
            tokens += self.vocabulary.text(self.format.instruction)
        if "profile" in self.format.fields and customer.attributes:
            tokens += self.vocabulary.text(profile_text(customer))
        return tokens

    def _written(self, event: Event, previous: int | None) -> list[int]:
        """An event's tokens, of which a prompt takes as many as a history may have; of an order, with the gap since the
        previous one."""
        if isinstance(event, Order):
            return self._order(event, previous)
        if isinstance(event, Browsing):
            tokens = [self.vocabulary.control["<browsing>"], *self.vocabulary.text(f" {event.action}")]
        else:
            tokens = [self.vocabulary.control[f"<rating-{event.rating}>"]]
        if event.text:
            tokens += self.vocabulary.text(f" {event.text}")[:REVIEW_TOKENS]
        index = self.catalogue.index.get(event.item) if event.item else None
        return tokens if index is None else tokens + self._item_tokens[index]

    def _order(self, order: Order, previous: int | None) -> list[int]:
        tokens = self._gap(order.ts, previous)
        if "spend" in self.format.fields:
            tokens.append(self.vocabulary.bucket("spend", SPEND, order.amount))
        return tokens + [token for index in self._listed(order) for token in self._item_tokens[index]]

    def _gap(self, ts: int, previous: int | None) -> list[int]:
        if previous is None or self.format.gaps == "none":
            return []
        days = (ts - previous) // DAY
        if self.format.gaps == "token":
            return [self.vocabulary.bucket("gap", GAP_DAYS, days)]
        return self.vocabulary.text(gap_text(days))

    def _listed(self, order: Order) -> list[int]:
        """Indices of the order's known items in the order in which they are written."""
        index = self.catalogue.index
        known = [
            (-amount, index[item]) for item, amount in zip(order.items, order.amounts, strict=True) if item in index
        ]
        if self.format.item_order == "catalogue":
            return sorted(item for _, item in known)
        return [item for _, item in sorted(known)]

    def _indices(self, order: Order) -> np.ndarray:
        index = self.catalogue.index
        return np.unique(np.array([index[item] for item in order.items if item in index], dtype=np.int64))

    def _written_items(self) -> list[list[int]]:
        if self.format.items == "token":
            return [[self.vocabulary.item(index)] for index in range(len(self.catalogue))]
        return self.vocabulary.names(self.catalogue)

    def _size(self, event: Event) -> int:
        """Tokens that an event takes, if it is not the first."""
        return min(len(self._written(event, previous=0)), self.format.history_tokens)

    def _events(self, customer: Customer) -> list[Event]:
        """All events that the format writes, in time order; what happens at the same moment keeps its kind's order."""
        events: list[Event] = list(customer.orders)
        if "browsing" in self.format.fields:
            events += customer.browsing
        if "reviews" in self.format.fields:
            events += customer.reviews
        return sorted(events, key=lambda event: event.ts)


def _moments(first: int, end: int, rng: np.random.Generator) -> np.ndarray:
    """Random moments from a week before the first order to the end, in order, QUESTIONS_A_WEEK at the end and half as
    many with each HALVING_WEEKS before; the first one at the first order at the latest."""
    slope = QUESTIONS_A_WEEK * HALVING_WEEKS / math.log(2)
    total = slope * -math.expm1(-math.log(2) / HALVING_WEEKS * (end - first + WEEK) / WEEK)
    numbers = np.arange(total)[::-1]  # of the moments, counted from the end: one falls at random within each of them
    numbers = numbers + rng.random(len(numbers)) * np.minimum(total - numbers, 1)
    weeks = -np.log1p(-numbers / slope) * HALVING_WEEKS / math.log(2)
    moments = end - (weeks * WEEK).astype(np.int64)
    moments[0] = min(moments[0], first)
    return moments


def _days(moments: np.ndarray, end: int, rng: np.random.Generator) -> np.ndarray:
    """What is asked at each moment: how many days, or NEXT_ORDER; no horizon reaches beyond the end."""
    days = np.exp(rng.uniform(0, np.log(LONGEST_HORIZON), len(moments))).astype(int)
    days[(rng.random(len(moments)) >= HORIZON_SHARE) | (moments + days * DAY > end)] = NEXT_ORDER
    return days


def profile_text(customer: Customer) -> str:
    """Attributes in the order of their names: ' age 35-44; income 50-74K.'"""
    return (
        " "
        + "; ".join(f"{name.replace('_', ' ')} {value}" for name, value in sorted(customer.attributes.items()))
        + "."
    )


def gap_text(days: int) -> str:
    """Time since the previous order, in words."""
    return " Same day:" if days == 0 else " Next day:" if days == 1 else f" After {days} days:"
