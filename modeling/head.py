"""The output: a mixture of the vocabulary's distribution over items and of copying from the customer's own history.

Shapes: T tokens, R queries, P pairs of a query and an item position before it, K item positions, D hidden width, V
catalogue items, Y targets. Under tensor parallelism each process scores the L items whose embeddings it holds.
"""

from copy import copy
from dataclasses import dataclass

import torch
from megatron.core.tensor_parallel import (
    ColumnParallelLinear,
    copy_to_tensor_model_parallel_region,
    reduce_from_tensor_model_parallel_region,
)
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor, nn

from modeling.batch import Batch
from modeling.parallel import highest_of_tensor_group

AGE_DAYS = (0.5, 1.5, 2.5, 3.5, 5, 7, 9, 11, 14, 18, 22, 28, 35, 45, 60, 80, 110, 150, 210, 300)
"""Bounds between the buckets of an item's age, in days."""
ORDERS_AGO = (1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 30, 45, 70, 120)
"""Bounds between the buckets of how many orders ago an item was bought."""
INITIAL_COPY_SHARE = 0.88
BIAS_SCALE = 10.0
"""Adam moves each number by about the learning rate a step; a bias that is one number for all must move faster."""


@dataclass(frozen=True)
class Held:
    """The items whose embeddings this process holds: catalogue items `first` to `last` - 1, the rows `rows`."""

    first: int
    last: int
    rows: slice


@dataclass(frozen=True)
class Mixture:
    """The distribution over the catalogue at each query, in parts.

    Attributes:
        logits_RL, log_total_R: scores of the items that this process holds; logarithm of the sum over all items.
        copied_P: the share of each pair in its query's copy distribution.
        copy_share_R: weight of the copy distribution.
    """

    held: Held
    item_count: int
    logits_RL: Tensor
    log_total_R: Tensor
    copied_P: Tensor
    copy_share_R: Tensor

    def of_targets(self, batch: Batch) -> Tensor:
        """The share of each target item in its query's distribution, (Y,)."""
        query_Y, place_Y = batch.target_query_Y, batch.targets_Y - self.held.first
        here_Y = (batch.targets_Y >= self.held.first) & (batch.targets_Y < self.held.last)
        score_Y = torch.zeros_like(self.log_total_R[query_Y])
        if self.held.last > self.held.first:
            score_Y = self.logits_RL[query_Y, place_Y.clamp(0, self.logits_RL.shape[1] - 1)] * here_Y
        vocabulary_Y = (reduce_from_tensor_model_parallel_region(score_Y) - self.log_total_R[query_Y]).exp()
        copied_Y = torch.zeros_like(vocabulary_Y).index_add(0, batch.hit_target_H, self.copied_P[batch.hit_pair_H])
        share_Y = self.copy_share_R[query_Y]
        mixture_Y: Tensor = share_Y * copied_Y + (1 - share_Y) * vocabulary_Y
        return mixture_Y

    def dense(self, batch: Batch) -> Tensor:
        """All of it, (R, V); rows sum to one."""
        rows = len(self.copy_share_R)
        vocabulary_RV = self.logits_RL.new_zeros(rows, self.item_count)
        vocabulary_RV[:, self.held.first : self.held.last] = (self.logits_RL - self.log_total_R[:, None]).exp()
        vocabulary_RV = reduce_from_tensor_model_parallel_region(vocabulary_RV)
        cells_P = batch.pair_query_P * self.item_count + batch.items_T[batch.pair_position_P]
        copied = self.copied_P.new_zeros(rows * self.item_count).index_add(0, cells_P, self.copied_P)
        share_R1 = self.copy_share_R[:, None]
        mixture_RV: Tensor = share_R1 * copied.view(rows, self.item_count) + (1 - share_R1) * vocabulary_RV
        return mixture_RV


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
        whole = copy(config)  # the head sees all tokens on every process
        whole.sequence_parallel = False
        self.copy_query = _zero_column_parallel(whole)
        self.copy_key = _zero_column_parallel(whole)
        self.age_bias = nn.Parameter(torch.zeros(len(AGE_DAYS) + 1))
        self.recency_bias = nn.Parameter(torch.zeros(len(ORDERS_AGO) + 1))
        self.gate = nn.Linear(width, 1)
        nn.init.zeros_(self.elapsed.weight)
        nn.init.normal_(self.vocabulary_query.weight, std=0.01)
        nn.init.zeros_(self.vocabulary_query.bias)
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(self.gate.bias, torch.logit(torch.tensor(INITIAL_COPY_SHARE)).item())
        self.register_buffer("age_bounds", torch.tensor(AGE_DAYS), persistent=False)
        self.register_buffer("recency_bounds", torch.tensor(ORDERS_AGO), persistent=False)

    def forward(self, query_RD: Tensor, hidden_TD: Tensor, words_WD: Tensor, held: Held, batch: Batch) -> Mixture:
        """The distribution over the catalogue at each query.

        Args:
            query_RD: hidden states at the queries.
            hidden_TD: hidden states at all tokens.
            words_WD: the embeddings that this process holds, of which `held` names the items'.
        """
        query_RD = self.norm(query_RD) + self.elapsed(self._elapsed_bucket(batch.elapsed_R))
        # Each process continues with its own items only; the copy's backward pass adds their gradients up.
        asked_RD = copy_to_tensor_model_parallel_region(self.vocabulary_query(query_RD))
        bias_V = copy_to_tensor_model_parallel_region(self.item_bias)
        logits_RL = (asked_RD @ words_WD[held.rows].T).float() + bias_V[held.first : held.last]
        return Mixture(
            held=held,
            item_count=self.item_count,
            logits_RL=logits_RL,
            log_total_R=_log_total(logits_RL),
            copied_P=self._copy_weights(query_RD, hidden_TD, batch),
            copy_share_R=self.gate(query_RD).float().sigmoid().squeeze(-1) * (batch.elapsed_R >= 0),
        )

    def _copy_weights(self, query_RD: Tensor, hidden_TD: Tensor, batch: Batch) -> Tensor:
        """The share of each pair in its query's copy distribution, (P,)."""
        keys_KD, _ = self.copy_key(self.norm(hidden_TD[batch.copied_K]))
        asked_RD, _ = self.copy_query(query_RD)
        scores_RK = reduce_from_tensor_model_parallel_region(asked_RD @ keys_KD.T) / query_RD.shape[1] ** 0.5
        scores_P = scores_RK.flatten()[batch.pair_query_P * len(batch.copied_K) + batch.pair_place_P].float()
        query_position_P = batch.queries_R[batch.pair_query_P]
        age_P = batch.ages_T[batch.pair_position_P] - batch.ages_T[query_position_P]
        recency_P = batch.orders_T[query_position_P] - batch.orders_T[batch.pair_position_P]
        scores_P = scores_P + BIAS_SCALE * self.age_bias[torch.bucketize(age_P, self.age_bounds.float())]
        scores_P = (
            scores_P + BIAS_SCALE * self.recency_bias[torch.bucketize(recency_P, self.recency_bounds, right=True)]
        )
        return _softmax_within(scores_P, batch.pair_query_P, query_RD.shape[0])

    def _elapsed_bucket(self, elapsed_R: Tensor) -> Tensor:
        """0 without any item before the query, else one more than the age's bucket."""
        return torch.where(elapsed_R < 0, 0, torch.bucketize(elapsed_R, self.age_bounds.float()) + 1)


