"""Explanations: the weights of events are what predicting anew without them gives."""

import pytest

from demand.catalogue import Catalogue
from demand.customer import Customer
from demand.dataset import Dataset
from demand.formats import prompt_format
from demand.moments import moment
from demand.questions import Question
from demand.uses.explanation import NAMED, without
from demand.vocabulary import Vocabulary
from modeling.checkpoint import Checkpoint
from modeling.megatron.model import DemandModel, initialize_from_catalogue
from modeling.megatron.shards import whole_weights
from modeling.occlusion import explained
from modeling.parallel import initialize
from modeling.predictor import Predictor
from modeling.settings import ModelSettings
from tests.conftest import CUTOFF

AS_OF = moment(CUTOFF)


@pytest.fixture(scope="module")
def predictor(catalogue: Catalogue, vocabulary: Vocabulary) -> Predictor:
    initialize(seed=3)
    settings = ModelSettings(layers=2, hidden=32, heads=2, ffn=64)
    model = DemandModel(settings, len(vocabulary), len(catalogue))
    initialize_from_catalogue(model, vocabulary, catalogue)
    return Predictor(Checkpoint(settings, prompt_format("profile"), vocabulary, catalogue, whole_weights(model)))


@pytest.mark.parametrize("days", [0, 28])
def test_weights_are_what_predicting_anew_without_an_event_gives(
    predictor: Predictor, shop: Dataset, days: int
) -> None:
    customer = next(iter(shop.customers(before=AS_OF)))
    question = Question(customer, AS_OF, days)

    outlook = explained(predictor, question, 4)

    chances = predictor.chances([question])[0]
    assert outlook.demands(4)[0] == predictor.answer([question], 4)[0]
    (explanations,) = outlook.explanations
    assert [each.item for each in explanations] == [each.item for each in outlook.demands(4)[0]]
    for each in explanations:
        assert len(each.events) == NAMED
        assert list(map(abs, each.weights)) == sorted(map(abs, each.weights), reverse=True)
        for event, weight in zip(each.events, each.weights, strict=True):
            anew = predictor.chances([Question(without(customer, [event]), AS_OF, days)])[0]
            assert weight == pytest.approx(chances[each.item] - anew[each.item], abs=2e-3)


def test_what_happens_afterwards_explains_nothing(predictor: Predictor, shop: Dataset) -> None:
    customer = next(iter(shop.customers()))
    assert any(order.ts >= AS_OF for order in customer.orders)

    found = explained(predictor, Question(customer, AS_OF), 4)
    past = explained(predictor, Question(customer.before(AS_OF), AS_OF), 4)

    assert found.explanations == past.explanations


def test_of_a_stranger_only_the_profile_can_be_named(predictor: Predictor) -> None:
    known = Question(Customer("", attributes={"age": "35-44"}), AS_OF)
    chances = predictor.chances([known, Question(Customer(""), AS_OF)])

    (explanations,) = explained(predictor, known, 3).explanations
    (nothing,) = explained(predictor, Question(Customer(""), AS_OF), 3).explanations

    for each in explanations:
        assert [event.kind for event in each.events] == ["profile"]
        assert each.weights[0] == pytest.approx(chances[0, each.item] - chances[1, each.item], abs=1e-6)
    assert [each.events for each in nothing] == [(), (), ()]
