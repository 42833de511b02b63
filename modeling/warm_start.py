"""A model that has learned already, made ready to learn on with another catalogue."""

import torch
from torch import Tensor

from demand.catalogue import Catalogue
from demand.vocabulary import Vocabulary
from modeling.checkpoint import Checkpoint
from modeling.megatron.head import log_popularity
from modeling.megatron.shards import ITEM_BIAS


def warm_start(base: Checkpoint, vocabulary: Vocabulary, catalogue: Catalogue) -> dict[str, Tensor]:
    """Its weights, for a vocabulary of the same text and control tokens.

    Items keep by their ids what was learned of them: the embedding, and how much likelier they are than their sales
    say. New ones start at the mean of their names' tokens, and at what their sales say.
    """
    words_VD = base.weights[base.settings.words]
    items_VD = torch.stack(
        [
            words_VD[tokens].mean(0) if tokens else words_VD.new_zeros(words_VD.shape[1])
            for tokens in vocabulary.names(catalogue)
        ]
    )
    bias_V = log_popularity(catalogue.orders)
    known = [
        (place, base.catalogue.index[item]) for item, place in catalogue.index.items() if item in base.catalogue.index
    ]
    if known:
        here, there = torch.tensor(known).T
        items_VD[here] = words_VD[base.vocabulary.first_item + there]
        bias_V[here] += (base.weights[ITEM_BIAS] - log_popularity(base.catalogue.orders))[there]
    words_VD = torch.cat([words_VD[: base.vocabulary.first_item], items_VD])
    return {**base.weights, base.settings.words: words_VD, ITEM_BIAS: bias_V}
