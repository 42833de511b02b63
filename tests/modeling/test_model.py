"""The model: where it starts, what it may see, and what packing must not change."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from demand.catalogue import Catalogue
from demand.customer import Customer, Order
from demand.dataset import Dataset
from demand.formats import prompt_format
from demand.moments import DAY, moment
from demand.packing import pack
from demand.prompts import Renderer
from demand.sales import OF_SALES
from demand.vocabulary import Vocabulary
from modeling.batch import Batch
from modeling.megatron import parallel_state, tensor_parallel
from modeling.megatron.finetuning import FineTuning, Schedule
from modeling.megatron.head import PRIOR_ORDERS
from modeling.megatron.model import DemandModel, initialize_from_catalogue
from modeling.parallel import initialize, seed_dropout
from modeling.settings import ModelSettings
from tests.conftest import CUTOFF

SETTINGS = {
    "gpt": ModelSettings(layers=1, hidden=32, heads=2, ffn=64),
    "t5": ModelSettings(
        architecture="t5",
        family="t5",
        positions="relative",
        layers=1,
        hidden=32,
        heads=2,
        ffn=64,
        norm="rms",
        activation="geglu_tanh",
        bias=False,
        qkv_bias=False,
    ),
}
AS_OF = moment(CUTOFF)


@pytest.fixture(params=SETTINGS)
def model(request: pytest.FixtureRequest, catalogue: Catalogue, vocabulary: Vocabulary) -> DemandModel:
    initialize(seed=1)
    model = DemandModel(SETTINGS[request.param], len(vocabulary), len(catalogue))
    initialize_from_catalogue(model, vocabulary, catalogue)
    return model.eval()


@pytest.fixture
def renderer(catalogue: Catalogue, vocabulary: Vocabulary) -> Renderer:
    return Renderer(prompt_format("compact"), vocabulary, catalogue)


def test_pipeline_stages_begin_with_layers_and_masks_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn() -> tuple[list[float], list[float]]:
        initialize(seed=1)
        weights = torch.rand(3)
        seed_dropout(5, sequence_parallel=False)
        return weights.tolist(), torch.rand(3).tolist()

    def of_seed(seed: int) -> list[float]:
        return torch.rand(3, generator=torch.Generator().manual_seed(seed)).tolist()

    first = drawn()
    monkeypatch.setattr(parallel_state, "get_pipeline_model_parallel_rank", lambda: 1)
    second = drawn()

    assert first == (of_seed(1), of_seed(5))
    assert all(one != other for one, other in zip(first, second, strict=True))


def test_what_is_dropped_under_sequence_parallelism_follows_from_the_seed_alone() -> None:
    initialize(seed=1)

    def dropped(seed: int) -> list[float]:
        seed_dropout(seed, sequence_parallel=True)
        with tensor_parallel.get_cuda_rng_tracker().fork():
            return torch.rand(3).tolist()

    assert dropped(5) == dropped(5)
    assert dropped(5) != dropped(6)


def shuffle_parameters(model: DemandModel) -> None:
    """Weights under which every part of the model has its say."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)


def test_an_untrained_model_is_the_customers_purchase_frequency_beside_popularity(
    model: DemandModel, renderer: Renderer, catalogue: Catalogue
) -> None:
    orders = (
        Order(AS_OF - 5 * DAY, ("item a0", "item a1"), (1, 1), (2, 1)),
        Order(AS_OF - DAY, ("item a0",), (1,), (1,)),
    )

    (forecast,) = model(Batch.from_prompts([renderer.prompt(Customer("c", orders), AS_OF)])).detach().numpy()

    everybody = (catalogue.orders + 1) / (catalogue.orders + 1).sum()
    own = np.zeros(len(catalogue))
    own[:2] = [2, 1]
    shares = forecast[1:] / forecast[1:].sum()
    assert shares == pytest.approx((own + PRIOR_ORDERS * everybody) / (3 + PRIOR_ORDERS), abs=0.02)
    assert 1 < forecast[1:].sum() < 2  # items of an order so far


