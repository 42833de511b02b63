"""The output: a mixture of the vocabulary's distribution over items and of copying from the customer's own history.

Shapes: T tokens, R queries, P pairs of a query and an item position before it, D hidden width, V catalogue items.
"""

import torch
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor, nn

from modeling.batch import Batch

AGE_DAYS = (0.5, 1.5, 2.5, 3.5, 5, 7, 9, 11, 14, 18, 22, 28, 35, 45, 60, 80, 110, 150, 210, 300)
"""Bounds between the buckets of an item's age, in days."""
ORDERS_AGO = (1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 30, 45, 70, 120)
"""Bounds between the buckets of how many orders ago an item was bought."""
INITIAL_COPY_SHARE = 0.88
BIAS_SCALE = 10.0
"""Adam moves each number by about the learning rate a step; a bias that is one number for all must move faster."""


class DemandHead(MegatronModule):
    """Turns hidden states at queries into a distribution over the catalogue.

    The copy part is a pointer attention (Vinyals et al., 2015; See et al., 2017) over the item positions before the
    query. Its scores start at zero, so that it starts as the customer's own purchase frequency; the vocabulary part
    starts at the items' popularity. What is learned is learned on top of these two baselines.
    """

    def __init__(self, config: TransformerConfig, item_count: int) -> None:
        super().__init__(config=config)
        width = config.hidden_size
        self.item_count = item_count
        norm = nn.RMSNorm if config.normalization == "RMSNorm" else nn.LayerNorm
        self.norm = norm(width, eps=config.layernorm_epsilon)
        self.elapsed = nn.Embedding(len(AGE_DAYS) + 2, width)
        self.vocabulary_query = nn.Linear(width, width)
        self.item_bias = nn.Parameter(torch.zeros(item_count))
        self.copy_query = nn.Linear(width, width, bias=False)
        self.copy_key = nn.Linear(width, width, bias=False)
        self.age_bias = nn.Parameter(torch.zeros(len(AGE_DAYS) + 1))
        self.recency_bias = nn.Parameter(torch.zeros(len(ORDERS_AGO) + 1))
        self.gate = nn.Linear(width, 1)
        nn.init.zeros_(self.elapsed.weight)
        nn.init.normal_(self.vocabulary_query.weight, std=0.01)
        nn.init.zeros_(self.vocabulary_query.bias)
        nn.init.zeros_(self.copy_query.weight)
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(self.gate.bias, torch.logit(torch.tensor(INITIAL_COPY_SHARE)).item())
        self.register_buffer("age_bounds", torch.tensor(AGE_DAYS), persistent=False)
        self.register_buffer("recency_bounds", torch.tensor(ORDERS_AGO), persistent=False)

    def forward(self, hidden_TD: Tensor, item_embeddings_VD: Tensor, batch: Batch) -> Tensor:
        """The distribution over the catalogue at each query, (R, V); rows sum to one."""
        query_RD = self.norm(hidden_TD[batch.queries_R]) + self.elapsed(self._elapsed_bucket(batch.elapsed_R))
        logits_RV = self.vocabulary_query(query_RD) @ item_embeddings_VD.T + self.item_bias
        vocabulary_RV = logits_RV.float().softmax(-1)
        share_R = self.gate(query_RD).float().sigmoid().squeeze(-1) * (batch.elapsed_R >= 0)
        copy_RV = self._copy(query_RD, hidden_TD, batch)
        mixture_RV: Tensor = share_R[:, None] * copy_RV + (1 - share_R[:, None]) * vocabulary_RV
        return mixture_RV

    def _copy(self, query_RD: Tensor, hidden_TD: Tensor, batch: Batch) -> Tensor:
        weights_P = self.copy_weights(query_RD, hidden_TD, batch)
        rows = query_RD.shape[0]
        cells_P = batch.pair_query_P * self.item_count + batch.items_T[batch.pair_position_P]
        empty = torch.zeros(rows * self.item_count, dtype=weights_P.dtype, device=weights_P.device)
        return empty.index_add(0, cells_P, weights_P).view(rows, self.item_count)

    def copy_weights(self, query_RD: Tensor, hidden_TD: Tensor, batch: Batch) -> Tensor:
        """The share of each pair in its query's copy distribution, (P,)."""
        positions, place_P = batch.pair_position_P.unique(return_inverse=True)
        keys_KD = self.copy_key(self.norm(hidden_TD[positions]))
        scores_RK = self.copy_query(query_RD) @ keys_KD.T / keys_KD.shape[1] ** 0.5
        scores_P = scores_RK.flatten()[batch.pair_query_P * len(positions) + place_P].float()
        query_position_P = batch.queries_R[batch.pair_query_P]
        age_P = batch.ages_T[batch.pair_position_P] - batch.ages_T[query_position_P]
        recency_P = batch.orders_T[query_position_P] - batch.orders_T[batch.pair_position_P]
        scores_P = scores_P + BIAS_SCALE * self.age_bias[torch.bucketize(age_P, self.age_bounds)]
        scores_P = (
            scores_P + BIAS_SCALE * self.recency_bias[torch.bucketize(recency_P, self.recency_bounds, right=True)]
        )
        return _softmax_within(scores_P, batch.pair_query_P, query_RD.shape[0])

    def _elapsed_bucket(self, elapsed_R: Tensor) -> Tensor:
        """0 without any item before the query, else one more than the age's bucket."""
        return torch.where(elapsed_R < 0, 0, torch.bucketize(elapsed_R, self.age_bounds) + 1)


def _softmax_within(scores_P: Tensor, group_P: Tensor, groups: int) -> Tensor:
    """Softmax over the entries of each group."""
    highest = torch.full((groups,), -torch.inf, dtype=scores_P.dtype, device=scores_P.device)
    highest = highest.scatter_reduce(0, group_P, scores_P.detach(), "amax")
    exponentials_P = (scores_P - highest[group_P]).exp()
    totals = torch.zeros(groups, dtype=scores_P.dtype, device=scores_P.device).index_add(0, group_P, exponentials_P)
    return exponentials_P / totals[group_P]


def order_loss(probabilities_RV: Tensor, batch: Batch) -> Tensor:
    """-log probability summed over all target items of all queries; their order within an order plays no part.

    Every item counts the same, so that the best distribution is proportional to each item's chance to be bought. (The
    mean over each order's items favours what small orders hold, and ranks worse.)
    """
    rows = torch.arange(len(batch.target_counts_R), device=probabilities_RV.device)
    row_Y = rows.repeat_interleave(batch.target_counts_R)
    return -probabilities_RV[row_Y, batch.targets_Y].clamp_min(1e-9).log().sum()
