"""The output: what each query is answered, from the hidden state, the customer's habits and what sells.

Shapes: R queries, P pairs of a query and an item that its customer met before, F features of an item, C of a customer
and E more for its next order, K of an item's sales, W of these by what sold of late, M days, D hidden width, H habit
width, N numbers of a name, V catalogue items, Y targets. Under tensor parallelism each process scores the L items whose
embeddings it holds, and the pairs with one of them.
"""

from dataclasses import dataclass

import numpy as np
import torch
from megatron.core.tensor_parallel import (
    copy_to_tensor_model_parallel_region,
    reduce_from_tensor_model_parallel_region,
)
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor, nn
from torch.nn.functional import gelu, linear

from demand.catalogue import Catalogue
from demand.habits import EXPECTED, LATELY, LATELY_TO_DAILY, OF_CUSTOMERS, OF_ITEMS, OF_WAITS
from demand.names import NAME_WIDTH, name_vectors
from demand.sales import OF_SALES, WINDOWS, Sales
from modeling.batch import Batch
from modeling.parallel import highest_of_tensor_group, on_device
from modeling.waiting import FROM, chance_of_order, waiting_loss

PRIOR_ORDERS = 2.0
"""Orders of everybody's that a customer's own stand beside, before anything is learned."""


@dataclass(frozen=True)
class Held:
    """The items whose embeddings this process holds: catalogue items `first` to `last` - 1, the rows `rows`."""

    first: int
    last: int
    rows: slice


@dataclass(frozen=True)
class Forecast:
    """What each query is answered, in parts. Orders are taken as a Poisson process: item by item so many on average.

    Attributes:
        logits_RL: scores of the items that this process holds.
        log_total_R: logarithm of the sum of exponentials over all items.
        log_size_R: logarithm of how many items are expected within the question, each counted once an order.
        log_rate_RK: how the next order is waited for (modeling.waiting).
    """

    held: Held
    item_count: int
    logits_RL: Tensor
    log_total_R: Tensor
    log_size_R: Tensor
    log_rate_RK: Tensor

    def log_shares(self, batch: Batch) -> Tensor:
        """The logarithm of each target item's share of its query's distribution, (Y,)."""
        query_Y, place_Y = batch.target_query_Y, batch.targets_Y - self.held.first
        here_Y = (batch.targets_Y >= self.held.first) & (batch.targets_Y < self.held.last)
        score_Y = torch.zeros_like(self.log_total_R[query_Y])
        if self.held.last > self.held.first:
            score_Y = self.logits_RL[query_Y, place_Y.clamp(0, self.logits_RL.shape[1] - 1)] * here_Y
        log_share_Y: Tensor = reduce_from_tensor_model_parallel_region(score_Y) - self.log_total_R[query_Y]
        return log_share_Y

    def loss(self, batch: Batch) -> Tensor:
        """-log likelihood of what was bought, summed over all queries, but for constants.

        Each purchase counts the same, in whatever order it was made. (The mean over each order's items favours what
        small orders hold, and ranks worse.) Within a horizon an item counts once for each order with it: whether it is
        bought at all hardly tells one habit from another, for all are nearly certain, and how often does. Of a next
        order that did not come nothing is known but the wait.
        """
        bought_R = torch.zeros_like(self.log_size_R).index_add(
            0, batch.target_query_Y, torch.ones_like(batch.target_query_Y, dtype=self.log_size_R.dtype)
        )
        known_R = (batch.horizons_R > 0) | (bought_R > 0)
        items_R = known_R * self.log_size_R.exp() - bought_R * self.log_size_R
        return items_R.sum() - self.log_shares(batch).sum() + waiting_loss(self.log_rate_RK, batch.waits_R)

    def dense(self, batch: Batch) -> Tensor:
        """The chance of an order, then how often each item is expected, (R, 1 + V)."""
        share_RV = self.logits_RL.new_zeros(len(self.log_total_R), self.item_count)
        share_RV[:, self.held.first : self.held.last] = (self.logits_RL - self.log_total_R[:, None]).exp()
        rate_RV = self.log_size_R.exp()[:, None] * reduce_from_tensor_model_parallel_region(share_RV)
        return torch.cat([chance_of_order(self.log_rate_RK, batch.horizons_R)[:, None], rate_RV], dim=1)


