"""The protocol taiw from the command line: what is learned from, what is compared, what is refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from demand.dataset import Dataset
from demand.importing import import_dataset
from demand.packing import TYPES
from demand.protocols import TEST, Taiw
from demand.sources import SourceOptions, source
from modeling.predictor import Predictor
from tests.conftest import CUTOFF, write_shop
from tests.ray_app.commandline import demandcast, last_json
from tests.training.runs import plan
from training.run import Plan, prepare

pytestmark = pytest.mark.usefixtures("ray_cluster")
METRICS = {"precision@10", "recall@10", "ndcg@10"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def trained(home: Path, shop: Dataset) -> dict:
    """What a run printed that trained again once its epochs were chosen."""
    out, _ = demandcast(
        "train", "--data", shop.folder, "--preset", "tiny", "--protocol", "taiw", "--set", "training.refit=true",
        "--set", "model.calendar=true", "--json", home=home)  # fmt: skip
    return {**last_json(out), "out": out}


@pytest.mark.drill
def test_the_model_that_trained_again_is_compared_on_the_last_orders_with_what_was_published(
    home: Path, shop: Dataset, trained: dict, tmp_path: Path
) -> None:
    out, _ = demandcast(
        "evaluate", "--data", shop.folder, "--protocol", "taiw", "--baselines", "global-top,up-cf",
        "--report", tmp_path / "report.html", "--json", home=home)  # fmt: skip

    report = last_json(out)
    assert set(trained["metrics"]) == METRICS | {"loss"}
    assert "training again" in trained["out"]
    assert (report["protocol"], report["cutoff"], report["horizon_days"]) == ("taiw", None, None)
    assert report["customers"] == len(Taiw().of(shop).customer_ids)
    assert "horizon" not in report
    assert set(report["next_order"]) == {"model", "global-top", "up-cf"}
    assert set(report["next_order"]["model"]) == METRICS
    assert report["next_order"]["model"]["recall@10"] > report["next_order"]["global-top"]["recall@10"]
    assert report["published"]["TAIWI"] == {"precision@10": 0.0671, "recall@10": 0.1642, "ndcg@10": 0.1261}
    for shown in (out, (tmp_path / "report.html").read_text()):
        assert "published" in shown
        assert "0.1642" in shown


def test_its_card_says_what_it_saw_and_its_sales_figures_end_before_the_last_orders(
    home: Path, shop: Dataset, trained: dict
) -> None:
    shown = last_json(demandcast("models", "show", trained["model"], "--json", home=home)[0])

    assert shown["card"]["protocol"] == "taiw"
    assert shown["card"]["trained_before"] == shown["card"]["validated_before"] == "each customer's last order"
    taiw = Taiw()
    expected = taiw.catalogue(taiw.of(shop), TEST)
    assert Predictor.load(shown["checkpoint"]).catalogue.orders.tolist() == expected.orders.tolist()


def test_a_model_of_one_protocol_is_not_asked_by_another(home: Path, shop: Dataset, trained: dict) -> None:
    _, err = demandcast("evaluate", "--data", shop.folder, home=home, code=2)

    assert "learned by the protocol taiw" in err
    assert len(err.strip().splitlines()) == 1


def test_a_model_of_the_next_order_is_not_asked_about_days(
    home: Path, shop: Dataset, trained: dict, tmp_path: Path
) -> None:
    words = ("apply", "risk", "--data", shop.folder, "--as-of", CUTOFF, "--out", tmp_path / "x.parquet")
    _, err = demandcast(*words, home=home, code=2)

    assert err == "demandcast: this model learned of the next order alone: it can be asked about no number of days\n"


def with_absurd_ends(folder: Path, ago: int) -> Dataset:
    """The shop, with other items, quantities and amounts in the last orders of each customer, `ago` of them."""
    written = write_shop(folder / "csv")
    orders = pd.read_csv(written / "orders.csv")
    later = orders.groupby("customer_id")["ts"].rank("dense", ascending=False) <= ago
    orders.loc[later, "item_id"] = np.roll(orders.loc[later, "item_id"], 1)  # each item as often as before
    orders.loc[later, ["quantity", "amount"]] = 1_000_000
    orders.to_csv(written / "orders.csv", index=False)
    import_dataset("csv", source("csv", SourceOptions(path=written)), folder / "data")
    return Dataset.open(folder / "data")


@pytest.mark.parametrize(("until", "ago"), [("validation", 2), ("test", 1)])
def test_nothing_from_a_customers_boundary_on_is_learned_from(
    shop: Dataset, tmp_path: Path, until: str, ago: int
) -> None:
    found = []
    for data in (shop, with_absurd_ends(tmp_path, ago)):
        asked: Plan = plan(data, epochs=1).model_copy(update={"protocol": Taiw(), "until": until})
        prepared = prepare(asked)
        rows = [{name: list(row[name]) for name in TYPES} for row in prepared.training.take_all()]
        found.append((rows, prepared.job.items, prepared.job.vocabulary))

    assert len(found[0][0]) > 0
    assert found[0][0] == found[1][0]
    assert found[0][1].equals(found[1][1])
    assert found[0][2] == found[1][2]
