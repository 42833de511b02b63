"""Evaluations, with a model that has learned nothing: what is asked, compared and added up."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from demand.baselines import named
from demand.baselines.baseline import Baseline
from demand.baselines.problem import Problem
from demand.catalogue import Catalogue
from demand.dataset import Dataset
from demand.errors import DataError, SettingsError
from demand.formats import prompt_format
from demand.importing import import_dataset
from demand.moments import DAY, iso, moment
from demand.protocols import TEST, Cutoff
from demand.questions import HORIZON, NEXT, PARTS, Question, ask
from demand.rankings import RankingFile
from demand.sources import SourceOptions, source
from demand.vocabulary import Vocabulary
from modeling.checkpoint import Checkpoint
from modeling.megatron.model import DemandModel, initialize_from_catalogue
from modeling.megatron.shards import whole_weights
from modeling.parallel import initialize
from modeling.predictor import Predictor
from modeling.settings import ModelSettings
from tests.conftest import CUTOFF, ITEMS, write_shop
from training.evaluation import Evaluation, evaluate
from training.totals import totals

AS_OF, DAYS = moment(CUTOFF), 14
SETTINGS = ModelSettings(layers=1, hidden=32, heads=2, ffn=64)


@pytest.fixture(scope="module")
def predictor(catalogue: Catalogue, vocabulary: Vocabulary) -> Predictor:
    initialize(seed=3)
    model = DemandModel(SETTINGS, len(vocabulary), len(catalogue))
    initialize_from_catalogue(model, vocabulary, catalogue)
    return Predictor(Checkpoint(SETTINGS, prompt_format("compact"), vocabulary, catalogue, whole_weights(model)))


@pytest.fixture(scope="module")
def rankings(shop: Dataset, catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every customer is recommended the catalogue from its start."""
    rows = [(each, rank + 1, catalogue.item_ids[rank]) for each in shop.customer_ids for rank in range(20)]
    file = tmp_path_factory.mktemp("rankings") / "first.parquet"
    pd.DataFrame(rows, columns=["customer_id", "rank", "item_id"]).to_parquet(file)
    return file


def even(problem: Problem) -> np.ndarray:
    """Every item is as likely as not."""
    return np.full((problem.asked, len(problem.catalogue)), 0.5)


@pytest.fixture(scope="module")
def evaluation(predictor: Predictor, shop: Dataset, rankings: Path) -> Evaluation:
    files = [RankingFile.parse(f"first={rankings}"), RankingFile.parse(f"later.horizon={rankings}")]
    baselines = [*named("global-top,personal-top")[0], Baseline("even", even, horizon_score=even, chances=True)]
    return evaluate(predictor, shop, Cutoff(cutoff=AS_OF, days=DAYS), baselines, files)


def test_every_method_answers_the_questions_that_it_can(evaluation: Evaluation) -> None:
    report = evaluation.report

    assert list(report[NEXT]) == ["model", "global-top", "personal-top", "even", "first"]
    assert list(report[HORIZON]) == ["model", "global-top", "personal-top", "even", "first", "later"]
    assert report[HORIZON]["later"] == report[HORIZON]["first"]
    assert report[NEXT]["personal-top"]["ndcg@10"] > report[NEXT]["first"]["ndcg@10"]
    assert report["settings"] == {"global-top": {}, "personal-top": {}, "even": {}}


def test_the_model_reads_what_sold_up_to_the_cutoff_however_early_it_learned(
    catalogue: Catalogue, vocabulary: Vocabulary, shop: Dataset
) -> None:
    initialize()
    early = Cutoff(cutoff=AS_OF - 60 * DAY).catalogue(shop, TEST)
    model = DemandModel(SETTINGS, len(vocabulary), len(early), catalogue=early)
    predictor = Predictor(Checkpoint(SETTINGS, prompt_format("compact"), vocabulary, early, whole_weights(model)))

    evaluate(predictor, shop, Cutoff(cutoff=AS_OF, days=DAYS))

    assert predictor.catalogue.table.equals(catalogue.table)
    np.testing.assert_array_equal(predictor.model.head.sales.before, catalogue.sales.before)


