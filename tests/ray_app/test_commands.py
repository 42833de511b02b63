"""The command line as its users meet it: exit codes, last lines, and what is refused."""

import json
import re
import shutil
import signal
import time
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from demand.baselines import BASELINES
from demand.dataset import Dataset
from demand.importing import import_dataset
from demand.moments import DAY, iso, moment
from demand.sources import SourceOptions, source
from modeling.state import load_state
from tests.conftest import CUTOFF, write_shop
from tests.ray_app.commandline import demandcast, last_json, start

pytestmark = pytest.mark.usefixtures("ray_cluster")


def test_train_names_its_run_first_and_its_model_last(trained: dict) -> None:
    assert trained["out"].splitlines()[0] == f"run {trained['run']}"
    assert re.fullmatch(r"demand@\d+", trained["model"])
    assert 0 < trained["metrics"]["ndcg@10"] <= 1


def test_a_run_that_ended_is_not_registered_again(home: Path, trained: dict) -> None:
    again = last_json(demandcast("train", "--resume", trained["run"], "--json", home=home)[0])

    assert (again["model"], again["metrics"]) == (trained["model"], trained["metrics"])


def test_evaluate_compares_model_baselines_and_rankings(
    home: Path, shop: Dataset, trained: dict, tmp_path: Path
) -> None:
    demandcast("predict", "--data", shop.folder, "--as-of", CUTOFF, "--out", tmp_path / "own.parquet", home=home)
    out, _ = demandcast(
        "evaluate", "--data", shop.folder, "--model", "demand@champion", "--cutoff", CUTOFF, "--horizon-days", 14,
        "--baselines", "all", "--rankings", f"own.next={tmp_path / 'own.parquet'}",
        "--report", tmp_path / "report.html", "--json", home=home)  # fmt: skip

    report = last_json(out)
    assert report["model"] == trained["model"]
    assert set(report["horizon"]) == {"model", *BASELINES}
    assert set(report["next_order"]) == {"model", *BASELINES, "own"}
    for part in ("next_order", "horizon"):
        assert set(report[part]["model"]) == {"recall@10", "ndcg@10", "recall@20", "ndcg@20", "hit@10"}
    assert report["next_order"]["model"]["recall@10"] > report["next_order"]["global-top"]["recall@10"]
    assert report["next_order"]["own"] == report["next_order"]["model"]
    assert report["settings"]["tifu-knn"] in [dict(each) for each in BASELINES["tifu-knn"].grid]
    assert f"{report['next_order']['tifu-knn']['ndcg@10']:.4f}" in out
    assert "implicit-als" in (tmp_path / "report.html").read_text()
    assert max(len(line) for line in out.splitlines()[:-1]) <= 110


def test_an_audit_says_how_to_train_for_one(home: Path, shop: Dataset, trained: dict) -> None:
    _, err = demandcast("privacy", "audit", "demand@champion", "--data", shop.folder, home=home, code=2)

    assert "learned from 40 of 40 customers" in err
    assert "--customers 20" in err


def test_a_model_of_other_data_is_not_asked(home: Path, trained: dict, tmp_path: Path) -> None:
    folder = write_shop(tmp_path / "csv", customers=5)
    for file in folder.iterdir():
        file.write_text(file.read_text().replace("item ", "film ").replace("Item ", "Film "))
    films = tmp_path / "films"
    import_dataset("csv", source("csv", SourceOptions(path=folder)), films)

    for words in (("predict", "--as-of", CUTOFF, "--out", tmp_path / "x.parquet"), ("evaluate",)):
        _, err = demandcast(*words, "--data", films, home=home, code=2)
        assert (
            err == f"demandcast: {trained['model']} knows no item of {films}: name a model of this data with --model\n"
        )


