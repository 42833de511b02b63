"""The renderer: golden sequences, and what must hold for every history."""

import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from demand.catalogue import Catalogue
from demand.customer import Browsing, Customer, Order, Review
from demand.formats import FORMATS, prompt_format
from demand.moments import DAY
from demand.packing import grouped
from demand.prompts import Prompt, Renderer
from demand.record import Record
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


def test_a_formats_text_is_the_same_in_every_process() -> None:
    program = "from demand.formats import FORMATS; print(FORMATS['profile'].model_dump_json())"

    texts = {
        subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": str(seed)}, stdout=-1, check=True
        ).stdout
        for seed in range(4)
    }

    assert len(texts) == 1


def test_a_horizon_is_asked_with_its_own_token() -> None:
    assert written(renderer("compact").prompt(Customer("c"), 0, 28)) == "<start><within-25d>"


def test_a_prompt_carries_its_question_and_the_record_behind_it() -> None:
    prompt = renderer("names").prompt(CUSTOMER, 14 * DAY, 28)

    assert prompt.queries.tolist() == [len(prompt) - 1]
    assert (prompt.moments.tolist(), prompt.horizons.tolist()) == ([14 * DAY], [28])
    assert prompt.record.items.tolist() == [0, 1]
    assert prompt.record.times.tolist() == [10 * DAY] * 2


def test_the_oldest_orders_give_way_when_history_is_long() -> None:
    orders = tuple(Order(day * DAY, ("b", "m", "r"), (1, 1, 1), (1, 1, 1)) for day in range(100))

    prompt = renderer("compact", history_tokens=64).prompt(Customer("c", orders), 100 * DAY)

    assert 60 <= len(prompt) - len(["start", "question"]) <= 64
    assert len(prompt.record) == 300


def test_an_order_that_is_longer_than_a_history_is_written_as_far_as_it_fits() -> None:
    customer = Customer("c1", orders=(Order(10 * DAY, ("b", "m", "r"), (1, 1, 1), (3.0, 2.0, 1.0)),))
    short = renderer("compact", history_tokens=2)

    assert written(short.prompt(customer, 20 * DAY)) == "<start>[Bananas][Milk]<next-order>"
    (training,) = short.training_prompts(customer, 40 * DAY, np.random.default_rng(0))
    assert written(training).replace("<next-order>", "").endswith("[Bananas][Milk]")


def test_a_pretrained_tokenizers_own_lengths_do_not_count() -> None:
    tokenizer = Tokenizer.from_str(VOCABULARY.tokenizer.to_str())
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=5)

    vocabulary = Vocabulary(tokenizer, 3)

    for text in ("a", "abababab"):
        assert vocabulary.text(text) == VOCABULARY.text(text)


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


@settings(max_examples=60)
@given(events, st.sampled_from(sorted(FORMATS)), st.integers(0, 400 * DAY), st.integers(0, 91))
def test_nothing_from_as_of_on_is_written_whatever_the_history(
    drawn: list[tuple[int, list[tuple[str, float]]]], name: str, as_of: int, question: int
) -> None:
    customer = customer_of(drawn)

    prompt = renderer(name).prompt(customer, as_of, question)
    past = renderer(name).prompt(customer.before(as_of), as_of, question)

    assert prompt.tokens.tolist() == past.tokens.tolist()
    assert prompt.record.items.tolist() == past.record.items.tolist()
    assert (prompt.record.times < as_of).all()
    assert 0 <= prompt.tokens.min() <= prompt.tokens.max() < len(VOCABULARY)


END = 500 * DAY


@settings(max_examples=60)
@given(events, st.integers(0, 2**32), st.integers(32, 200))
def test_training_asks_time_and_again_and_never_shows_an_answer(
    drawn: list[tuple[int, list[tuple[str, float]]]], seed: int, history_tokens: int
) -> None:
    customer = customer_of(drawn)
    known = [(order.ts, {"bmr".index(item) for item in order.items if item in "bmr"}) for order in customer.orders]
    rng = np.random.default_rng(seed)

    prompts = list(renderer("compact", history_tokens=history_tokens).training_prompts(customer, END, rng))

    asked = [
        (int(moment), int(days), float(wait), Counter(target.tolist()), written(part).split("<start>")[1])
        for prompt in prompts
        for query, (moment, days, wait, target) in enumerate(
            zip(prompt.moments, prompt.horizons, prompt.waits, prompt.targets, strict=True)
        )
        for part in [prompt.alone(query)]
    ]
    moments = [moment for moment, *_ in asked]
    assert moments == sorted(moments)
    assert len(moments) <= 2 * 13 / np.log(2) + 1
    for moment, days, wait, target, text in asked:
        later = [(ts, items) for ts, items in known if ts >= moment]
        came, items = later[0] if later else (END, set())
        within = [items for ts, items in known if moment <= ts < moment + days * DAY]
        assert moment + days * DAY <= END
        assert target == (Counter(item for items in within for item in items) if days else Counter(items))
        assert wait == pytest.approx((came - moment) / DAY * (1 if later else -1), rel=1e-5)
        earlier = sum(len(items) for ts, items in known if ts < moment)
        assert text.count("[") <= earlier
        if history_tokens > 150:  # all of the history, in one prompt
            assert text.count("[") == earlier


