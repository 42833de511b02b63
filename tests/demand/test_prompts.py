"""The renderer: golden sequences, and what must hold for every history."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demand.catalogue import Catalogue
from demand.customer import Browsing, Customer, Order, Review
from demand.formats import FORMATS, prompt_format
from demand.moments import DAY
from demand.prompts import Prompt, Renderer
from demand.vocabulary import CONTROL, Vocabulary

NAMES = ["Bananas", "Milk", "Bread"]
CATALOGUE = Catalogue(
    pa.table(
        {
            "item_id": ["b", "m", "r"],
            "name": NAMES,
            "category": pa.nulls(3, pa.string()),
            "department": pa.nulls(3, pa.string()),
            "price": pa.nulls(3, pa.float64()),
            "orders": [3, 2, 1],
            "mean_quantity": [1.0, 1.0, 1.0],
            "mean_amount": [1.0, 2.0, 3.0],
        }
    )
)
VOCABULARY = Vocabulary.train(CATALOGUE, [" age 35-44."])
CUSTOMER = Customer(
    "c1",
    orders=(
        Order(10 * DAY, ("b", "m"), (1, 1), (1.0, 2.5)),
        Order(14 * DAY, ("r", "unknown"), (1, 1), (3.0, 1.0)),
    ),
    browsing=(Browsing(15 * DAY, "view", "m"),),
    reviews=(Review(15 * DAY, "b", 5, "ripe"),),
    attributes={"age": "35-44"},
)


def renderer(name: str, **fields: object) -> Renderer:
    return Renderer(prompt_format(name).model_copy(update=fields), VOCABULARY, CATALOGUE)


def written(prompt: Prompt) -> str:
    """A prompt as a person reads it: control tokens in <>, item tokens in [], all else as text."""
    parts: list[str] = []
    text: list[int] = []
    for token in [*prompt.tokens.tolist(), None]:
        if token is not None and token < VOCABULARY.first_control:
            text.append(token)
            continue
        if text:
            parts.append(VOCABULARY.tokenizer.decode(text))
            text = []
        if token is not None and token >= VOCABULARY.first_item:
            parts.append(f"[{NAMES[token - VOCABULARY.first_item]}]")
        elif token is not None:
            parts.append(CONTROL[token - VOCABULARY.first_control])
    return "".join(parts)


@pytest.mark.parametrize(
    ("name", "golden"),
    [
        ("compact", "<start>[Milk][Bananas]<gap-4d>[Bread]<next-order>"),
        (
            "profile",
            "<start> age 35-44.<spend-0>[Milk][Bananas]<gap-4d><spend-0>[Bread]"
            "<browsing> view[Milk]<rating-5> ripe[Bananas]<next-order>",
        ),
        ("names", "<start> milk, bananas,<gap-4d> bread,<next-order>"),
        (
            "narrative",
            "<start>What will this customer want next? age 35-44. milk, bananas, After 4 days: bread,"
            "<browsing> view milk,<rating-5> ripe bananas,<next-order>",
        ),
    ],
)
def test_golden_sequences(name: str, golden: str) -> None:
    assert written(renderer(name).prompt(CUSTOMER, 20 * DAY)) == golden


def test_a_horizon_is_asked_with_its_own_token() -> None:
    assert written(renderer("compact").prompt(Customer("c"), 0, 28)) == "<start><within-25d>"


def test_the_record_says_which_item_each_position_completes_when_and_in_which_order() -> None:
    prompt = renderer("names").prompt(CUSTOMER, 20 * DAY)

    completed = prompt.items >= 0
    assert prompt.items[completed].tolist() == [1, 0, 2]
    assert prompt.ages[completed].tolist() == [10.0, 10.0, 6.0]
    assert prompt.orders[completed].tolist() == [1, 1, 2]
    assert prompt.queries.tolist() == [len(prompt) - 1]


def test_the_oldest_orders_give_way_when_history_is_long() -> None:
    orders = tuple(Order(day * DAY, ("b", "m", "r"), (1, 1, 1), (1, 1, 1)) for day in range(100))

    prompt = renderer("compact", history_tokens=64).prompt(Customer("c", orders), 100 * DAY)

    assert 60 <= len(prompt) - len(["start", "question"]) <= 64
    assert prompt.ages[prompt.items >= 0].min() == 1.0


def test_text_cannot_forge_control_or_item_tokens() -> None:
    forged = Customer("c", reviews=(Review(DAY, "b", 1, "<next-order><start>"),), attributes={"age": "<within-3d>"})

    prompt = renderer("profile").prompt(forged, 2 * DAY)

    queries = (prompt.tokens == VOCABULARY.control["<next-order>"]).sum()
    assert (queries, len(prompt.queries)) == (1, 1)


events = st.lists(  # at different moments, so that "the next order" names one
    st.tuples(
        st.integers(0, 400 * DAY),
        st.lists(st.tuples(st.sampled_from("bmrx"), st.floats(0, 9)), min_size=1, max_size=6, unique_by=lambda x: x[0]),
    ),
    max_size=25,
    unique_by=lambda event: event[0],
)


def customer_of(drawn: list[tuple[int, list[tuple[str, float]]]]) -> Customer:
    orders = [
        Order(ts, tuple(item for item, _ in lines), (1.0,) * len(lines), tuple(amount for _, amount in lines))
        for ts, lines in sorted(drawn, key=lambda each: each[0])
    ]
    return Customer("c", tuple(orders))


@settings(max_examples=60, deadline=None)
@given(events, st.sampled_from(sorted(FORMATS)), st.integers(0, 400 * DAY), st.integers(0, 91))
def test_nothing_from_as_of_on_is_written_whatever_the_history(
    drawn: list[tuple[int, list[tuple[str, float]]]], name: str, as_of: int, question: int
) -> None:
    customer = customer_of(drawn)

    prompt = renderer(name).prompt(customer, as_of, question)
    past = renderer(name).prompt(customer.before(as_of), as_of, question)

    assert prompt.tokens.tolist() == past.tokens.tolist()
    assert len({len(column) for column in (prompt.tokens, prompt.items, prompt.ages, prompt.orders)}) == 1
    assert (prompt.ages >= 0).all()
    assert 0 <= prompt.tokens.min() <= prompt.tokens.max() < len(VOCABULARY)


@settings(max_examples=60, deadline=None)
@given(events, st.integers(0, 2**32), st.integers(32, 200))
def test_training_asks_once_about_an_order_and_never_shows_its_answer(
    drawn: list[tuple[int, list[tuple[str, float]]]], seed: int, history_tokens: int
) -> None:
    customer = customer_of(drawn)
    prompts = list(
        renderer("compact", history_tokens=history_tokens).training_prompts(
            customer, 500 * DAY, np.random.default_rng(seed)
        )
    )

    known = sum(bool(set(order.items) - {"x"}) for order in customer.orders)
    assert known <= sum(len(prompt.queries) for prompt in prompts) <= len(customer.orders)
    for prompt in prompts:
        assert len(prompt.queries) == len(prompt.targets)
        assert all(len(target) for target in prompt.targets)
        for query, target in zip(prompt.queries, prompt.targets, strict=True):
            if prompt.tokens[query] == VOCABULARY.control["<next-order>"]:
                later = prompt.items[query:]
                assert set(later[later >= 0][:1]) <= set(target)


def test_a_question_alone_is_what_would_have_been_asked_at_its_moment() -> None:
    customer = Customer("c", tuple(Order(day * DAY, ("b",), (1.0,), (2.0,)) for day in (10, 20, 30, 40)))
    (prompt,) = renderer("compact").training_prompts(customer, 50 * DAY, np.random.default_rng(3))

    for query in range(len(prompt.queries)):
        alone = prompt.alone(query)

        assert list(alone.queries) == [len(alone) - 1]
        assert alone.tokens[-1] == prompt.tokens[prompt.queries[query]]
        assert list(alone.targets[0]) == list(prompt.targets[query])
        assert alone.orders.max() == query
        assert (alone.items >= 0).sum() == query
