"""The uses over HTTP: each answers with what the model expects, within what was asked."""

from typing import Any

import httpx
import numpy as np
import pytest

from demand.customer import Customer
from demand.dataset import Dataset
from demand.moments import iso
from demand.questions import Question
from demand.uses.launch import Product, launch
from modeling.predictor import Predictor
from serving.schemas import CustomerRecord
from tests.serving.conftest import AS_OF, order
from tests.serving.test_serving import problem

DAYS = 28


@pytest.fixture(scope="module")
def customers(shop: Dataset) -> list[Customer]:
    return list(shop.customers(before=AS_OF))[:12]


@pytest.fixture(scope="module")
def predictor(model_folder: Any) -> Predictor:
    return Predictor.load(model_folder)


def record(customer: Customer) -> dict[str, Any]:
    return CustomerRecord.of(customer).model_dump(mode="json")


def asked(client: httpx.Client, route: str, **body: Any) -> dict[str, Any]:
    answer: dict[str, Any] = client.post(route, json={"as_of": iso(AS_OF), **body}).raise_for_status().json()
    return answer


def test_a_list_keeps_the_wish_and_is_the_best_of_what_is_left(
    client: httpx.Client, predictor: Predictor, customers: list[Customer]
) -> None:
    stock = [f"item a{number}" for number in range(5)] + ["item f4"]

    answer = asked(client, "/v1/recommend", customer=record(customers[0]), wish={"in_stock": stock, "size": 4})

    (chances,) = predictor.chances([Question(customers[0], AS_OF)])
    expected = sorted(stock, key=lambda item: -chances[predictor.catalogue.index[item]])[:4]
    assert [each["item_id"] for each in answer["items"]] == expected
    assert answer["items"][0]["probability"] == pytest.approx(chances[predictor.catalogue.index[expected[0]]], abs=1e-5)
    owned = {item for order in customers[0].orders for item in order.items}
    assert [each["new"] for each in answer["items"]] == [item not in owned for item in expected]
    assert answer["model"]["version"] == 3


def test_an_empty_list_is_an_answer(client: httpx.Client) -> None:
    assert asked(client, "/v1/recommend", customer=order(), wish={"in_stock": []})["items"] == []


def test_an_audience_is_the_likeliest_customers(
    client: httpx.Client, predictor: Predictor, customers: list[Customer]
) -> None:
    answer = asked(
        client, "/v1/audience", customers=[record(each) for each in customers], items=["item b1", "item c2"],
        size=10, horizon_days=DAYS,
    )  # fmt: skip

    places = [predictor.catalogue.index[item] for item in ("item b1", "item c2")]
    chances = predictor.chances([Question(each, AS_OF, DAYS) for each in customers])[:, places]
    any_of = 1 - (1 - chances.astype(float)).prod(1)
    best = np.argsort(-any_of, kind="stable")[:10]
    assert [each["place"] for each in answer["members"]] == best.tolist()
    assert [each["customer_id"] for each in answer["members"]] == [customers[row].customer_id for row in best]
    assert answer["expected_response"] == pytest.approx(any_of[best].sum(), abs=1e-4)
    assert answer["reached"] == pytest.approx(any_of[best].sum() / any_of.sum(), abs=1e-4)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"items": ["item a0"], "size": 3}, "10 are the fewest"),
        ({"items": ["item a0"]}, "one of size, threshold, or budget"),
        ({"items": ["unheard of"], "size": 10}, "items.0"),
        ({"size": 10}, "give one of them"),
        ({"items": ["item a0"], "category": "x", "size": 10}, "give one of them"),
        ({"category": "unheard of", "size": 10}, "category"),
    ],
)
def test_an_audience_that_cannot_be_is_refused(
    client: httpx.Client, customers: list[Customer], fields: dict[str, Any], said: str
) -> None:
    body = {"as_of": iso(AS_OF), "customers": [record(each) for each in customers], **fields}

    assert said in problem(client.post("/v1/audience", json=body), 422)["detail"]


def test_of_many_customers_the_wrong_one_is_named(client: httpx.Client) -> None:
    late = order(ts="2025-01-01T00:00:00Z")

    answer = client.post("/v1/audience", json={"as_of": iso(AS_OF), "customers": [order(), late], "size": 10})

    assert problem(answer, 422)["errors"][0]["field"] == "customers.1.purchase_history.0.ts"


def test_a_forecast_adds_up_over_customers_and_groups(
    client: httpx.Client, predictor: Predictor, customers: list[Customer]
) -> None:
    records = [record(each) for each in customers]

    items = asked(client, "/v1/forecast", customers=records, least=0, spread=0.1)["groups"]
    (everything,) = asked(client, "/v1/forecast", customers=records, by="all")["groups"]

    quantities, amounts = predictor.outlook([Question(each, AS_OF, DAYS) for each in customers]).worth()
    places = [predictor.catalogue.index[each["group"]] for each in items]
    assert [each["expected_quantity"] for each in items] == pytest.approx(quantities.sum(0)[places], rel=1e-4)
    assert everything["expected_quantity"] == pytest.approx(quantities.sum(), rel=1e-4)
    assert everything["expected_amount"] == pytest.approx(amounts.sum(), rel=1e-4)
    assert [each["level"] for each in everything["intervals"]] == [0.5, 0.8, 0.95]
    assert all(each["low"] <= everything["expected_quantity"] <= each["high"] for each in everything["intervals"])