def test_an_untrained_model_expects_as_many_orders_in_a_horizon_as_of_late(
    model: DemandModel, renderer: Renderer
) -> None:
    weekly = Customer("c", tuple(Order(AS_OF - week * 7 * DAY, ("item a0",), (1,), (2,)) for week in range(40, 0, -1)))

    (forecast,) = model(Batch.from_prompts([renderer.prompt(weekly, AS_OF, 28)])).detach().numpy()

    assert forecast[1:].sum() == pytest.approx(4, rel=0.1)


def test_an_empty_history_is_answered_by_popularity(
    model: DemandModel, renderer: Renderer, catalogue: Catalogue
) -> None:
    (forecast,) = model(Batch.from_prompts([renderer.prompt(Customer("new"), AS_OF)])).detach().numpy()

    assert np.corrcoef(forecast[1:], catalogue.orders)[0, 1] > 0.9


def test_packing_changes_no_answer(model: DemandModel, renderer: Renderer, shop: Dataset) -> None:
    shuffle_parameters(model)
    prompts = [renderer.prompt(customer, AS_OF) for customer in list(shop.customers())[:8]]

    packed = model(Batch.from_prompts(prompts))
    alone = torch.cat([model(Batch.from_prompts([prompt])) for prompt in prompts])

    torch.testing.assert_close(packed, alone, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("model", ["gpt"], indirect=True)
def test_a_query_sees_nothing_after_it(model: DemandModel, renderer: Renderer, shop: Dataset) -> None:
    shuffle_parameters(model)
    customer = next(iter(shop.customers()))
    (prompt,) = renderer.training_prompts(customer, AS_OF, np.random.default_rng(0))

    answers = model(Batch.from_prompts([prompt]))
    changed = prompt.tokens.copy()
    changed[prompt.queries[4] + 1 :] = changed[prompt.queries[4] + 1 :][::-1]
    record = prompt.record
    later = record.times >= prompt.moments[4]
    items = np.where(later, record.items[::-1], record.items)
    other = replace(prompt, tokens=changed, record=replace(record, items=items))

    torch.testing.assert_close(model(Batch.from_prompts([other]))[:5], answers[:5], atol=1e-6, rtol=1e-4)
    assert not torch.allclose(model(Batch.from_prompts([other]))[6:], answers[6:])


def test_the_loss_is_that_of_a_poisson_process_whatever_the_items_order(model: DemandModel, renderer: Renderer) -> None:
    shuffle_parameters(model)
    nothing = np.zeros(0, dtype=np.int64)
    asked = [(0, 0.0, np.array([3, 5])), (28, -28.0, nothing), (0, 0.0, nothing)]  # the last one never came
    prompts = [replace(renderer.prompt(Customer("c"), AS_OF, days), waits=np.array([wait])) for days, wait, _ in asked]
    one, other = (
        Batch.from_prompts(
            [prompt.with_targets([truth[::step]]) for prompt, (*_, truth) in zip(prompts, asked, strict=True)]
        )
        for step in (1, -1)
    )
    next_order, month, _ = model(one)

    by_hand = next_order[1:].sum() - next_order[1 + 3].log() - next_order[1 + 5].log()
    by_hand += month[1:].sum() - (1 - month[0]).log()  # nothing was bought
    assert float(model(one, learn=True)) == pytest.approx(float(by_hand), rel=1e-5)
    assert float(model(other, learn=True)) == pytest.approx(float(by_hand), rel=1e-5)


def test_training_learns_what_is_always_bought(model: DemandModel, renderer: Renderer, shop: Dataset) -> None:
    prompts = [
        prompt
        for customer in list(shop.customers())[:10]
        for prompt in renderer.training_prompts(customer, AS_OF, np.random.default_rng(0))
    ]
    if model.settings.architecture == "t5":
        prompts = [prompt.alone(query) for prompt in prompts for query in range(0, len(prompt.queries), 3)]
    arrays = pack(prompts)
    tuning = FineTuning(model, Schedule(3e-3, warmup_steps=2, total_steps=15, weight_decay=0.01, clip=1.0))

    losses = [tuning.step([Batch.from_arrays(arrays)], [step]).loss for step in range(15)]

    assert losses[-1] < losses[0] - 0.05


@pytest.mark.parametrize("model", ["gpt"], indirect=True)
def test_a_gradient_that_is_no_number_changes_nothing_and_is_told(
    model: DemandModel, renderer: Renderer, shop: Dataset
) -> None:
    customer = next(iter(shop.customers()))
    arrays = pack(list(renderer.training_prompts(customer, AS_OF, np.random.default_rng(0))))
    tuning = FineTuning(model, Schedule(3e-3, warmup_steps=1, total_steps=9, weight_decay=0.01, clip=1.0))
    tuning.step([Batch.from_arrays(arrays)], [0])
    before = [parameter.detach().clone() for parameter in model.parameters()]

    fault = model.core.decoder.register_forward_hook(lambda module, inputs, output: output * torch.nan)
    skipped = tuning.step([Batch.from_arrays(arrays)], [1])
    fault.remove()

    assert skipped.skipped
    assert not np.isfinite(skipped.gradient_norm)
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))
    after = tuning.step([Batch.from_arrays(arrays)], [2])
    assert not after.skipped
    assert np.isfinite(after.loss)


