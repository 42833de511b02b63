"""Occlusion: what a prediction would be without an event tells what the event did for it.

To predict anew without each event would read the history as often as there are events. But events do what they do
nearly all through habits, counts and waits, which the head reads from the customer's record. So the record is made
again without the event, and the head alone answers again, from the hidden state of the whole history. (Gradients would
not do: they tell what a habit is worth, not what it would be without an event.) How near that comes to predicting anew
is measured by benchmarks/explanations.py.

Shapes: E events, K items explained, V catalogue items.
"""

from dataclasses import replace

import numpy as np
import torch

from demand.metrics import top_k
from demand.prompts import Prompt
from demand.questions import Question
from demand.record import LOOKED, ORDERED, RATED, Record
from demand.uses.explanation import Event, Explanation, Facts, Kind, telling, without
from demand.uses.outlook import Outlook
from modeling.batch import Batch
from modeling.parallel import fast_forward
from modeling.predictor import Predictor

FEWEST, MOST, LINES = 4, 32, 30_000
"""Events that are taken away, one at a time: as many as leave so many lines of records to count again, within
bounds."""
KINDS: dict[Kind, int] = {"order": ORDERED, "browsing": LOOKED, "review": RATED}
"""Of lines in a record."""


def explained(predictor: Predictor, question: Question, k: int) -> Outlook:
    """What is expected within a question, and why its k likeliest items are."""
    customer = question.customer.before(question.as_of)
    prompts = [predictor.renderer.prompt(customer, question.as_of, question.horizon_days)]
    profile = [Event("profile")] if customer.attributes else []
    if profile:
        stranger = without(customer, profile)
        prompts.append(predictor.renderer.prompt(stranger, question.as_of, question.horizon_days))
    batch = Batch.from_prompts(prompts)
    with torch.inference_mode(), fast_forward():
        states_RD = predictor.model.read(batch)
        forecasts = predictor.model.answer(states_RD, batch).float().cpu().numpy()
    outlook = predictor.outlook_of(forecasts[:1], [question])
    items = top_k(outlook.rates, k)[0]
    catalogue = predictor.catalogue
    events = telling(
        customer,
        [catalogue.item_ids[item] for item in items],
        int(np.clip(LINES // max(len(prompts[0].record), 1), FEWEST, MOST)),
    )
    rates = forecasts[1:, 1 + items]
    if events:
        records = Record.without_each(customer, catalogue, [(KINDS[each.kind], each.place) for each in events])
        rates = np.concatenate([_answers(predictor, prompts[0], states_RD[:1], records)[:, 1 + items], rates])
    chances = predictor.checkpoint.calibration.chance(rates, question.horizon_days)
    weights_EK = outlook.chances[0, items] - chances
    explanations = [
        Explanation.of(int(item), Facts.of(customer, question.as_of, int(item), catalogue), events + profile, weights)
        for item, weights in zip(items, weights_EK.T, strict=True)
    ]
    return replace(outlook, explanations=[explanations])


def _answers(predictor: Predictor, prompt: Prompt, state_1D: torch.Tensor, records: list[Record]) -> np.ndarray:
    """What the head answers if the record is another, and the hidden state the same, (E, 1 + V)."""
    query = np.zeros(1, dtype=np.int32)  # the head reads no tokens: one stands for all
    others = [replace(prompt, tokens=prompt.tokens[-1:], queries=query, record=each) for each in records]
    batch = Batch.from_prompts(others)
    with torch.inference_mode(), fast_forward():
        forecasts: torch.Tensor = predictor.model.answer(state_1D.expand(len(records), -1), batch)
    return forecasts.float().cpu().numpy()