def test_training_asks_from_before_the_first_order_to_the_end_the_later_the_more_often() -> None:
    customer = Customer("c", tuple(Order(day * DAY, ("b",), (1.0,), (2.0,)) for day in (10, 20, 360)))
    found = []
    for seed in range(60):
        (prompt,) = renderer("compact").training_prompts(customer, 374 * DAY, np.random.default_rng(seed))
        found += [(prompt.moments / DAY, prompt.horizons)]
    moments, horizons = (np.concatenate(each) for each in zip(*found, strict=True))

    assert all(3 <= first[0] <= 10 for first, _ in found)
    assert min(moments[horizons == 0].max(), moments[horizons > 0].max()) > 370  # that none came is an answer, too
    late, before = (((moments > 360 - 91 * ago) & (moments <= 451 - 91 * ago)).sum() for ago in (2, 3))
    assert late / before == pytest.approx(2, abs=0.2)


def test_training_at_orders_asks_for_each_order_at_its_moment_and_never_shows_it() -> None:
    customer = Customer("c", tuple(Order(day * DAY, (item,), (1.0,), (2.0,)) for day, item in ((3, "b"), (9, "m"))))

    (prompt,) = renderer("compact").training_prompts(customer, 50 * DAY, np.random.default_rng(3), at_orders=True)

    assert (prompt.moments.tolist(), prompt.horizons.tolist()) == ([3 * DAY, 9 * DAY], [0, 0])
    assert [target.tolist() for target in prompt.targets] == [[0], [1]]
    assert prompt.waits.tolist() == [0, 0]  # nobody waits for what was the reason to ask
    assert written(prompt) == "<start><next-order>[Bananas]<next-order><gap-6d>[Milk]"


def test_a_question_alone_is_what_would_have_been_asked_at_its_moment() -> None:
    customer = Customer("c", tuple(Order(day * DAY, ("b",), (1.0,), (2.0,)) for day in (10, 20, 30, 40)))
    (prompt,) = renderer("compact").training_prompts(customer, 50 * DAY, np.random.default_rng(3))

    for query, moment in enumerate(prompt.moments.tolist()):
        alone = prompt.alone(query)
        then = renderer("compact").prompt(customer, moment, int(prompt.horizons[query]))

        assert alone.tokens.tolist() == then.tokens.tolist()
        assert list(alone.queries) == [len(alone) - 1]
        assert (alone.moments.tolist(), alone.horizons.tolist()) == (then.moments.tolist(), then.horizons.tolist())
        assert list(alone.targets[0]) == list(prompt.targets[query])


def test_questions_since_a_moment_are_those_that_would_have_been_asked_from_it_on() -> None:
    customer = Customer("c", tuple(Order(day * DAY, ("b",), (1.0,), (2.0,)) for day in (10, 20, 30, 40)))
    (whole,), (later,) = (
        renderer("compact").training_prompts(customer, 50 * DAY, np.random.default_rng(3), since=since)
        for since in (None, 35 * DAY)
    )

    assert 0 < len(later.moments) < len(whole.moments)
    assert later.moments.tolist() == [each for each in whole.moments.tolist() if each >= 35 * DAY]
    assert written(later).count("[") == written(whole).count("[")
    assert not list(renderer("compact").training_prompts(customer, 50 * DAY, np.random.default_rng(3), since=51 * DAY))


def of_length(tokens: int) -> Prompt:
    nothing = np.zeros(0, dtype=np.int64)
    return Prompt(np.zeros(tokens, dtype=np.int32), nothing, nothing, nothing, Record.none(), nothing, [])


def test_a_pass_holds_so_many_tokens_and_side_by_side_so_many_with_their_padding() -> None:
    def lengths(padded: bool) -> list[list[int]]:
        return [
            [len(prompt) for prompt in group] for group in grouped(map(of_length, (3, 4, 9, 2, 2, 30, 1)), 16, padded)
        ]

    assert lengths(padded=False) == [[3, 4, 9], [2, 2], [30], [1]]
    assert lengths(padded=True) == [[3, 4], [9], [2, 2], [30], [1]]
