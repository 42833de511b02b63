"""Prediction: a loaded checkpoint answers questions about customers."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from demand.catalogue import Catalogue
from demand.errors import CheckpointError
from demand.locations import Location
from demand.metrics import top_k
from demand.prompts import Prompt, Renderer
from demand.questions import Question
from modeling.batch import Batch
from modeling.checkpoint import Checkpoint, load_checkpoint
from modeling.megatron.model import DemandModel
from modeling.megatron.shards import load_weights
from modeling.parallel import device, fast_forward, initialize

TOKENS_PER_PASS = 16_384


@dataclass(frozen=True)
class Demand:
    """One item of an answer.

    Attributes:
        item: catalogue index.
        probability: chance that the customer buys the item within the question.
        expected_quantity, expected_amount: what the customer will buy of it within the question, on average.
    """

    item: int
    probability: float
    expected_quantity: float
    expected_amount: float


class Predictor:
    """Answers questions with one checkpoint. Holds the model in this process, without Ray."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Raises CheckpointError where the weights do not fit the settings, or there is nothing to predict."""
        if not len(checkpoint.catalogue):
            raise CheckpointError("this pretrained model knows no catalogue yet: fine-tune it (train --set base=NAME)")
        initialize()
        self.checkpoint = checkpoint
        self.catalogue = checkpoint.catalogue
        self.renderer = Renderer(checkpoint.prompt_format, checkpoint.vocabulary, checkpoint.catalogue)
        self.model = DemandModel(
            checkpoint.settings, len(checkpoint.vocabulary), len(self.catalogue), catalogue=self.catalogue
        )
        load_weights(self.model, checkpoint.weights)
        self.model.to(device()).eval()

    @classmethod
    def load(cls, folder: Location | str) -> "Predictor":
        """Raises CheckpointError where the folder is damaged or no checkpoint."""
        return cls(load_checkpoint(folder))

    def read_sales(self, lines: Iterable[pa.Table]) -> None:
        """Takes what sold, day by day, from order lines (demand.catalogue.PURCHASES, of some customers at a time), not
        from the checkpoint, whose sales end where training did. No line may be of a moment that is asked about, or
        later."""
        self.take_sales(self.catalogue.with_sales(lines))

    def take_sales(self, catalogue: Catalogue) -> None:
        """The same of a catalogue of the same items, which has read them."""
        self.catalogue = catalogue
        self.model.head.sales = catalogue.sales

    def forecasts(self, questions: Sequence[Question]) -> np.ndarray:
        """The chance that the customer orders at all, and how often each item is expected, (R, 1 + V) float32."""
        return np.concatenate(
            [self.forecasts_of(part) for part in self._passes(questions)]
            or [np.zeros((0, 1 + len(self.catalogue)), dtype=np.float32)]
        )

    def rates(self, questions: Sequence[Question]) -> np.ndarray:
        """How often each item is expected within each question, (R, V)."""
        return self.forecasts(questions)[:, 1:]

    def chances(self, questions: Sequence[Question]) -> np.ndarray:
        """Calibrated chances that each item is bought within each question, (R, V)."""
        return self.calibrate(self.rates(questions), questions)

    def calibrate(self, rates: np.ndarray, questions: Sequence[Question]) -> np.ndarray:
        """Rates to chances, row by row."""
        chances = np.empty_like(rates)
        for days in {question.horizon_days for question in questions}:
            rows = [row for row, question in enumerate(questions) if question.horizon_days == days]
            chances[rows] = self.checkpoint.calibration.chance(rates[rows], days)
        return chances

    def purchases(self, rates: np.ndarray, chances: np.ndarray, questions: Sequence[Question]) -> np.ndarray:
        """How many orders with each item are expected within each question, (R, V): of the next order its chance."""
        expected = chances.copy()
        rows = [row for row, question in enumerate(questions) if question.horizon_days]
        expected[rows] = rates[rows] * self.checkpoint.calibration.purchases
        return expected

    def answer(self, questions: Sequence[Question], k: int) -> list[list[Demand]]:
        """The k likeliest items of each question, likeliest first."""
        return self.demands(self.rates(questions), questions, k)

    def demands(self, rates: np.ndarray, questions: Sequence[Question], k: int) -> list[list[Demand]]:
        """The k likeliest items of each question, likeliest first, by how often each is expected, (R, V)."""
        chances = self.calibrate(rates, questions)
        purchases = self.purchases(rates, chances, questions)
        ranked = top_k(rates, k)
        return [
            [
                self._demand(question, int(item), float(chances[row, item]), float(purchases[row, item]))
                for item in ranked[row]
            ]
            for row, question in enumerate(questions)
        ]

    def _demand(self, question: Question, item: int, probability: float, purchases: float) -> Demand:
        """Quantity and amount of one purchase, by the customer's own record and the catalogue's as one purchase more,
        times the purchases."""
        name = self.catalogue.item_ids[item]
        bought = [
            (order.quantities[place], order.amounts[place])
            for order in question.customer.orders
            if order.ts < question.as_of and name in order.items
            for place in [order.items.index(name)]
        ]
        times = len(bought) + 1
        quantity = (sum(each[0] for each in bought) + float(self.catalogue.mean_quantity[item])) / times
        amount = (sum(each[1] for each in bought) + float(self.catalogue.mean_amount[item])) / times
        return Demand(item, probability, purchases * quantity, purchases * amount)

    def _passes(self, questions: Sequence[Question]) -> Iterator[list[Prompt]]:
        """Prompts in groups that fit one pass."""
        group: list[Prompt] = []
        for question in questions:
            prompt = self.renderer.prompt(question.customer, question.as_of, question.horizon_days)
            if group and sum(map(len, group)) + len(prompt) > TOKENS_PER_PASS:
                yield group
                group = []
            group.append(prompt)
        if group:
            yield group

    def forecasts_of(self, prompts: Sequence[Prompt]) -> np.ndarray:
        """As `forecasts`, of questions that are prompts already, in one pass, (R, 1 + V) float32."""
        with torch.inference_mode(), fast_forward():
            forecast: torch.Tensor = self.model(Batch.from_prompts(prompts))
        return forecast.float().cpu().numpy()