@pytest.mark.parametrize("model", ["gpt"], indirect=True)
def test_the_wait_is_learned_at_a_rate_of_its_own(model: DemandModel, renderer: Renderer, shop: Dataset) -> None:
    customer = next(iter(shop.customers()))
    arrays = pack(list(renderer.training_prompts(customer, AS_OF, np.random.default_rng(0))))
    tuning = FineTuning(model, Schedule(1e-3, warmup_steps=1, total_steps=9, weight_decay=0.0, clip=1.0))
    before = {name: each.detach().clone() for name, each in model.named_parameters()}

    tuning.step([Batch.from_arrays(arrays)], [0])  # Adam's first moves each number by the rate

    moved = {name: float((each - before[name]).abs().max()) for name, each in model.named_parameters()}
    assert moved["head.wait_rates.bias"] == pytest.approx(10 * moved["head.customer_wants.bias"], rel=1e-3)


@pytest.mark.parametrize("model", ["gpt"], indirect=True)
def test_what_sold_of_late_counts_as_much_as_was_learned(
    model: DemandModel, vocabulary: Vocabulary, catalogue: Catalogue, renderer: Renderer
) -> None:
    knowing = DemandModel(model.settings, len(vocabulary), len(catalogue), catalogue=catalogue).eval()
    knowing.load_state_dict(model.state_dict())
    asked = Batch.from_prompts([renderer.prompt(Customer("new"), AS_OF)])
    before = knowing(asked)

    with torch.no_grad():
        knowing.head.sales_query.bias[2] = 0.7
    after = knowing(asked)

    last_week = OF_SALES.index("sold in the last 7 days, against its average")
    lately = catalogue.sales.features(np.array([AS_OF // DAY]))[0, :, last_week]
    assert np.ptp(lately) > 0.1
    torch.testing.assert_close(before, model(asked))  # untrained, sales have no say
    gain = (after / before)[0, 1:].log().detach().numpy()
    assert gain - gain.mean() == pytest.approx(0.7 * (lately - lately.mean()), abs=1e-4)


def test_a_calendar_starts_without_a_say_and_learns_what_sells_on_a_day(
    catalogue: Catalogue, vocabulary: Vocabulary, renderer: Renderer
) -> None:
    initialize(seed=1)
    shape = SETTINGS["gpt"].model_copy(update={"calendar": True, "dropout": 0.0})
    model = DemandModel(shape, len(vocabulary), len(catalogue))
    initialize_from_catalogue(model, vocabulary, catalogue)
    offers = {day: day // 10 for day in (100, 120, 140)}  # what everyone buys on that day
    buyers = [Customer("c", (Order(day * DAY, (catalogue.item_ids[offers[day]],), (1,), (1,)),)) for day in offers]
    rng = np.random.default_rng(1)
    prompts = [each for buyer in buyers for each in renderer.training_prompts(buyer, 150 * DAY, rng, at_orders=True)]
    tuning = FineTuning(model, Schedule(3e-3, warmup_steps=0, total_steps=60, weight_decay=0.0, clip=1.0))
    strangers = Batch.from_prompts([renderer.prompt(Customer("d"), day * DAY) for day in offers])

    model.eval()
    untrained = model(strangers)[:, 1:]
    for step in range(60):
        tuning.step([Batch.from_arrays(pack(prompts))], [step])
    model.eval()
    trained = model(strangers)[:, 1:]

    assert torch.equal(untrained[0], untrained[1])
    assert trained.argmax(1).tolist() == list(offers.values())