def _zero_column_parallel(config: TransformerConfig) -> ColumnParallelLinear:
    width = config.hidden_size
    return ColumnParallelLinear(width, width, config=config, init_method=nn.init.zeros_, bias=False)


def _log_total(logits_RL: Tensor) -> Tensor:
    """log of the sum of exponentials over the items of all processes of the tensor-parallel group, (R,)."""
    highest_R = logits_RL.new_full(logits_RL.shape[:1], -torch.inf)
    if logits_RL.shape[1]:
        highest_R = logits_RL.detach().amax(-1)
    highest_R = highest_of_tensor_group(highest_R)
    total_R = reduce_from_tensor_model_parallel_region((logits_RL - highest_R[:, None]).exp().sum(-1))
    log_total_R: Tensor = total_R.log() + highest_R
    return log_total_R


def _softmax_within(scores_P: Tensor, group_P: Tensor, groups: int) -> Tensor:
    """Softmax over the entries of each group."""
    highest = torch.full((groups,), -torch.inf, dtype=scores_P.dtype, device=scores_P.device)
    highest = highest.scatter_reduce(0, group_P, scores_P.detach(), "amax")
    exponentials_P = (scores_P - highest[group_P]).exp()
    totals = torch.zeros(groups, dtype=scores_P.dtype, device=scores_P.device).index_add(0, group_P, exponentials_P)
    return exponentials_P / totals[group_P]


def order_loss(share_Y: Tensor) -> Tensor:
    """-log of the target items' shares, summed over all queries; their order within an order plays no part.

    Every item counts the same, so that the best distribution is proportional to each item's chance to be bought. (The
    mean over each order's items favours what small orders hold, and ranks worse.)
    """
    return -share_Y.clamp_min(1e-9).log().sum()
