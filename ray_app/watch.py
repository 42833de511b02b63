"""One pass of `demandcast watch`: compare, and where too much has changed, learn on, duel, try, promote."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL

from demand.comparison import Estimate
from demand.conversion import Conversion, conversion_lead, conversions
from demand.dataset import Dataset
from demand.errors import ModelNotFoundError, SettingsError
from demand.events.log import EventLog
from demand.locations import Location, location, write_text
from demand.moments import DAY, iso, moment
from demand.protocols import TEST, Cutoff
from demand.protocols.cutoff import VALIDATION_DAYS
from demand.questions import NEXT
from demand.stability import Limits, Signal, within
from modeling.golden import check_golden_requests
from modeling.predictor import Predictor
from modeling.registry import CHALLENGER, CHAMPION, ModelVersion, Registry
from ray_app import jobs
from ray_app.fine_tuning import fine_tuning
from ray_app.home import Home
from ray_app.output import console, say
from ray_app.steps import Steps
from training.drift import converted, incoming, quality, together, validated_before, wins
from training.evaluation import check_protocol, evaluate
from training.rival import rival


@dataclass(frozen=True)
class Asked:
    """What a pass is told.

    Attributes:
        as_of: moment of the pass; nothing from it on is read.
        days: length of the newest window, which is compared with training, and which nobody in a duel has seen.
        share: of the customers, whom a challenger that won its duel answers before it is promoted; 0 promotes it now.
        canary_days: for how long at least.
        retrain: whether anything is done about what was found; `force`: also where little has changed.
        assignments: settings of the fine-tuning.
        events: where the log of events is.
    """

    data: Location
    model: str
    as_of: int
    days: int = VALIDATION_DAYS
    share: float = 0.1
    canary_days: int = 7
    retrain: bool = True
    force: bool = False
    limits: Mapping[str, Limits] = field(default_factory=dict)
    assignments: Sequence[str] = ()
    customers: int | None = None
    workers: int = 1
    events: URL | None = None

    @property
    def start(self) -> int:
        """Of the newest window."""
        return self.as_of - self.days * DAY


@dataclass(frozen=True)
class Canary:
    """A challenger that answers some of the customers; texts, for it lies in the state folder as JSON."""

    champion: str
    challenger: str
    since: str


class Watch:
    """A pass about one model. Steps leave their results under watch/ of the state folder."""

    def __init__(self, asked: Asked) -> None:
        """Raises ModelNotFoundError, CheckpointError, DataError; SettingsError where the model learned by another
        protocol, or not from a dataset."""
        self.asked, self.home = asked, Home.here()
        self.registry = Registry(self.home.folder)
        self.champion = self.registry.resolve(asked.model)
        self.dataset = Dataset.open(asked.data)
        self.predictor = Predictor.load(self.champion.checkpoint)
        self.protocol = Cutoff(cutoff=asked.start, days=asked.days)
        check_protocol(self.predictor, self.protocol)
        if "trained_before" not in self.predictor.checkpoint.card:
            raise SettingsError(f"{self.champion} does not tell what it learned from: watch one that 'train' made")
        date = iso(asked.as_of)[:10]
        self.steps = Steps(
            self.home.watch, f"{self.dataset.content_hash}\n{self.champion}\n{asked.as_of}\n{asked.days}"
        )
        self.name = f"{self.champion.name}-{date}"

    def run(self) -> dict[str, Any]:
        """The pass; returns what `watch --json` prints."""
        signals, report = self._compared()
        verdicts = [each.verdict for each in signals]
        found: dict[str, Any] = {
            "model": str(self.champion),
            "as_of": iso(self.asked.as_of),
            "window": [iso(self.asked.start), iso(self.asked.as_of)],
            "signals": [{**asdict(each), "verdict": each.verdict} for each in signals],
            "evaluation": report,
            "challenger": None,
            "duel": None,
        }
        if canary := self._canary():
            return {**found, "challenger": canary.challenger, **self._judged(canary)}
        if "act" not in verdicts and not self.asked.force:
            return {**found, "outcome": "steady", "why": "no signal is past its limit"}
        if not self.asked.retrain:
            return {**found, "outcome": "not retrained", "why": "--no-retrain"}
        card = self.predictor.checkpoint.card
        if card.get("privacy"):
            why = f"{self.champion} promises differential privacy, which learning on would break: train another anew"
            return {**found, "outcome": "not retrained", "why": why}
        if validated_before(card) >= self.asked.start:
            first = iso(validated_before(card) + (self.asked.days + 1) * DAY)[:10]
            return {
                **found,
                "outcome": "too early",
                "why": f"{self.champion} knows all before the newest window; from {first} on",
            }
        challenger = self._trained()
        duel = self._duel(challenger)
        return {**found, "challenger": str(challenger), "duel": duel, **self._after(challenger, duel)}

    def _compared(self) -> tuple[list[Signal], dict[str, Any] | None]:
        def work() -> dict[str, Any]:
            with console.status(f"comparing {self.asked.days} days with what {self.champion} learned from"):
                signals = incoming(self.predictor, self.dataset, self.asked.as_of, self.asked.days)
                report = None
                if validated_before(self.predictor.checkpoint.card) <= self.asked.start:
                    report = evaluate(self.predictor, self.dataset, self.protocol).report
                    signals += quality(report, self.predictor.checkpoint.card)
            return {"signals": [asdict(each) for each in signals], "evaluation": report}

        found = self.steps.once("compare", "", work)
        signals = [Signal(**{**each, "limits": Limits(**each["limits"])}) for each in found["signals"]]
        return within([*signals, *self._conversion()], self.asked.limits), found["evaluation"]

    def _conversion(self) -> list[Signal]:
        mine = self._conversions(self.asked.start, self.asked.as_of).get((self.champion.name, self.champion.version))
        before = together(self._conversions(0, self.asked.start).values())
        return [converted(mine, before)] if mine and mine.shown.sum() and before.bought.sum() else []

    def _conversions(self, since: int, before: int) -> dict[tuple[str, int], Conversion]:
        url = self.asked.events
        if not url or (url.get_backend_name() == "sqlite" and not Path(url.database or "").exists()):
            return {}
        return conversions(EventLog(url).feedback(since, before))

    def _trained(self) -> ModelVersion:
        asked = self.asked
        options = asked.assignments, asked.customers, asked.workers
        plan = fine_tuning(self.champion, asked.data, iso(asked.start), self.home, *options)
        inputs = plan.model_dump_json()
        run = f"watch-{self.name}-{self.steps.key(inputs)[:8]}"  # the same in each pass, which goes on with it
        say(f"run {run}: {self.champion} learns on until {iso(asked.start)[:10]}")

        def work() -> str:
            return str(jobs.train(plan, run, self.home, console)[0])

        return self.registry.resolve(self.steps.once("train", inputs, work))

    def _duel(self, challenger: ModelVersion) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            with console.status(f"{challenger} against {self.champion} from {iso(self.asked.start)[:10]}"):
                self.predictor.read_sales(self.protocol.lines(self.dataset, TEST))
                against = [rival(CHAMPION, self.predictor)]
                return evaluate(
                    Predictor.load(location(challenger.checkpoint)), self.dataset, self.protocol, against
                ).report

        report: dict[str, Any] = self.steps.once("duel", str(challenger), work)
        return report

    def _after(self, challenger: ModelVersion, duel: Mapping[str, Any]) -> dict[str, str]:
        lead = duel["differences"][NEXT][CHAMPION]["ndcg@10"]
        by = f"nDCG@10 {lead['mean']:+.4f} ({lead['low']:+.4f} to {lead['high']:+.4f}) on the newest days"
        if not wins(duel, CHAMPION):
            return {"outcome": "dropped", "why": f"{challenger} does not win: {by}"}
        if not self.asked.share:
            self._promote(challenger)
            return {"outcome": "promoted", "why": f"{challenger} wins: {by}"}
        self.registry.challenge(str(challenger), self.asked.share)
        canary = Canary(str(self.champion), str(challenger), iso(self.asked.as_of))
        write_text(self._canary_file, json.dumps(asdict(canary)))
        return {
            "outcome": "canary",
            "why": f"{challenger} wins: {by}; it answers {self.asked.share:.0%} of the customers",
        }

    def _promote(self, challenger: ModelVersion) -> None:
        """As 'models promote': raises CheckpointError where it is damaged, or answers otherwise than it did."""
        check_golden_requests(Predictor.load(location(challenger.checkpoint)))
        self.registry.promote(str(challenger))

    @property
    def _canary_file(self) -> Location:
        return self.home.watch / f"{self.champion.name}-canary.json"

    def _canary(self) -> Canary | None:
        """The one that is out, unless somebody has decided about it or about its champion since."""
        if not self._canary_file.is_file():
            return None
        canary = Canary(**json.loads(self._canary_file.read_text()))
        try:
            out = str(self.registry.resolve(f"{self.champion.name}@{CHALLENGER}"))
        except ModelNotFoundError:
            out = ""
        if (canary.champion, canary.challenger) == (str(self.champion), out):
            return canary
        if out == str(self.champion):  # a pass was killed that had just promoted it
            self.registry.drop(self.champion.name)
        self._canary_file.unlink()
        return None

    def _judged(self, canary: Canary) -> dict[str, str]:
        """What becomes of it: time has to pass first, and it may not sell less than the champion beyond chance."""
        since = moment(canary.since)
        until = since + self.asked.canary_days * DAY
        if self.asked.as_of < until or not self.asked.retrain:
            return {"outcome": "canary", "why": f"{canary.challenger} is tried until {iso(until)[:10]}"}
        challenger = self.registry.resolve(canary.challenger)
        lead = self._conversion_lead(challenger, since)
        said = f"conversion {lead.mean:+.2%} ({lead.low:+.2%} to {lead.high:+.2%})" if lead else "no feedback on both"
        lost = lead is not None and lead.high < 0
        if not lost:
            self._promote(challenger)
        self.registry.drop(self.champion.name)
        self._canary_file.unlink()
        return {"outcome": "dropped" if lost else "promoted", "why": f"{challenger} after its trial: {said}"}

    def _conversion_lead(self, challenger: ModelVersion, since: int) -> Estimate | None:
        """Over the champion, where both were told of."""
        found = self._conversions(since, self.asked.as_of)
        one, other = (found.get((each.name, each.version)) for each in (challenger, self.champion))
        return conversion_lead(one, other) if one and other and one.shown.sum() and other.shown.sum() else None
