"""Answers that are kept, for how long, and which are not."""

import math

import httpx
import pytest

from serving.answers import Answers
from serving.models import ModelReference, Models
from serving.problems import Answer
from tests.serving.conftest import order, request
from tests.serving.prometheus import counted, scraped, soon

ONE, OTHER = (Models(champion=ModelReference(checkpoint=f"/{name}", name=name, version=1)) for name in ("one", "other"))


def answer(models: Models | None, holds: float = math.inf, size: int = 100) -> Answer:
    return Answer(200, b"x" * size, models=models and models.digest, holds_seconds=holds)


@pytest.fixture
def answers() -> Answers:
    answers = Answers(megabytes=1)
    answers.change_to(ONE)
    return answers


def test_the_same_request_is_answered_from_memory_until_the_models_change(answers: Answers) -> None:
    answers.keep(b"request", answer(ONE))

    assert answers.find(b"request") == answer(ONE)
    assert answers.find(b"request ") is None
    answers.change_to(OTHER)
    assert answers.find(b"request") is None


@pytest.mark.parametrize(
    "given",
    [answer(OTHER), answer(None), answer(ONE, holds=0), answer(ONE, size=100_000)],
    ids=["of other models", "a refusal", "of a moment", "too large"],
)
def test_what_would_not_be_the_answer_later_is_not_kept(answers: Answers, given: Answer) -> None:
    answers.keep(b"request", given)

    assert answers.find(b"request") is None


def test_what_was_asked_last_stays_where_there_is_no_room_for_all(answers: Answers) -> None:
    for number in range(100):
        answers.keep(b"%d" % number, answer(ONE, size=30_000))

    assert answers.find(b"0") is None
    assert answers.find(b"99") is not None


def test_without_room_nothing_is_kept() -> None:
    answers = Answers(megabytes=0)
    answers.change_to(ONE)
    answers.keep(b"request", answer(ONE))

    assert answers.find(b"request") is None


def test_who_asks_the_same_again_is_told_the_same_and_it_is_counted(client: httpx.Client) -> None:
    def known() -> float:
        return counted(scraped(), "ray_demandcast_asked_total", known="true")

    before = known()
    body = request({**order(), "customer_id": "who asks again"})
    answers = {client.post("/v1/predict", json=body).raise_for_status().content for _ in range(50)}

    assert len(answers) == 1
    soon(lambda: known() >= before + 49)  # what others asked before may be told only now