def test_leads_are_differences_of_means_and_lie_in_their_intervals(evaluation: Evaluation) -> None:
    report = evaluation.report

    for part in PARTS:
        for name, lead in report["differences"][part].items():
            for metric, each in lead.items():
                assert each["mean"] == pytest.approx(report[part]["model"][metric] - report[part][name][metric])
                assert each["low"] <= each["mean"] <= each["high"]
        for name, row in report["intervals"][part].items():
            assert all(low <= report[part][name][metric] <= high for metric, (low, high) in row.items())


def test_slices_of_customers_add_up_to_all_of_them(evaluation: Evaluation) -> None:
    for part in PARTS:
        found = evaluation.report["slices"][part]
        lengths = [each for name, each in found.items() if name.endswith("orders")]
        whole = sum(each["customers"] * each["methods"]["model"]["recall@10"] for each in lengths)
        assert sum(each["customers"] for each in lengths) == evaluation.report["customers"]
        assert whole / evaluation.report["customers"] == pytest.approx(evaluation.report[part]["model"]["recall@10"])
        assert "without demographics" not in found


def test_items_that_nobody_had_bought_are_ranked_among_themselves(
    vocabulary: Vocabulary, rankings: Path, tmp_path: Path
) -> None:
    file = write_shop(tmp_path / "csv") / "orders.csv"
    orders = pd.read_csv(file)
    launched, then = orders["item_id"].isin(ITEMS[:2]), orders["ts"] >= CUTOFF
    orders[then | ~launched].to_csv(file, index=False)
    import_dataset("csv", source("csv", SourceOptions(path=file.parent)), tmp_path / "data")
    shop = Dataset.open(tmp_path / "data")
    catalogue = Cutoff(cutoff=AS_OF).catalogue(shop, TEST)
    initialize()
    model = DemandModel(SETTINGS, len(vocabulary), len(catalogue), catalogue=catalogue)
    predictor = Predictor(Checkpoint(SETTINGS, prompt_format("compact"), vocabulary, catalogue, whole_weights(model)))

    report = evaluate(
        predictor,
        shop,
        Cutoff(cutoff=AS_OF, days=DAYS),
        named("category-top")[0],
        [RankingFile.parse(f"first={rankings}")],
    ).report

    bought = orders[then & launched & (orders["ts"] < iso(AS_OF + DAYS * DAY))]
    best_first = bought.groupby("customer_id")["item_id"].agg(lambda items: ITEMS[0] in set(items))
    found = report["unseen"][HORIZON]
    assert (found["items"], found["customers"]) == (2, len(best_first))
    assert set(found["methods"]) == {"model", "category-top"}
    gains = np.where(
        best_first, 1, 1 / np.log2(3)
    )  # categories of their own, never sold: in the order of the catalogue
    assert found["methods"]["category-top"]["ndcg@10"] == pytest.approx(gains.mean())
    assert found["methods"]["model"]["recall@10"] == 1
    assert report["slices"][HORIZON]["unseen items"]["customers"] == len(best_first)


def test_a_horizon_is_judged_by_everyone_and_the_next_order_by_those_who_ordered(
    evaluation: Evaluation, shop: Dataset, catalogue: Catalogue
) -> None:
    calibration = evaluation.report["calibration"]

    everyone = sum(bool(each.orders) for each in shop.customers(before=AS_OF))
    assert calibration[NEXT]["all"]["pairs"] == evaluation.report["customers"] * len(catalogue)
    assert calibration[HORIZON]["all"]["pairs"] == everyone * len(catalogue)
    assert calibration[HORIZON]["top20"]["pairs"] == everyone * 20
    for part in PARTS:
        assert sum(each["count"] for each in calibration[part]["all"]["bins"]) == calibration[part]["all"]["pairs"]