def test_absurd_orders_from_as_of_on_change_no_prediction(home: Path, trained: dict, tmp_path: Path) -> None:
    folder = write_shop(tmp_path / "csv")
    import_dataset("csv", source("csv", SourceOptions(path=folder)), tmp_path / "data")
    as_of = moment(CUTOFF)
    absurd = [f"c{n:03},absurd{n},{iso(as_of + n * DAY)},item f4,1000000,1e9,nowhere\n" for n in range(30)]
    with (folder / "orders.csv").open("a") as orders:
        orders.writelines(absurd)
    import_dataset("csv", source("csv", SourceOptions(path=folder)), tmp_path / "absurd")

    for name in ("data", "absurd"):
        demandcast(
            "predict", "--data", tmp_path / name, "--as-of", CUTOFF, "--top-k", 5,
            "--out", tmp_path / f"{name}.parquet", home=home,
        )  # fmt: skip

    table = pq.read_table(tmp_path / "data.parquet")
    columns = ["customer_id", "rank", "item_id", "probability", "expected_quantity", "expected_amount"]
    assert table.column_names == columns
    assert table.num_rows == 40 * 5
    assert table.equals(pq.read_table(tmp_path / "absurd.parquet"))


def test_each_use_is_applied_to_all_customers(home: Path, shop: Dataset, trained: dict, tmp_path: Path) -> None:
    sold = shop.table("orders", ["item_id"])["item_id"].to_pandas()
    in_stock = sold[sold.str[5].isin([*"abc"])].value_counts().index  # first after the mark what most customers want
    stock = tmp_path / "stock.txt"
    stock.write_text("\ufeff" + "\r\n".join(f"{item} " for item in in_stock))
    words = ("--data", shop.folder, "--as-of", CUTOFF, "--json")

    def applied(use: str, *more: object) -> tuple[dict, pd.DataFrame]:
        out, _ = demandcast("apply", use, *words, "--out", tmp_path / f"{use}.parquet", *more, home=home)
        return last_json(out), pd.read_parquet(tmp_path / f"{use}.parquet")

    said, lists = applied("recommend", "--size", 4, "--in-stock", stock, "--explore", 0.5)
    assert said["customers"] == 40
    assert lists.groupby("customer_id").size().eq(4).all()
    assert in_stock[0] in set(lists["item_id"]) <= set(in_stock)
    assert (lists.groupby("customer_id")["new"].sum() >= 2).all()

    said, members = applied("audience", "--item", "item a0", "--size", 12)
    assert said["customers"] == len(members) == 12
    assert members["probability"].is_monotonic_decreasing
    assert said["expected_response"] == pytest.approx(members["probability"].sum())

    said, risks = applied("risk", "--horizon-days", 14)
    assert said["customers"] == len(risks) == 40
    assert risks["probability"].between(0, 1).all()
    assert (risks["days_since_order"] > 0).all()

    said, items = applied("forecast", "--horizon-days", 14)
    assert said["expected_quantity"] == pytest.approx(items["expected_quantity"].sum())
    assert (items["low_95"] <= items["low_50"]).all()
    assert (items["high_50"] <= items["high_95"]).all()
    assert items[["store", "week"]].isna().all(axis=None)
    _, parts = applied("forecast", "--horizon-days", 14, "--by", "all", "--stores", "--weeks")
    assert parts[["week", "store"]].values.tolist() == [[1, "north"], [1, "south"], [2, "north"], [2, "south"]]
    assert parts["expected_quantity"].sum() == pytest.approx(said["expected_quantity"])
    assert (parts["expected_quantity"] > 0).all()

    said, buyers = applied("new-product", "--name", "Item A0 Fresh", "--price", 3.0)
    assert len(buyers) == 40
    assert buyers["probability"].is_monotonic_decreasing
    assert said["expected_amount"] == pytest.approx(3 * said["expected_quantity"])
    assert next(iter(said["taken"])) == "item a0"