def test_a_forecast_is_at_the_level_that_is_said_and_adds_up_over_stores(
    client: httpx.Client, predictor: Predictor, customers: list[Customer]
) -> None:
    records = [record(each) for each in customers]
    for each in records:
        for bought in each["purchase_history"]:
            if bought["store"] != "north":
                del bought["store"]
    said = {"levels": {"item b1": 3.0, "unheard of": 9.0}, "least": 0}

    stores = asked(client, "/v1/forecast", customers=records, stores=True, **said)["groups"]
    items = asked(client, "/v1/forecast", customers=records, **said)["groups"]

    quantities, _ = predictor.outlook([Question(each, AS_OF, DAYS) for each in customers]).worth()
    units = {each["group"]: each["expected_quantity"] for each in items}
    assert units["item b1"] == pytest.approx(3 * quantities.sum(0)[predictor.catalogue.index["item b1"]], rel=1e-4)
    assert units["item c2"] == pytest.approx(quantities.sum(0)[predictor.catalogue.index["item c2"]], rel=1e-4)
    assert {each["store"] for each in stores} == {"north", ""}
    assert all("store" not in each for each in items)
    for item in units:
        inside = [each["expected_quantity"] for each in stores if each["group"] == item]
        assert sum(inside) == pytest.approx(units[item])
        assert min(inside) > 0


def test_weeks_of_a_forecast_are_of_every_store_and_add_up(
    client: httpx.Client, predictor: Predictor, customers: list[Customer]
) -> None:
    said = {"customers": [record(each) for each in customers], "stores": True, "horizon_days": 10, "spread": 0.1}

    weeks = asked(client, "/v1/forecast", **said, by="category", weeks=True)["groups"]
    stores = asked(client, "/v1/forecast", **said, by="category")["groups"]

    first, _ = predictor.outlook([Question(each, AS_OF, 7) for each in customers]).worth()
    assert sum(each["expected_quantity"] for each in weeks if each["week"] == 1) == pytest.approx(first.sum(), rel=1e-3)
    assert [(each["group"], each["store"], each["week"]) for each in weeks] == [
        (each["group"], each["store"], week) for each in stores for week in (1, 2)
    ]
    for each, *both in zip(stores, weeks[::2], weeks[1::2], strict=True):
        for sums in ("expected_quantity", "expected_amount"):
            assert sum(week[sums] for week in both) == pytest.approx(each[sums], rel=1e-4)
        for week in both:
            assert week["intervals"][2]["low"] <= week["expected_quantity"] <= week["intervals"][2]["high"]


def test_weeks_of_too_many_customers_are_refused(client: httpx.Client) -> None:
    body = {"as_of": iso(AS_OF), "customers": [{}] * 65, "horizon_days": 28, "weeks": True}

    (error,) = problem(client.post("/v1/forecast", json=body), 422)["errors"]

    assert error["field"] == "weeks"
    assert "more than 256" in error["reason"]


def test_a_new_product_sells_to_those_who_buy_what_is_like_it(
    client: httpx.Client, predictor: Predictor, customers: list[Customer]
) -> None:
    product = {"name": "Item B1 Fresh", "price": 2.0}
    answer = asked(
        client, "/v1/new-product", customers=[record(each) for each in customers], product=product, size=3,
        horizon_days=DAYS,
    )  # fmt: skip

    outlook = predictor.outlook([Question(each, AS_OF, DAYS) for each in customers])
    expected = launch(outlook, Product(**product), DAYS)
    assert answer["alike"][0]["item_id"] == "item b1"
    assert answer["expected_quantity"] == pytest.approx(expected.units, rel=1e-4)
    assert answer["expected_quantity"] > sum(each["taken_quantity"] for each in answer["alike"])
    assert answer["expected_amount"] == pytest.approx(2 * answer["expected_quantity"])
    best = np.argsort(-expected.chances, kind="stable")[:3]
    assert [each["place"] for each in answer["customers"]] == best.tolist()


def test_a_customers_risk_is_the_models_chance_and_what_the_record_says(
    client: httpx.Client, predictor: Predictor, customers: list[Customer]
) -> None:
    answer = asked(client, "/v1/customers/risk", customer=record(customers[3]))

    outlook = predictor.outlook([Question(customers[3], AS_OF, DAYS)])
    _, amounts = outlook.worth()
    assert answer["horizon_days"] == DAYS
    assert answer["probability"] == pytest.approx(float(outlook.orders[0]), abs=1e-5)
    assert answer["expected_amount"] == pytest.approx(float(amounts.sum()), rel=1e-4)
    last = customers[3].orders[-1].ts
    assert answer["days_since_order"] == pytest.approx((AS_OF - last) / (24 * 3600 * 1e6))
    assert not answer["late"]


def test_a_nameless_customer_who_never_ordered_has_a_chance_too(client: httpx.Client) -> None:
    answer = asked(client, "/v1/customers/risk", customer={}, horizon_days=7)

    assert 0 < answer["probability"] < 1
    assert answer["days_since_order"] is None
    assert answer["missing"] == []


def test_the_same_body_at_another_route_is_another_question(client: httpx.Client) -> None:
    body = {"customer": order(), "as_of": iso(AS_OF)}

    assert "demands" in client.post("/v1/predict", json=body).json()
    assert "items" in client.post("/v1/recommend", json=body).json()
    assert "probability" in client.post("/v1/customers/risk", json=body).json()
    assert "demands" in client.post("/v1/predict", json=body).json()