def test_chances_of_baselines_are_judged_by_what_the_model_is_judged_by(evaluation: Evaluation) -> None:
    report = evaluation.report

    assert set(report["calibration_of"]) == {"even"}
    for part in PARTS:
        own, other = report["calibration"][part], report["calibration_of"]["even"][part]
        assert other["all"]["brier"] == pytest.approx(0.25)
        assert other["all"]["log_loss"] == pytest.approx(np.log(2))
        assert {name: each["pairs"] for name, each in other.items()} == {
            name: each["pairs"] for name, each in own.items()
        }
        assert sum(each["happened"] * each["count"] for each in other["all"]["bins"]) == pytest.approx(
            sum(each["happened"] * each["count"] for each in own["all"]["bins"])
        )


def test_totals_add_up_what_the_predictor_answers_and_what_was_bought(
    predictor: Predictor, shop: Dataset, catalogue: Catalogue
) -> None:
    customers = list(shop.customers(shop.customer_ids[:6]))
    questions = ask(customers, catalogue, AS_OF, DAYS)
    asked = [Question(each, AS_OF, DAYS) for each in questions.everyone]

    found = totals(
        predictor.purchases(predictor.rates(asked), predictor.chances(asked), asked),
        questions.everyone,
        questions.horizon_baskets + questions.other_baskets,
        catalogue,
    )

    quantity, amount = np.zeros(len(catalogue)), np.zeros(len(catalogue))
    for demands in predictor.answer(asked, len(catalogue)):
        for demand in demands:
            quantity[demand.item] += demand.expected_quantity
            amount[demand.item] += demand.expected_amount
    assert found.expected_quantity == pytest.approx(quantity, rel=1e-5)
    assert found.expected_amount == pytest.approx(amount, rel=1e-5)
    lines = [
        (item, units, money)
        for customer in customers
        for order in customer.orders
        if AS_OF <= order.ts < AS_OF + DAYS * DAY
        for item, units, money in zip(order.items, order.quantities, order.amounts, strict=True)
    ]
    assert found.summary()["quantity"]["bought"] == sum(units for _, units, _ in lines)
    assert found.summary()["amount"]["bought"] == pytest.approx(sum(money for _, _, money in lines))
    first = catalogue.index[lines[0][0]]
    assert found.quantity[first] == sum(units for item, units, _ in lines if item == lines[0][0])


def test_the_chance_of_an_order_is_judged_by_everyone_with_a_history(evaluation: Evaluation, shop: Dataset) -> None:
    known = [each for each in shop.customers() if each.before(AS_OF).orders]
    ordered = [any(AS_OF <= order.ts < AS_OF + DAYS * DAY for order in each.orders) for each in known]

    orders = evaluation.report["orders"]

    assert (orders["customers"], orders["ordered"]) == (len(known), pytest.approx(np.mean(ordered)))
    assert orders["log_loss"] > 0
    assert ("auc" in orders) == (0 < sum(ordered) < len(known))


def test_two_methods_of_one_name_are_refused(predictor: Predictor, shop: Dataset, rankings: Path) -> None:
    asked = Cutoff(cutoff=AS_OF, days=DAYS)
    for name in ("model", "global-top"):
        with pytest.raises(SettingsError, match=f"{name}: another method already has this name"):
            evaluate(predictor, shop, asked, named("global-top")[0], [RankingFile.parse(f"{name}.next={rankings}")])


def test_a_model_is_not_asked_about_days_that_it_learned_from(predictor: Predictor, shop: Dataset) -> None:
    card = {"trained_before": iso(AS_OF - 28 * DAY), "validated_before": iso(AS_OF)}
    chosen = Predictor(replace(predictor.checkpoint, card=card))

    with pytest.raises(SettingsError, match="before 2024-06-01T00:00:00Z and so after 2024-05-31"):
        evaluate(chosen, shop, Cutoff(cutoff=AS_OF - DAY, days=DAYS))
    refitted = Predictor(replace(predictor.checkpoint, card={**card, "trained_before": iso(AS_OF)}))
    assert evaluate(refitted, shop, Cutoff(cutoff=AS_OF, days=DAYS)).report["cutoff"] == iso(AS_OF)


def test_a_period_without_customers_is_refused(predictor: Predictor, shop: Dataset) -> None:
    with pytest.raises(DataError, match="no customer has 3 orders before 2024-01-02"):
        evaluate(predictor, shop, Cutoff(cutoff=moment("2024-01-02"), days=DAYS))