class DemandHead(MegatronModule):
    """Turns hidden states at queries into forecasts: how many items, which ones, and when the next order comes.

    An item's score is that of its embedding and its popularity, as in any language model, of its name, and of how it
    sold before the day of the question, as far as the customer follows that. The embedding of an item that never sold
    learned nothing but not to be bought, and has no say: its name alone tells who would like it. To an item that the
    customer met before, a small network adds what its habits are worth, given the hidden state, the item and its sales.
    Before anything is learned the distribution is that of the customer's own orders beside `PRIOR_ORDERS` orders of
    everybody's (a Dirichlet prior), the strongest of the simple baselines; what is learned is learned on top of it.
    """

    sold_L: Tensor
    name_LN: Tensor

    def __init__(
        self, config: TransformerConfig, habit_width: int, item_count: int, held: Held, catalogue: Catalogue | None
    ) -> None:
        """Without a catalogue nothing is known of how items sold or what they are called."""
        super().__init__(config=config)
        self.item_count, self.held, width = item_count, held, config.hidden_size
        self.sales = catalogue.sales if catalogue else Sales.none(item_count)
        self.share_at_end_V = self.sales.features(np.array([self.sales.last]))[0, :, 0]
        sold_V = catalogue.orders > 0 if catalogue else np.ones(item_count)
        name_VN = name_vectors(catalogue) if catalogue else np.zeros((item_count, NAME_WIDTH))
        for name, each in (("sold_L", sold_V), ("name_LN", name_VN)):
            self.register_buffer(name, torch.tensor(each[held.first : held.last]).float(), persistent=False)
        norm = nn.RMSNorm if config.normalization == "RMSNorm" else nn.LayerNorm
        self.norm = norm(width, eps=config.layernorm_epsilon)
        self.vocabulary_query = nn.Linear(width, width)
        self.name_query = nn.Linear(width, NAME_WIDTH)
        self.item_bias = nn.Parameter(torch.zeros(item_count))
        self.customer_features = nn.Linear(len(OF_CUSTOMERS), habit_width)
        self.customer_query = nn.Linear(width, habit_width, bias=False)
        self.customer_wants = nn.Linear(habit_width, 1)
        self.wait_features = nn.Linear(len(OF_CUSTOMERS) + len(OF_WAITS), habit_width)
        self.wait_mixed = nn.Linear(habit_width, habit_width)
        self.wait_rates = nn.Linear(habit_width, len(FROM))
        self.habit_features = nn.Linear(len(OF_ITEMS), habit_width)
        self.habit_customer = nn.Linear(len(OF_CUSTOMERS), habit_width, bias=False)
        self.habit_query = nn.Linear(width, habit_width, bias=False)
        self.habit_item = nn.Linear(width, habit_width, bias=False)
        self.habit_sales = nn.Linear(len(OF_SALES), habit_width, bias=False)
        self.sales_query = nn.Linear(width, 1 + len(WINDOWS))
        self.habit_mixed = nn.Linear(habit_width, habit_width)
        self.habit_worth = nn.Linear(habit_width, 1)
        nn.init.normal_(self.vocabulary_query.weight, std=0.01)
        nn.init.zeros_(self.vocabulary_query.bias)
        for layer in (self.name_query, self.customer_wants, self.wait_rates, self.habit_worth, self.sales_query):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def popularity(self, orders_V: np.ndarray) -> None:
        """Starts the items' biases at the logarithms of their shares of all sales."""
        self.item_bias.data.copy_(log_popularity(orders_V))

    def forward(self, query_RD: Tensor, words_WD: Tensor, batch: Batch) -> Forecast:
        """The forecast at each query.

        Args:
            query_RD: hidden states at the queries.
            words_WD: the embeddings that this process holds.
        """
        held = self.held
        query_RD = self.norm(query_RD)
        customer_RC = batch.customer_RC.to(query_RD.dtype)
        wants_RH = gelu(self.customer_features(customer_RC) + self.customer_query(query_RD))
        more_R = self.customer_wants(wants_RH).float().squeeze(-1)
        # By habits alone: a hidden state knows customers one by one, and tells of waits that it has seen.
        paced_RC = torch.cat([customer_RC, batch.wait_RE.to(query_RD.dtype)], dim=1)
        wait_RH = gelu(self.wait_features(paced_RC))
        wait_RH = gelu(self.wait_mixed(wait_RH))
        log_rate_RK = 2 * batch.customer_RC[:, LATELY, None] + LATELY_TO_DAILY + self.wait_rates(wait_RH).float()
        # Each process continues with its own items only; the copies' backward pass adds their gradients up.
        query_RD = copy_to_tensor_model_parallel_region(query_RD)
        bias_L = copy_to_tensor_model_parallel_region(self.item_bias)[held.first : held.last]
        words_LD = words_WD[held.rows]
        own_RL = _copied(self.vocabulary_query, query_RD) @ words_LD.T * self.sold_L
        named_RL = _copied(self.name_query, query_RD) @ self.name_LN.T
        sales_MLK, day_R = self._sales(batch.days_M), batch.day_R
        logits_RL = (own_RL + named_RL).float() + bias_L + self._trend(query_RD, sales_MLK, day_R)
        here_P: Tensor | slice = slice(None)
        if held.last - held.first < self.item_count:
            here_P = ((batch.met_item_P >= held.first) & (batch.met_item_P < held.last)).nonzero().squeeze(-1)
        query_P, place_P = batch.met_query_P[here_P], batch.met_item_P[here_P] - held.first
        asked_RH = _copied(self.habit_query, query_RD) + _copied(self.habit_customer, customer_RC)
        item_LH = _copied(self.habit_item, words_LD)
        told_PF = torch.cat([batch.habits_PF[here_P], sales_MLK[day_R[query_P], place_P]], dim=1)
        worth_P = self._worth(asked_RH, item_LH, query_P, place_P, told_PF.to(query_RD.dtype))
        own_P = torch.log1p(batch.met_count_P[here_P] / (PRIOR_ORDERS * bias_L.detach()[place_P].exp()))
        cells_P = query_P * max(held.last - held.first, 1) + place_P
        logits_RL = logits_RL.flatten().index_add(0, cells_P, worth_P.float() + own_P).view_as(logits_RL)
        log_size_R = batch.customer_RC[:, EXPECTED] + more_R
        return Forecast(held, self.item_count, logits_RL, _log_total(logits_RL), log_size_R, log_rate_RK)

    def _sales(self, days_M: np.ndarray) -> Tensor:
        """How this process's items sold before each day, (M, L, K). The share of everything sold is against that at the
        end, which the items' biases know."""
        mine = slice(self.held.first, self.held.last)
        features = self.sales.features(days_M)[:, mine]
        features[..., 0] -= self.share_at_end_V[mine]
        return on_device(torch.from_numpy(features))

    def _trend(self, query_RD: Tensor, sales_MLK: Tensor, day_R: Tensor) -> Tensor:
        """What is added to each item's score, (R, L): its sales of late, by weights of each query's own."""
        weight_RW = _copied(self.sales_query, query_RD).float()
        lately_MLW = sales_MLK[..., : weight_RW.shape[1]]
        trend_RL: Tensor = torch.einsum("rw,rlw->rl", weight_RW, lately_MLW[day_R])
        return trend_RL

    def _worth(self, asked_RH: Tensor, item_LH: Tensor, query_P: Tensor, place_P: Tensor, told_PF: Tensor) -> Tensor:
        """What the habits of each pair add to its item's score, (P,).

        Most of what a query costs: so both kinds of features in one product, added up in place.

        Args:
            asked_RH, item_LH: what is known of each query and of each item.
            told_PF: the pair's habits, then the item's sales.
        """
        features = copy_to_tensor_model_parallel_region(
            torch.cat([self.habit_features.weight, self.habit_sales.weight], dim=1)
        )
        asked_RH = asked_RH + copy_to_tensor_model_parallel_region(self.habit_features.bias)
        known_PH = asked_RH.index_select(0, query_P).add_(item_LH.index_select(0, place_P))
        habit_PH = gelu(known_PH.addmm_(told_PF, features.T))
        habit_PH = gelu(_copied(self.habit_mixed, habit_PH))
        return _copied(self.habit_worth, habit_PH).squeeze(-1)


def log_popularity(orders_V: np.ndarray) -> Tensor:
    """The logarithm of each item's share of all sales, as if each had sold once more, (V,)."""
    sold_V = torch.from_numpy(orders_V + 1.0)
    return (sold_V / sold_V.sum()).log().float()


def _copied(layer: nn.Linear, inputs: Tensor) -> Tensor:
    """A layer that every process holds whole and uses for its own pairs: their gradients of it add up."""
    bias = None if layer.bias is None else copy_to_tensor_model_parallel_region(layer.bias)
    return linear(inputs, copy_to_tensor_model_parallel_region(layer.weight), bias)


def _log_total(logits_RL: Tensor) -> Tensor:
    """log of the sum of exponentials over the items of all processes of the tensor-parallel group, (R,)."""
    highest_R = logits_RL.new_full(logits_RL.shape[:1], -torch.inf)
    if logits_RL.shape[1]:
        highest_R = logits_RL.detach().amax(-1)
    highest_R = highest_of_tensor_group(highest_R)
    total_R = reduce_from_tensor_model_parallel_region((logits_RL - highest_R[:, None]).exp().sum(-1))
    log_total_R: Tensor = total_R.log() + highest_R
    return log_total_R