def test_what_cannot_be_applied_is_refused(home: Path, shop: Dataset, trained: dict, tmp_path: Path) -> None:
    words = ("--data", shop.folder, "--as-of", CUTOFF, "--out", tmp_path / "x.parquet")

    _, said = demandcast("apply", "forecast", *words, "--by", "colour", home=home, code=2)
    assert "by 'colour': choose one of item, category" in said
    _, said = demandcast("apply", "audience", *words, "--item", "item a0", "--size", 3, home=home, code=2)
    assert "10 are the fewest" in said
    _, said = demandcast("apply", "recommend", *words, "--in-stock", tmp_path / "none.txt", home=home, code=2)
    assert "none.txt is not a readable text file" in said
    (tmp_path / "others.txt").write_text("no item\n")
    _, said = demandcast("apply", "recommend", *words, "--in-stock", tmp_path / "others.txt", home=home, code=2)
    assert "others.txt names no item of the model's catalogue" in said
    _, said = demandcast("apply", "recommend", *words, "--by", "colour", home=home, code=2)
    assert "colour" in said
    _, said = demandcast("apply", "audience", *words, "--category", "x", home=home, code=2)
    assert "the model knows no item of the category 'x'" in said
    _, said = demandcast("apply", "new-product", *words, "--name", "x", "--price", -1, home=home, code=2)
    assert "--price: input should be greater than 0" in said
    assert not (tmp_path / "x.parquet").exists()


