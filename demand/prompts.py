"""Rendering: one customer's history, as of a moment, becomes the token sequence that the model reads.

The same code serves training, evaluation and serving. A prompt is a record of equal-length arrays, and the only thing
that passes from the domain to the model.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from demand.catalogue import Catalogue
from demand.customer import Browsing, Customer, Order, Review
from demand.formats import PromptFormat
from demand.moments import DAY
from demand.vocabulary import GAP_DAYS, HORIZON_DAYS, LONGEST_HORIZON, SPEND, Vocabulary

NEXT_ORDER = 0
"""The question that asks for the next order, among questions that otherwise are a number of days."""
REVIEW_TOKENS = 48
HORIZON_SHARE = 0.3
"""Share of training queries that ask for a horizon rather than the next order."""


@dataclass(frozen=True)
class Prompt:
    """A rendered history. T tokens, Q queries.

    Attributes:
        tokens: (T,) int32 token ids.
        items: (T,) int32, the catalogue item that a position completes, or -1.
        ages: (T,) float32, days from the event at the position to the end of the prompt.
        orders: (T,) int32, the ordinal of the order that a position belongs to (0 before the first).
        queries: (Q,) int32 positions at which a question is asked.
        targets: for each query the indices of the items that were really bought; empty arrays outside of training.
    """

    tokens: np.ndarray
    items: np.ndarray
    ages: np.ndarray
    orders: np.ndarray
    queries: np.ndarray
    targets: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.tokens)

    def with_targets(self, targets: list[np.ndarray]) -> "Prompt":
        """The same prompt with the truth to each of its queries."""
        return replace(self, targets=targets)

    def alone(self, query: int) -> "Prompt":
        """The prompt up to one of its queries, without the others: for a model that reads all before it answers."""
        last = self.queries[query]
        kept = np.ones(last + 1, dtype=bool)
        kept[self.queries[:query]] = False
        end = np.array([kept.sum() - 1], dtype=np.int32)
        return Prompt(
            self.tokens[: last + 1][kept],
            self.items[: last + 1][kept],
            self.ages[: last + 1][kept],
            self.orders[: last + 1][kept],
            end,
            self.targets[query : query + 1],
        )


@dataclass
class _Writer:
    """Grows a prompt token by token."""

    tokens: list[int] = field(default_factory=list)
    items: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    orders: list[int] = field(default_factory=list)
    queries: list[int] = field(default_factory=list)
    targets: list[np.ndarray] = field(default_factory=list)
    order: int = 0

    def write(self, tokens: list[int], items: list[int], ts: int) -> None:
        self.tokens += tokens
        self.items += items
        self.times += [ts] * len(tokens)
        self.orders += [self.order] * len(tokens)

    def ask(self, token: int, ts: int, target: np.ndarray) -> None:
        self.queries.append(len(self.tokens))
        self.targets.append(target)
        self.write([token], [-1], ts)

    def finish(self) -> Prompt:
        ages = (self.times[-1] - np.array(self.times, dtype=np.int64)) / DAY
        return Prompt(
            np.array(self.tokens, dtype=np.int32),
            np.array(self.items, dtype=np.int32),
            ages.astype(np.float32),
            np.array(self.orders, dtype=np.int32),
            np.array(self.queries, dtype=np.int32),
            self.targets,
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
        return self._write(customer, events, first, [(as_of, question, _NOTHING)])

    def training_prompts(self, customer: Customer, end: int, rng: np.random.Generator) -> Iterator[Prompt]:
        """Prompts that ask about every order before `end`, each order in one prompt.

        A history too long for one prompt is cut into several, at another place each time (`rng`). A question is asked
        at a random moment between two orders, as it will be in use, where nobody knows when the next order comes.
        """
        known = customer.before(end)
        questions = self._training_questions(known, end, rng)
        events = self._events(known)
        sizes = [self._size(event) + isinstance(event, Order) for event in events]  # and the question before it
        capacity = self.format.history_tokens
        room = capacity if sum(sizes) <= capacity else int(rng.integers(capacity // 2, capacity + 1))
        first = 0
        while first < len(events):
            last = first
            while last < len(events) and (last == first or room >= sizes[last]):
                room -= sizes[last]
                last += 1
            starts_at = events[first].ts if first else -1
            ends_at = events[last].ts if last < len(events) else end
            asked = [
                each for each in questions if starts_at < each[0] < ends_at or (not first and each[0] <= starts_at)
            ]
            if asked:
                yield self._write(customer, events[:last], first, asked)
            first, room = last, capacity

    def _training_questions(self, customer: Customer, end: int, rng: np.random.Generator) -> list["_Question"]:
        orders = customer.orders
        baskets = [self._indices(order) for order in orders]
        draws = rng.random((len(orders), 2))
        horizons = np.exp(rng.uniform(0, np.log(LONGEST_HORIZON), len(orders))).astype(int)
        questions: list[_Question] = []
        for place, order in enumerate(orders):
            before = orders[place - 1].ts if place else order.ts - DAY
            ts = min(before + 1 + int(draws[place, 0] * (order.ts - before)), order.ts)
            until = ts + int(horizons[place]) * DAY
            if draws[place, 1] < HORIZON_SHARE and until <= end and order.ts < until:
                window = [baskets[later] for later in range(place, len(orders)) if orders[later].ts < until]
                questions.append((ts, int(horizons[place]), np.unique(np.concatenate(window))))
            else:
                questions.append((ts, NEXT_ORDER, baskets[place]))
        return [each for each in questions if len(each[2])]

    def _write(self, customer: Customer, events: list[Event], first: int, questions: list["_Question"]) -> Prompt:
        writer = _Writer()
        start = min([questions[0][0], *(event.ts for event in events[first : first + 1])])
        self._write_opening(writer, customer, start)
        previous = next((event.ts for event in reversed(events[:first]) if isinstance(event, Order)), None)
        asked = 0
        for event in events[first:]:
            while asked < len(questions) and questions[asked][0] <= event.ts:
                writer.ask(*self._asked(questions[asked]))
                asked += 1
            if isinstance(event, Order):
                self._write_order(writer, event, previous)
                previous = event.ts
            elif isinstance(event, Browsing):
                self._write_browsing(writer, event)
            else:
                self._write_review(writer, event)
        for question in questions[asked:]:
            writer.ask(*self._asked(question))
        return writer.finish()

    def _asked(self, question: "_Question") -> tuple[int, int, np.ndarray]:
        ts, days, target = question
        control = self.vocabulary.control["<next-order>"]
        return (self.vocabulary.bucket("within", HORIZON_DAYS, days) if days else control), ts, target

    def _write_opening(self, writer: _Writer, customer: Customer, ts: int) -> None:
        tokens = [self.vocabulary.control["<start>"]]
        if self.format.instruction:
            tokens += self.vocabulary.text(self.format.instruction)
        if "profile" in self.format.fields and customer.attributes:
            tokens += self.vocabulary.text(profile_text(customer))
        writer.write(tokens, [-1] * len(tokens), ts)

    def _write_order(self, writer: _Writer, order: Order, previous: int | None) -> None:
        writer.order += 1
        opening = self._gap(order.ts, previous)
        if "spend" in self.format.fields:
            opening.append(self.vocabulary.bucket("spend", SPEND, order.amount))
        writer.write(opening, [-1] * len(opening), order.ts)
        for index in self._listed(order):
            tokens = self._item_tokens[index]
            writer.write(tokens, self._completes(tokens, index), order.ts)

    def _write_browsing(self, writer: _Writer, event: Browsing) -> None:
        tokens = [self.vocabulary.control["<browsing>"], *self.vocabulary.text(f" {event.action}")]
        if event.text:
            tokens += self.vocabulary.text(f" {event.text}")[:REVIEW_TOKENS]
        self._write_with_item(writer, tokens, event.item, event.ts)

    def _write_review(self, writer: _Writer, review: Review) -> None:
        tokens = [self.vocabulary.control[f"<rating-{review.rating}>"]]
        if review.text:
            tokens += self.vocabulary.text(f" {review.text}")[:REVIEW_TOKENS]
        self._write_with_item(writer, tokens, review.item, review.ts)

    def _write_with_item(self, writer: _Writer, tokens: list[int], item: str | None, ts: int) -> None:
        writer.write(tokens, [-1] * len(tokens), ts)
        if item is not None and (index := self.catalogue.index.get(item)) is not None:
            written = self._item_tokens[index]
            writer.write(written, self._completes(written, index), ts)

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

    def _completes(self, tokens: list[int], index: int) -> list[int]:
        return [-1] * (len(tokens) - 1) + [index]

    def _written_items(self) -> list[list[int]]:
        if self.format.items == "token":
            return [[self.vocabulary.item(index)] for index in range(len(self.catalogue))]
        return [self.vocabulary.text(f" {name.lower()},") for name in self.catalogue.names]

    def _size(self, event: Event) -> int:
        """Tokens of history that an event takes."""
        writer = _Writer()
        if isinstance(event, Order):
            opening = len(self._gap(event.ts, 0)) + ("spend" in self.format.fields)
            index = self.catalogue.index
            return opening + sum(len(self._item_tokens[index[item]]) for item in event.items if item in index)
        if isinstance(event, Browsing):
            self._write_browsing(writer, event)
        else:
            self._write_review(writer, event)
        return len(writer.tokens)

    def _events(self, customer: Customer) -> list[Event]:
        """All events that the format writes, in time order; what happens at the same moment keeps its kind's order."""
        events: list[Event] = list(customer.orders)
        if "browsing" in self.format.fields:
            events += customer.browsing
        if "reviews" in self.format.fields:
            events += customer.reviews
        return sorted(events, key=lambda event: event.ts)


_Question = tuple[int, int, np.ndarray]  # moment, NEXT_ORDER or days, items really bought
_NOTHING = np.zeros(0, dtype=np.int64)


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
