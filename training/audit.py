"""A leak audit: does a model answer those whom it learned from better than those whom it did not?"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from demand.dataset import Dataset, draw
from demand.errors import DataError, SettingsError
from demand.privacy.inference import Inference, Scores, infer
from demand.privacy.membership import learned_from
from demand.prompts import Prompt
from demand.protocols import TEST, VALIDATION, Stage, protocol
from demand.questions import Case
from modeling.batch import Batch
from modeling.megatron.model import DemandModel, initialize_from_catalogue
from modeling.parallel import device, fast_forward, initialize
from modeling.predictor import Predictor
from training.examples import asked_alone
from training.run import QUESTIONS_ALONE

FEWEST, MOST = 20, 2_500
"""Customers on either side; of more, so many are drawn."""
TIMES = 2
"""That each customer is asked all the questions of training, at other random moments each time."""
LOSS, CALIBRATED = "loss", "calibrated loss"


def audit(predictor: Predictor, dataset: Dataset) -> Inference:
    """Attacks a model as someone would who has it and a customer's whole record.

    Customers are asked the questions that training asks, about the same days. One attack is the loss for each item
    bought (Yeom et al., arXiv:1709.01604), the other what of it the model learned to save: the difference to the model
    before it learned anything, which knows the customer's own habits and what sells, so that customers who are hard to
    foresee do not look like strangers (Watson et al., arXiv:2111.08440).

    Args:
        dataset: the one that the model learned from.

    Raises:
        DataError: it is another one.
        SettingsError: the model learned from everybody, or nearly.
    """
    card = predictor.checkpoint.card
    if card["data"]["content_hash"] != dataset.content_hash:
        raise DataError(f"{dataset.folder} is not what this model learned from: an audit needs the very same data")
    taking_part = protocol(card["protocol"], dataset).of(dataset)
    members = learned_from(card, dataset)
    others = sorted(set(taking_part.customer_ids).difference(members))
    if min(len(members), len(others)) < FEWEST:
        everybody = len(taking_part.customer_ids)
        raise SettingsError(
            f"this model learned from {len(members):,} of {everybody:,} customers, so there are too few on one side to "
            f"compare: train one with the same settings and --customers {everybody // 2}, and audit that"
        )
    attacked = _Attacked(predictor, taking_part)
    return infer(attacked.scores(draw(members, MOST, seed=0)), attacked.scores(draw(others, MOST, seed=0)))


class _Attacked:
    """A model beside its own beginning."""

    def __init__(self, predictor: Predictor, dataset: Dataset) -> None:
        checkpoint = predictor.checkpoint
        card, catalogue = checkpoint.card, checkpoint.catalogue
        initialize(0)
        self._untrained = DemandModel(
            checkpoint.settings, len(checkpoint.vocabulary), len(catalogue), catalogue=catalogue
        )
        initialize_from_catalogue(self._untrained, checkpoint.vocabulary, catalogue)
        self._untrained.to(device()).eval()
        self._predictor, self._dataset = predictor, dataset
        cutoff = card["validated_before"] if card["protocol"] == "cutoff" else None
        self._protocol = protocol(card["protocol"], dataset, cutoff)
        self._until: Stage = TEST if card["trained_before"] == card["validated_before"] else VALIDATION
        self._alone = QUESTIONS_ALONE if checkpoint.settings.architecture == "t5" else None

    def scores(self, ids: Sequence[str]) -> Scores:
        """Of those customers who bought anything that the model could learn from."""
        rows = [
            self._losses(case, np.random.default_rng(row))
            for row, case in enumerate(self._protocol.cases(self._dataset, ids, self._until))
        ]
        learned, untrained = np.array([row for row in rows if row is not None]).reshape(-1, 2).T
        return {LOSS: -learned, CALIBRATED: untrained - learned}

    def _losses(self, case: Case, rng: np.random.Generator) -> tuple[float, float] | None:
        """Of the model and of its beginning, for each item bought."""
        prompts = list(self._prompts(case, rng))
        bought = sum(len(items) for prompt in prompts for items in prompt.targets)
        if not bought:
            return None
        with torch.inference_mode(), fast_forward():
            batch = Batch.from_prompts(prompts)
            losses = [float(model(batch, learn=True)) for model in (self._predictor.model, self._untrained)]
        return losses[0] / bought, losses[1] / bought

    def _prompts(self, case: Case, rng: np.random.Generator) -> Iterator[Prompt]:
        """What training makes of a customer."""
        for _ in range(TIMES):
            for prompt in self._predictor.renderer.training_prompts(
                case.past, case.moment, rng, self._protocol.at_orders
            ):
                yield from asked_alone(prompt, self._alone, rng) if self._alone else [prompt]