@pytest.mark.drill
def test_an_interrupted_run_is_resumed_and_its_loss_curve_joins_up(
    home: Path, training: tuple[object, ...], trained: dict
) -> None:
    process = start(*training, home=home)
    assert process.stdout is not None
    run = process.stdout.readline().split()[1]
    folder = home / "runs" / run
    deadline = time.monotonic() + 120
    while not any(folder.glob("checkpoint_*/manifest-0-of-1.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1, out + err
    assert f"--resume {run}" in out

    demandcast("train", "--resume", run, "--json", home=home)

    def curve(name: str) -> list[float]:
        last = max((home / "runs" / name).glob("checkpoint_*/"), key=lambda each: each.name)
        return load_state(last, "plain")["extra"]["losses"]

    assert curve(run) == pytest.approx(curve(trained["run"]), abs=1e-5)


def test_models_are_listed_promoted_rolled_back_exported_and_imported(
    home: Path, trained: dict, tmp_path: Path
) -> None:
    demandcast("models", "export", trained["model"], "--format", "hf", "--out", tmp_path / "hf", home=home)
    assert (tmp_path / "hf" / "model.safetensors").is_file()
    shown = last_json(demandcast("models", "show", "demand@champion", "--json", home=home)[0])

    imported = last_json(
        demandcast("models", "import", shown["checkpoint"], "--name", "demand", "--json", home=home)[0]
    )
    demandcast("models", "promote", imported["model"], home=home)
    listed = last_json(demandcast("models", "list", "--json", home=home)[0])["models"]
    back = last_json(demandcast("models", "rollback", "demand", "--json", home=home)[0])

    assert "champion" in next(each for each in listed if each["model"] == imported["model"])["aliases"]
    assert back["model"] == trained["model"]


def test_a_pretrained_model_is_imported_fine_tuned_and_answers(
    home: Path, shop: Dataset, trained: dict, tmp_path: Path
) -> None:
    demandcast("models", "export", trained["model"], "--format", "hf", "--out", tmp_path / "hf", home=home)
    base = last_json(demandcast("models", "import", tmp_path / "hf", "--name", "base", "--json", home=home)[0])["model"]
    assert base == "base@1"
    _, err = demandcast("evaluate", "--data", shop.folder, "--model", base, home=home, code=2)
    assert "knows no catalogue yet" in err

    arguments = ("--preset", "tiny", "--cutoff", CUTOFF, "--name", "tuned", "--set", "prompt=names")
    out, _ = demandcast("train", "--data", shop.folder, *arguments, "--set", "base=base", "--json", home=home)

    tuned = last_json(out)
    assert tuned["model"] == "tuned@1"
    card = last_json(demandcast("models", "show", "tuned", "--json", home=home)[0])["card"]
    assert (card["settings"]["base"], card["settings"]["model"]["family"]) == ("base@1", "gpt_neox")
    assert tuned["metrics"]["ndcg@10"] > 0.4
    private = ("--set", "privacy.epsilon=8", "--set", "base=tuned")
    _, err = demandcast("train", "--data", shop.folder, *arguments, *private, home=home, code=2)
    assert "what tuned@1 has learned of customers" in err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("train", "--data", "nowhere"), "nowhere is not a dataset folder"),
        (("train", "--data", "{shop}", "--preset", "huge"), "no preset 'huge'"),
        (("train", "--data", "{shop}", "--set", "training.epocks=3"), "no setting 'training.epocks'"),
        (("train", "--data", "{shop}", "--cutoff", "soon"), "'soon' is not a date"),
        (("train",), "give --data"),
        (("train", "--data", "{shop}", "--device", "h100"), "--device for --dry-run only"),
        (
            ("train", "--data", "{shop}", "--preset", "smollm2-135m"),
            "demandcast models import HuggingFaceTB/SmolLM2-135M --name smollm2",
        ),
        (("train", "--resume", "nothing"), "nothing to resume called 'nothing'"),
        (
            ("train", "--resume", "x", "--set", "a=1", "--workers", "2"),
            "--workers, --set: what is resumed goes on as it",
        ),
        (("tune", "--resume", "x", "--trials", "40"), "--trials: what is resumed goes on as it began"),
        (("tune", "--data", "{shop}", "--prompt-format", "haiku"), "no prompt format 'haiku'"),
        (("tune", "--data", "{shop}", "--lr", "0.01", "0.001"), "0.01 to 0.001 is no range: the lower first"),
        (("tune", "--data", "{shop}", "--search", "best"), "--search best: input should be 'tpe', 'random' or 'grid'"),
        (("tune", "--data", "{shop}", "--search", "grid"), "training.learning_rate: 0.0003 to 0.01 has no end"),
        (("tune", "--data", "{shop}", "--objective", "joy"), "no objective 'joy'"),
        (("tune", "--data", "{shop}", "--vary", "training.speed=[1]"), "no setting 'training.speed'"),
        (("tune", "--data", "{shop}", "--space", "{shop}/missing.yaml"), "missing.yaml"),
        (("tune", "--data", "{shop}", "--warm-start", "last"), "no finished sweep called 'last': known are none"),
        (("watch", "--data", "{shop}", "--limit", "mood=1:2"), "no signal 'mood': choose one of categories"),
        (("watch", "--data", "{shop}", "--as-of", "2030-01-01"), "no order from 2029-12-04 to 2030-01-01"),
        (("evaluate", "--data", "{shop}", "--model", "demand@99"), "no model 'demand@99'"),
        (("evaluate", "--data", "{shop}", "--model", "other"), "no model 'other@champion'"),
        (("evaluate", "--data", "{shop}", "--baselines", "magic"), "no baseline 'magic'"),
        (("evaluate", "--data", "{shop}", "--rankings", "peer"), "write NAME=FILE"),
        (
            ("evaluate", "--data", "{shop}", "--cutoff", CUTOFF, "--rankings", "peer={shop}/items.parquet"),
            "items.parquet: column 'cust",
        ),
        (("evaluate", "--data", "{shop}", "--cutoff", "2024-05-31"), "--cutoff 2024-06-01T00:00:00Z, or train one"),
        (("evaluate", "--data", "{shop}", "--report", "{shop}"), "is a folder"),
        (("predict", "--customer", "{shop}/missing.json"), "missing.json"),
        (("predict", "--customer", "{shop}/manifest.json"), "customer.source: Extra inputs are not permitted"),
        (("predict",), "give --customer"),
        (("predict", "--data", "{shop}", "--explain"), "--explain goes with --customer"),
        (
            ("predict", "--data", "{shop}", "--as-of", CUTOFF, "--out", "{shop}"),
            "--out {shop} is a folder: name a file",
        ),
        (("apply", "risk", "--data", "{shop}", "--as-of", CUTOFF, "--out", "{shop}"), "is a folder: name a file"),
        (("predict", "--customer", "c.json", "--model", "demand@2"), "--model and --out go with --data"),
        (("data", "import", "sap", "--out", "x"), "no source 'sap'"),
        (("models", "import", "{shop}"), "is missing"),
        (("models", "promote", "demand@champion", "--alias", "king"), "no alias 'king'"),
        (("data", "import", "csv", "--path", "{shop}", "--events", "e.db", "--out", "x"), "--events is not for csv"),
        (("serve", "--model", "nobody"), "no model"),
        (("serve", "--port", "9000", "status"), "--port: these start an endpoint, and 'status' asks one that runs"),
        (("serve", "status", "--url", "http://127.0.0.1:9"), "no status from"),
        (("predict", "--as-of"), "--as-of"),
        (("fly",), "fly"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(
    home: Path, trained: dict, shop: Dataset, arguments: tuple[str, ...], named: str
) -> None:
    _, err = demandcast(*(argument.replace("{shop}", str(shop.folder)) for argument in arguments), home=home, code=2)

    assert named.replace("{shop}", str(shop.folder)) in err
    assert len(err.strip().splitlines()) == 1


def test_a_run_goes_on_with_the_data_that_it_began_with_alone(home: Path, trained: dict, shop: Dataset) -> None:
    plan = json.loads((home / "runs" / f"{trained['run']}.json").read_text())
    (home / "runs" / "before.json").write_text(json.dumps({**plan, "content_hash": "of other rows"}))

    _, err = demandcast("train", "--resume", "before", home=home, code=2)

    assert err == f"demandcast: {shop.folder} has changed since the run began: begin another one\n"


def test_a_sweep_that_another_version_began_is_not_gone_on_with(home: Path) -> None:
    (home / "sweeps").mkdir(parents=True, exist_ok=True)
    (home / "sweeps" / "sweep-old.json").write_text('{"trials": 4, "rates": [0.001, 0.01]}')

    _, err = demandcast("tune", "--resume", "sweep-old", home=home, code=2)

    assert err == "demandcast: sweep-old was begun by another version of demandcast, which alone can go on with it\n"


def test_a_checkpoint_with_a_flipped_byte_is_neither_promoted_nor_served(
    home: Path, trained: dict, tmp_path: Path
) -> None:
    shown = last_json(demandcast("models", "show", trained["model"], "--json", home=home)[0])
    shutil.copytree(shown["checkpoint"], tmp_path / "copy")
    imported = last_json(demandcast("models", "import", tmp_path / "copy", "--name", "flipped", "--json", home=home)[0])
    folder = last_json(demandcast("models", "show", imported["model"], "--json", home=home)[0])["checkpoint"]
    weights = Path(folder) / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)

    for words in (("models", "promote", imported["model"]), ("serve", "--model", imported["model"])):
        _, err = demandcast(*words, home=home, code=2)
        assert "model.safetensors is damaged" in err


def test_a_watched_champion_learns_on_and_is_challenged(
    home: Path, shop: Dataset, trained: dict, tmp_path: Path
) -> None:
    short = [word for name in ("epochs=1", "refit=false") for word in ("--set", f"training.{name}")]
    words = ("watch", "--data", shop.folder, "--model", trained["model"], "--days", 7, *short, "--json")
    steady = last_json(demandcast(*words, "--no-retrain", home=home)[0])

    out, _ = demandcast(*words, "--force", "--report", tmp_path / "watch.html", home=home)

    found = last_json(out)
    assert {each["name"] for each in steady["signals"]} >= {"categories", "gaps", "ndcg@10", "purchases"}
    assert steady["challenger"] is None
    assert found["signals"] == steady["signals"]
    assert found["outcome"] in ("dropped", "canary")
    card = last_json(demandcast("models", "show", found["challenger"], "--json", home=home)[0])["card"]
    assert card["settings"]["base"] == trained["model"]
    assert (card["trained_before"], card["validated_before"]) == ("2024-05-11T00:00:00Z", "2024-06-08T00:00:00Z")
    lead = found["duel"]["differences"]["next_order"]["champion"]["ndcg@10"]
    assert abs(lead["mean"]) < 0.1  # what was learned before is still known
    assert "Challenger against champion" in (tmp_path / "watch.html").read_text()
    again = last_json(demandcast(*words, "--force", home=home)[0])
    assert again["challenger"] == found["challenger"]
