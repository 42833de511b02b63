"""What a pass of `watch` decides. Training and evaluation, which take minutes, are told what came of them."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from sqlalchemy.engine import URL

from demand.dataset import Dataset
from demand.events.log import EventLog, log_url
from demand.events.model import Feedback
from demand.formats import prompt_format
from demand.moments import DAY, iso, moment
from demand.stability import Signal
from modeling.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from modeling.megatron.model import DemandModel, initialize_from_catalogue
from modeling.megatron.shards import whole_weights
from modeling.parallel import initialize
from modeling.registry import CHALLENGER, CHAMPION, ModelVersion, Registry
from modeling.settings import ModelSettings
from ray_app import watch
from ray_app.commands.serve import chosen
from ray_app.home import Home
from ray_app.presets import load_settings
from ray_app.reports.watch import watch_page
from ray_app.watch import Asked, Canary, Watch
from tests.conftest import CUTOFF

SETTINGS = ModelSettings(layers=1, hidden=16, heads=2, ffn=16, habit_width=8)
AS_OF = moment(CUTOFF) + 14 * DAY
LEARNED = AS_OF - 42 * DAY
ACT, STEADY = Signal("gaps", "", 1.0), Signal("gaps", "", 0.0)
WINS, LOSES = {"mean": 0.02, "low": 0.01, "high": 0.03}, {"mean": 0.02, "low": -0.01, "high": 0.05}


@pytest.fixture
def home(tmp_path: Path, shop: Dataset, catalogue: Any, vocabulary: Any, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A state folder whose champion has learned nothing."""
    monkeypatch.setenv("DEMANDCAST_HOME", str(tmp_path))
    initialize(0)
    model = DemandModel(SETTINGS, len(vocabulary), len(catalogue), catalogue=catalogue)
    initialize_from_catalogue(model, vocabulary, catalogue)
    settings = load_settings("tiny").model_copy(update={"model": SETTINGS}).model_dump(mode="json")
    learned = {"trained_before": iso(LEARNED), "validated_before": iso(LEARNED)}
    card = {**learned, "settings": settings, "validation": {"ndcg@10": 0.4}}
    made = Checkpoint(SETTINGS, prompt_format("compact"), vocabulary, catalogue, whole_weights(model), card=card)
    save_checkpoint(made, tmp_path / "models" / "first")
    home = Home.here()
    Registry(home.folder).register("demand", tmp_path / "models" / "first", None, {})
    return home


class Told:
    """What the minutes of a pass come to, and how often they were spent."""

    def __init__(self, signal: Signal = ACT, lead: dict[str, float] = WINS) -> None:
        self.signal, self.lead = signal, lead
        self.compared = self.trained = self.dueled = 0

    def incoming(self, *_: object) -> list[Signal]:
        self.compared += 1
        return [self.signal]

    def train(self, plan: Any, run: str, home: Home, _: object) -> tuple[ModelVersion, dict]:
        self.trained += 1
        self.plan = plan
        return Registry(home.folder).register(plan.name, home.models / run, None, {}), {}

    def evaluate(self, predictor: Any, dataset: Dataset, protocol: Any, against: Any = ()) -> Any:
        self.dueled += bool(against)
        metrics = dict.fromkeys(("ndcg@10", "recall@20"), 0.4)
        ends = {key: [0.3, 0.5] for key in metrics}
        calibration = {"all": {"bins": [{"predicted": 0.1, "happened": 0.1, "count": 9}]}, "top20": {"ece": 0.0}}
        report = {"horizon_days": 28, "customers": 40, "cutoff": iso(protocol.cutoff), "intervals": {}}
        report |= {"calibration": {}, "differences": {}}
        for part in ("next_order", "horizon"):
            report |= {part: {"model": metrics, "champion": metrics}}
            report["intervals"][part] = {"model": ends}
            report["calibration"][part] = calibration
            report["differences"][part] = {"champion": dict.fromkeys(metrics, self.lead)}
        return mock.Mock(report=report)


