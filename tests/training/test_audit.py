"""The leak audit: a model that learned by heart is caught, one that learned nothing is not."""

from dataclasses import replace

import numpy as np
import pytest

from demand.catalogue import Catalogue
from demand.dataset import Dataset, draw
from demand.errors import DataError, SettingsError
from demand.formats import prompt_format
from demand.moments import iso, moment
from demand.packing import pack
from demand.prompts import Renderer
from demand.vocabulary import Vocabulary
from modeling.batch import Batch
from modeling.checkpoint import Checkpoint
from modeling.megatron.finetuning import FineTuning, Schedule
from modeling.megatron.model import DemandModel, initialize_from_catalogue
from modeling.megatron.shards import whole_weights
from modeling.parallel import initialize
from modeling.predictor import Predictor
from modeling.settings import ModelSettings
from tests.conftest import CUTOFF
from training.audit import audit

SETTINGS = ModelSettings(layers=1, hidden=64, heads=2, ffn=128, dropout=0.0)
MEMBERS, SEED = 20, 5


def trained(shop: Dataset, catalogue: Catalogue, vocabulary: Vocabulary, steps: int) -> Predictor:
    """A model that saw the same questions of half of the shop's customers again and again."""
    initialize(seed=1)
    model = DemandModel(SETTINGS, len(vocabulary), len(catalogue), catalogue=catalogue)
    initialize_from_catalogue(model, vocabulary, catalogue)
    renderer, rng = Renderer(prompt_format("compact"), vocabulary, catalogue), np.random.default_rng(0)
    prompts = [
        prompt
        for customer in shop.customers(draw(shop.customer_ids, MEMBERS, SEED))
        for prompt in renderer.training_prompts(customer, moment(CUTOFF), rng)
    ]
    arrays = pack(prompts)
    tuning = FineTuning(model, Schedule(1e-2, warmup_steps=2, total_steps=max(steps, 3), weight_decay=0.0, clip=1.0))
    for step in range(steps):
        tuning.step([Batch.from_arrays(arrays)], [step])
    card = {
        "data": {"content_hash": shop.content_hash},
        "protocol": "cutoff",
        "trained_before": iso(moment(CUTOFF)),
        "validated_before": iso(moment(CUTOFF)),
        "customers": MEMBERS,
        "settings": {"training": {"seed": SEED}},
    }
    weights = whole_weights(model)
    return Predictor(Checkpoint(SETTINGS, prompt_format("compact"), vocabulary, catalogue, weights, card=card))


def test_who_was_learned_by_heart_is_told_from_others(
    shop: Dataset, catalogue: Catalogue, vocabulary: Vocabulary
) -> None:
    found = audit(trained(shop, catalogue, vocabulary, steps=80), shop)

    assert (found.members, found.others) == (MEMBERS, 20)
    assert found.attacks["calibrated loss"].low > 0.6


def test_a_model_that_learned_nothing_tells_nothing(
    shop: Dataset, catalogue: Catalogue, vocabulary: Vocabulary
) -> None:
    found = audit(trained(shop, catalogue, vocabulary, steps=0), shop)

    assert found.attacks["loss"].low < 0.5 < found.attacks["loss"].high


def test_an_audit_wants_the_data_of_training_and_customers_who_were_not_in_it(
    shop: Dataset, catalogue: Catalogue, vocabulary: Vocabulary
) -> None:
    predictor = trained(shop, catalogue, vocabulary, steps=0)
    card = predictor.checkpoint.card

    predictor.checkpoint = replace(predictor.checkpoint, card={**card, "customers": 40})
    with pytest.raises(SettingsError, match=r"learned from 40 of 40 customers.*--customers 20"):
        audit(predictor, shop)
    predictor.checkpoint = replace(predictor.checkpoint, card={**card, "data": {"content_hash": "another"}})
    with pytest.raises(DataError, match="not what this model learned from"):
        audit(predictor, shop)
