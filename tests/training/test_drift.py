"""Drift of a model that has learned nothing, and a rival of it; real evaluations, no training."""

from dataclasses import replace

import numpy as np
import pytest

from demand.catalogue import Catalogue
from demand.conversion import Conversion
from demand.dataset import Dataset
from demand.errors import DataError
from demand.formats import prompt_format
from demand.moments import DAY, iso, moment
from demand.protocols import TEST, Cutoff
from demand.questions import PARTS
from demand.stability import within
from demand.vocabulary import Vocabulary
from modeling.checkpoint import Checkpoint
from modeling.megatron.model import DemandModel, initialize_from_catalogue
from modeling.megatron.shards import whole_weights
from modeling.parallel import initialize
from modeling.predictor import Predictor
from modeling.settings import ModelSettings
from modeling.warm_start import warm_start
from tests.conftest import CUTOFF
from training.drift import converted, incoming, quality, together, wins
from training.evaluation import evaluate
from training.rival import rival

SETTINGS = ModelSettings(layers=1, hidden=16, heads=2, ffn=16, habit_width=8)
PROTOCOL = Cutoff(cutoff=moment(CUTOFF), days=14)
AS_OF = moment(CUTOFF) + 14 * DAY


@pytest.fixture(scope="module")
def made(catalogue: Catalogue, vocabulary: Vocabulary) -> Checkpoint:
    initialize(0)
    model = DemandModel(SETTINGS, len(vocabulary), len(catalogue), catalogue=catalogue)
    initialize_from_catalogue(model, vocabulary, catalogue)
    card = {"trained_before": iso(moment(CUTOFF)), "validation": {"ndcg@10": 0.99}}
    return Checkpoint(SETTINGS, prompt_format("compact"), vocabulary, catalogue, whole_weights(model), card=card)


def test_what_comes_in_is_as_it_was_in_a_shop_that_does_not_change(made: Checkpoint, shop: Dataset) -> None:
    found = incoming(Predictor(made), shop, AS_OF, 28)  # of which only what the model has not seen is compared

    assert {each.verdict for each in within(found, {})} == {"steady"}
    with pytest.raises(DataError, match="no order from 2024-07-01 to 2024-07-29"):
        incoming(Predictor(made), shop, moment("2024-07-29"), 28)


def test_a_rival_knows_items_by_their_ids_and_equals_itself(made: Checkpoint, shop: Dataset) -> None:
    table = made.catalogue.table
    fewer = Catalogue(table.slice(2))
    vocabulary = Vocabulary(made.vocabulary.tokenizer, len(fewer), made.vocabulary.first_control)
    weights = warm_start(made, vocabulary, fewer)
    rivals = {
        "itself": Predictor(made),
        "narrower": Predictor(replace(made, vocabulary=vocabulary, catalogue=fewer, weights=weights)),
    }
    for each in rivals.values():
        each.read_sales(PROTOCOL.lines(shop, TEST))

    report = evaluate(Predictor(made), shop, PROTOCOL, [rival(*each) for each in rivals.items()]).report

    for part in PARTS:
        assert report[part]["itself"] == report[part]["model"]
        assert report[part]["narrower"]["recall@20"] <= report[part]["model"]["recall@20"]
        assert report["differences"][part]["itself"]["ndcg@10"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
    assert not wins(report, "itself")

    found = {each.name: each for each in within(quality(report, made.card), {})}
    ndcg = report["next_order"]["model"]["ndcg@10"]
    assert found["ndcg@10"].value == pytest.approx((0.99 - ndcg) / 0.99)
    assert found["ndcg@10"].verdict == "act"
    assert found["calibration-error"].value == report["calibration"]["next_order"]["top20"]["ece"]
    assert found["purchases"].value > found["purchases"].chance > 0


@pytest.mark.parametrize(
    ("ndcg", "recall", "wins_"),
    [((0.1, 0.3), (-0.1, 0.1), True), ((0.0, 0.3), (0.1, 0.2), False), ((0.1, 0.3), (-0.2, -0.1), False)],
)
def test_a_winner_leads_beyond_chance_and_loses_nothing_beyond_chance(
    ndcg: tuple[float, float], recall: tuple[float, float], wins_: bool
) -> None:
    leads = {
        "next_order": {"champion": {"ndcg@10": dict(zip(("low", "high"), ndcg, strict=True))}},
        "horizon": {"champion": {"recall@20": dict(zip(("low", "high"), recall, strict=True))}},
    }

    assert wins({"differences": leads}, "champion") is wins_


def test_a_fall_of_conversion_is_relative_and_has_its_chance() -> None:
    before = together([Conversion(np.full(50, 10), np.full(50, 4)), Conversion(np.full(50, 10), np.full(50, 6))])

    signal = converted(Conversion(np.full(40, 10), np.full(40, 4)), before)

    assert before.rate == pytest.approx(0.5)
    assert signal.value == pytest.approx(0.2)
    assert 0 < signal.chance < 0.1
    assert not together([]).shown.sum()