def passed(shop: Dataset, told: Told, as_of: int = AS_OF, **more: Any) -> dict[str, Any]:
    """One pass, as the command makes it."""
    with (
        mock.patch.object(watch, "incoming", told.incoming),
        mock.patch.object(watch, "evaluate", told.evaluate),
        mock.patch.object(watch, "rival"),
        mock.patch.object(watch, "check_golden_requests") as golden,
        mock.patch("ray_app.jobs._train", told.train),
        mock.patch.object(watch.Predictor, "load", side_effect=watch.Predictor.load) as load,
    ):
        known = load.side_effect
        load.side_effect = lambda folder: known(folder) if "first" in str(folder) else mock.Mock()
        found = Watch(Asked(shop.folder, "demand@champion", as_of, **more)).run()
    json.dumps(found)
    assert golden.called == (found["outcome"] == "promoted")
    assert "<h1" in watch_page(found).html()
    return found


def champion(home: Home) -> str:
    return str(Registry(home.folder).resolve("demand"))


def test_nothing_is_done_where_little_has_changed(home: Home, shop: Dataset) -> None:
    told = Told(STEADY)

    assert passed(shop, told)["outcome"] == "steady"
    assert passed(shop, Told(ACT), retrain=False)["outcome"] == "steady"  # what was compared is not compared again
    assert (told.compared, told.trained) == (1, 0)


def test_a_challenger_that_wins_is_tried_and_then_promoted(home: Home, shop: Dataset) -> None:
    told = Told()

    first = passed(shop, told, share=0.25)
    registry = Registry(home.folder)
    served = chosen(registry, "demand", None)

    assert (first["outcome"], champion(home)) == ("canary", "demand@1")
    assert (str(served.challenger), served.share) == (first["challenger"], 0.25)
    assert chosen(registry, "demand", 0.5).share == 0.5  # an endpoint that is told a share keeps to it
    assert chosen(registry, "demand", 0.0).challenger is None
    assert told.plan.settings.base == "demand@1"
    assert told.plan.protocol.cutoff == AS_OF - 28 * DAY  # the newest window is left for the duel
    assert told.plan.since == told.plan.protocol.cutoff - 56 * DAY
    assert told.plan.settings.training.learning_rate == pytest.approx(0.3 * 3e-3)
    assert passed(shop, told, AS_OF + 6 * DAY)["outcome"] == "canary"

    last = passed(shop, told, AS_OF + 7 * DAY)

    assert (last["outcome"], champion(home), told.trained) == ("promoted", first["challenger"], 1)
    assert "no feedback" in last["why"]
    assert chosen(registry, "demand", None).challenger is None
    assert str(registry.rollback("demand")) == "demand@1"


def test_a_model_that_learned_on_before_keeps_its_learning_rate(home: Home, shop: Dataset) -> None:
    changed(home, trained_since=iso(LEARNED))
    told = Told()

    passed(shop, told)

    assert told.plan.settings.training.learning_rate == 3e-3


def test_a_private_champion_does_not_learn_on(home: Home, shop: Dataset) -> None:
    changed(home, privacy={"epsilon": 8.0})
    told = Told()

    found = passed(shop, told, force=True)

    assert (found["outcome"], told.trained) == ("not retrained", 0)
    assert "promises differential privacy" in found["why"]


def test_a_pass_that_was_killed_when_it_had_promoted_leaves_no_challenger(home: Home, shop: Dataset) -> None:
    Registry(home.folder).challenge("demand@1", 0.25)
    home.watch.mkdir()
    (home.watch / "demand-canary.json").write_text(json.dumps(asdict(Canary("demand@0", "demand@1", iso(AS_OF)))))

    passed(shop, Told(STEADY))

    assert Registry(home.folder).resolve("demand").aliases == (CHAMPION,)


def changed(home: Home, **card: Any) -> None:
    """The champion's card says something else."""
    kept = load_checkpoint(home.models / "first")
    save_checkpoint(replace(kept, card={**kept.card, **card}), home.models / "first")


