"""A model goes on with another catalogue: what it learned of an item follows the item's id."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from demand.catalogue import Catalogue
from demand.formats import prompt_format
from demand.vocabulary import Vocabulary
from modeling.checkpoint import Checkpoint
from modeling.megatron.model import DemandModel, initialize_from_catalogue
from modeling.megatron.shards import ITEM_BIAS, load_weights, whole_weights
from modeling.parallel import initialize
from modeling.settings import ModelSettings
from modeling.warm_start import warm_start

SETTINGS = ModelSettings(layers=1, hidden=16, heads=2, ffn=16, habit_width=8)


@pytest.fixture
def base(catalogue: Catalogue, vocabulary: Vocabulary) -> Checkpoint:
    """A model whose items' biases say that they are twice as likely as their sales do."""
    initialize(0)
    model = DemandModel(SETTINGS, len(vocabulary), len(catalogue), catalogue=catalogue)
    initialize_from_catalogue(model, vocabulary, catalogue)
    model.head.item_bias.data += float(np.log(2))
    weights = {name: each.clone() for name, each in whole_weights(model).items()}
    return Checkpoint(SETTINGS, prompt_format("compact"), vocabulary, catalogue, weights)


def test_with_the_same_catalogue_nothing_changes(base: Checkpoint) -> None:
    weights = warm_start(base, base.vocabulary, base.catalogue)

    assert weights.keys() == base.weights.keys()
    for name, each in weights.items():
        torch.testing.assert_close(each, base.weights[name])


def test_known_items_keep_their_rows_and_new_ones_start_from_names_and_sales(base: Checkpoint) -> None:
    added = {"item_id": ["a new one"], "name": ["Item A0"], "orders": [99]}
    kept = base.catalogue.table.slice(3)
    row = pa.table(
        {name: pa.array(added.get(name, [None]), kept.schema.field(name).type) for name in kept.column_names}
    )
    other = Catalogue(pa.concat_tables([row, kept]).combine_chunks())
    vocabulary = Vocabulary(base.vocabulary.tokenizer, len(other), base.vocabulary.first_control)

    weights = warm_start(base, vocabulary, other)

    words, before = weights[SETTINGS.words], base.weights[SETTINGS.words]
    assert len(words) == len(vocabulary)
    torch.testing.assert_close(words[: vocabulary.first_item], before[: vocabulary.first_item])
    torch.testing.assert_close(words[vocabulary.first_item + 1 :], before[base.vocabulary.first_item + 3 :])
    torch.testing.assert_close(words[vocabulary.item(0)], before[vocabulary.text(" item a0,")].mean(0))
    shares = (other.orders + 1) / (other.orders + 1).sum()
    expected = torch.from_numpy(np.log(shares) + np.log(2) * (np.arange(len(other)) > 0)).float()
    torch.testing.assert_close(weights[ITEM_BIAS], expected, atol=1e-5, rtol=1e-5)
    load_weights(DemandModel(SETTINGS, len(vocabulary), len(other)), weights)


def test_weights_of_another_vocabulary_are_refused(base: Checkpoint) -> None:
    weights = warm_start(replace(base, catalogue=base.catalogue), base.vocabulary, base.catalogue)

    with pytest.raises(Exception, match="tokens"):
        load_weights(DemandModel(SETTINGS, len(base.vocabulary) + 1, len(base.catalogue) + 1), weights)
