"""Prediction: a loaded checkpoint answers questions about customers."""

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import torch

from demand.catalogue import Catalogue
from demand.errors import CheckpointError
from demand.locations import Location
from demand.packing import grouped
from demand.prompts import Prompt, Renderer
from demand.questions import Question
from demand.uses.outlook import Demand, Outlook
from modeling.batch import Batch
from modeling.checkpoint import Checkpoint, load_checkpoint
from modeling.megatron.model import DemandModel
from modeling.megatron.shards import load_weights
from modeling.parallel import device, fast_forward, initialize

TOKENS_PER_PASS = 16_384


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
        return self.forecasts_of(
            self.renderer.prompt(each.customer, each.as_of, each.horizon_days) for each in questions
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
        return self.outlook(questions).demands(k)

    def outlook(self, questions: Sequence[Question]) -> Outlook:
        """All that is expected within some questions."""
        return self.outlook_of(self.forecasts(questions), questions)

    def outlook_of(self, forecasts: np.ndarray, questions: Sequence[Question]) -> Outlook:
        """As `outlook`, of `forecasts` that were made already, (R, 1 + V)."""
        orders, rates = forecasts[:, 0], forecasts[:, 1:]
        chances = self.calibrate(rates, questions)
        return Outlook(self.catalogue, questions, orders, rates, chances, self.purchases(rates, chances, questions))

    def forecasts_of(self, prompts: Iterable[Prompt]) -> np.ndarray:
        """As `forecasts`, of questions that are prompts already, in passes of so many as fit, (R, 1 + V) float32."""
        padded = self.checkpoint.settings.architecture == "t5"
        passes = [self._pass(group) for group in grouped(prompts, TOKENS_PER_PASS, padded)]
        return np.concatenate(passes or [np.zeros((0, 1 + len(self.catalogue)), dtype=np.float32)])

    def _pass(self, prompts: Sequence[Prompt]) -> np.ndarray:
        with torch.inference_mode(), fast_forward():
            forecast: torch.Tensor = self.model(Batch.from_prompts(prompts))
        return forecast.float().cpu().numpy()