def test_a_challenger_whose_lead_may_be_chance_is_dropped(home: Home, shop: Dataset) -> None:
    found = passed(shop, Told(lead=LOSES))

    assert (found["outcome"], champion(home)) == ("dropped", "demand@1")
    assert "+0.0200 (-0.0100 to +0.0500)" in found["why"]
    assert CHALLENGER not in Registry(home.folder).resolve(found["challenger"]).aliases


def test_without_a_share_a_winner_is_promoted_at_once(home: Home, shop: Dataset) -> None:
    found = passed(shop, Told(STEADY), share=0, force=True)

    assert (found["outcome"], champion(home)) == ("promoted", found["challenger"])


def test_a_champion_that_knows_the_days_before_the_window_has_nothing_to_learn(home: Home, shop: Dataset) -> None:
    found = passed(shop, Told(), AS_OF - 14 * DAY)

    assert (found["outcome"], found["evaluation"] is None) == ("too early", False)
    assert passed(shop, Told(), AS_OF - 20 * DAY)["evaluation"] is None  # some of the window was chosen by


@pytest.mark.parametrize("killed", ["train", "evaluate", "challenge"])
def test_a_killed_pass_goes_on_where_it_was(home: Home, shop: Dataset, killed: str) -> None:
    told = Told()
    kept = {"train": told.train, "evaluate": told.evaluate, "challenge": Registry.challenge}[killed]

    def die(*arguments: Any) -> Any:
        if killed == "evaluate" and len(arguments) < 4:
            return kept(*arguments)
        if killed in ("train", "challenge"):
            kept(*arguments)  # killed before it could say that it had done it
        raise KeyboardInterrupt

    if killed == "challenge":
        with mock.patch.object(Registry, "challenge", die), pytest.raises(KeyboardInterrupt):
            passed(shop, told)
    else:
        setattr(told, killed, die)
        with pytest.raises(KeyboardInterrupt):
            passed(shop, told)
        setattr(told, killed, kept)

    found = passed(shop, told)

    assert (found["outcome"], found["challenger"]) == ("canary", "demand@2")
    assert (told.compared, told.trained, told.dueled) == (1, 1, 1)
    assert len(Registry(home.folder).versions()) == 2


@pytest.mark.parametrize(("bought", "outcome"), [(1, "dropped"), (3, "promoted")])
def test_conversion_during_its_trial_decides_about_a_challenger(
    home: Home, shop: Dataset, tmp_path: Path, bought: int, outcome: str
) -> None:
    log = log_url(str(tmp_path / "events.db"))
    passed(shop, Told(), events=log)
    feedback(log, 1, bought=2)
    feedback(log, 2, bought=bought)

    found = passed(shop, Told(), AS_OF + 7 * DAY, events=log)

    assert found["outcome"] == outcome
    assert champion(home) == ("demand@2" if outcome == "promoted" else "demand@1")
    assert "conversion" in found["why"]


def test_conversion_is_a_signal_where_answers_were_told_of(home: Home, shop: Dataset, tmp_path: Path) -> None:
    log = log_url(str(tmp_path / "events.db"))
    feedback(log, 7, bought=4, ts=AS_OF - 40 * DAY)
    feedback(log, 1, bought=2, ts=AS_OF - 4 * DAY)

    (signal,) = [
        each
        for each in passed(shop, Told(STEADY), events=log, retrain=False)["signals"]
        if each["name"] == "conversion"
    ]

    assert signal["value"] == pytest.approx(0.5)
    assert signal["verdict"] == "act"


def test_a_trial_that_somebody_ended_is_forgotten(home: Home, shop: Dataset) -> None:
    passed(shop, Told())
    Registry(home.folder).drop("demand")

    assert passed(shop, Told(STEADY), AS_OF + 7 * DAY)["outcome"] == "steady"
    assert not (home.watch / "demand-canary.json").exists()


def feedback(log: URL, version: int, bought: int, ts: int = AS_OF + DAY) -> None:
    """Of 60 customers, who bought so many of five items that they were shown."""
    shown = list("abcde")
    told = [
        Feedback(f"{version}-{ts}-{n}", f"c{version}-{n}", "demand", version, ts, shown, shown[:bought])
        for n in range(60)
    ]
    EventLog(log).append(told)
