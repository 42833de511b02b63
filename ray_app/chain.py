"""The whole chain on the Complete Journey, stage after stage; a stage whose inputs have not changed is reused."""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from rich.markup import escape

from demand.customer import Customer
from demand.dataset import Dataset
from demand.errors import DemandError
from demand.locations import MANIFEST, Location
from demand.moments import DAY, moment
from demand.questions import NEXT
from modeling.registry import CHAMPION, Registry
from ray_app import jobs
from ray_app.cluster import connect
from ray_app.commands.data import import_data, summary
from ray_app.commands.evaluate import evaluation_of
from ray_app.commands.predict import ask
from ray_app.home import Home
from ray_app.output import console, say
from ray_app.scoreboard import methods_table
from ray_app.steps import Steps
from serving.application import Served, check_port, running
from serving.models import ModelReference, Models
from serving.schemas import CustomerRecord
from training.settings import Settings, check_layout
from tuning.live import ranking_table
from tuning.plan import SweepPlan, Trial
from tuning.space import FORMAT, RATE, Choice, Range, Space

CUTOFF = "2017-12-04"
HORIZON_DAYS = 28
FORMATS = ("compact", "profile")
"""Those with a token an item: names take five times as many, and the main job half an hour instead of minutes."""
BASELINES = "global-top,personal-top,tifu-knn"
"""Those that answer within seconds; 'demandcast evaluate' has more."""
SHOWN = 10


class Chain:
    """One run of the chain. Results of stages lie in the state folder under chain/, by a hash of their inputs."""

    def __init__(
        self,
        settings: Settings,
        trials: int,
        tune_customers: int,
        customers: int | None,
        workers: int,
        port: int,
        data: Location | None,
    ) -> None:
        self.home = Home.here()
        self.settings = settings.with_values({"training.refit": False})  # which would take as long again
        self.trials, self.workers, self.port = trials, workers, port
        self.tune_customers = min(tune_customers, customers or tune_customers)
        self.customers = customers
        self.data = data or self.home.data / "complete-journey"
        self.seconds: dict[str, float] = {}

    def run(self) -> dict[str, Any]:
        """All stages; returns what `run --json` prints.

        Raises:
            SettingsError: the endpoint's port is taken, or the workers cannot share the run.
        """
        check_port("127.0.0.1", self.port)  # rather now than after ten minutes
        check_layout(self.settings, self.workers, on_gpu=True)  # whether there are GPUs, training itself will see
        self._stage("import", self._import)
        trials = self._stage("tune", self._tune)
        model = self._stage("train", lambda: self._train(trials))
        report = self._stage("evaluate", lambda: self._evaluate(model))
        answer = self._stage("serve", lambda: self._serve(model))
        return {"model": model, "evaluation": report, "answer": answer, "seconds": self.seconds}

    def _stage(self, name: str, work: Callable[[], Any]) -> Any:
        console.rule(f"[bold]{name}")
        started = time.monotonic()
        result = work()
        self.seconds[name] = round(time.monotonic() - started, 1)
        return result

    def _import(self) -> None:
        if (self.data / MANIFEST).is_file():
            manifest = Dataset.open(self.data).manifest
            say(f"reusing {self.data}")
        else:
            manifest = import_data("complete-journey", self.data)
        console.print(summary(manifest))

    def _tune(self) -> list[Trial]:
        training = {"training.epochs": 2, "training.reports_per_epoch": 1}
        plan = jobs.make_plan(self.data, self.settings.with_values(training), CUTOFF, self.tune_customers, 1, self.home)
        space = Space({RATE: Range(low=1e-3, high=6e-3, log=True), FORMAT: Choice(choice=FORMATS)})
        sweep = SweepPlan(plan=plan, space=space, trials=self.trials)

        def work(name: str) -> list[dict[str, Any]]:
            say(f"sweep {name}: {sweep.trials} trials on {self.tune_customers} customers")
            _, _, trials = jobs.tune(sweep, name, self.home, console)
            return [asdict(trial) for trial in trials]

        trials = [Trial(**each) for each in self._once("tune", sweep.model_dump_json(), work)]
        console.print(ranking_table(trials, sweep.objectives))
        return trials

    def _train(self, trials: list[Trial]) -> str:
        settings = self.settings.with_values(trials[0].config)
        plan = jobs.make_plan(self.data, settings, CUTOFF, self.customers, self.workers, self.home)

        def work(run: str) -> str:
            say(f"run {run}: learning rate {settings.training.learning_rate:.2e}, format {settings.prompt.name}")
            version, metrics = jobs.train(plan, run, self.home, console)
            say("validation: " + ", ".join(f"{key} {value:.4f}" for key, value in metrics.items()))
            if CHAMPION not in version.aliases:
                Registry(self.home.folder).promote(str(version))
            return str(version)

        model: str = self._once("train", plan.model_dump_json(), work)
        aliases = Registry(self.home.folder).resolve(model).aliases  # since then another may have become champion
        say(f"{model} is registered and {CHAMPION}" if CHAMPION in aliases else f"{model} is registered")
        return model

    def _evaluate(self, model: str) -> dict[str, Any]:
        def work(_: str) -> dict[str, Any]:
            name, evaluation = evaluation_of(self.data, model, CUTOFF, HORIZON_DAYS, BASELINES)
            return {"model": name, **evaluation.report}

        report: dict[str, Any] = self._once("evaluate", f"{model}, {CUTOFF}, {HORIZON_DAYS} days", work)
        console.print(methods_table(report, NEXT))
        return report

    def _serve(self, model: str) -> dict[str, Any]:
        version = Registry(self.home.folder).resolve(model)
        customer, bought = self._customer()
        served = Served(Models(champion=ModelReference.of(version)), port=self.port)
        connect()
        with running(served) as endpoint:
            url = endpoint.url
            record = CustomerRecord.of(customer).model_dump(mode="json")
            answer = ask(url, {"customer": record, "as_of": f"{CUTOFF}T00:00:00Z", "top_k": SHOWN})
        say(f"POST {url}/v1/predict for customer {customer.customer_id}, {len(customer.orders)} orders before {CUTOFF}")
        console.print(comparison(answer["demands"], set(bought)))
        missed = sorted(set(bought) - {demand["item_id"] for demand in answer["demands"]})
        names = self._names()
        say("also bought: " + (", ".join(names[item] for item in missed) or "nothing"))
        say(f"Keep it running:  .venv/bin/demandcast serve --port {self.port}      (Ctrl-C stops it)")
        say(f"Try it by hand:   {url}/docs, once it runs")
        return answer

    def _customer(self) -> tuple[Customer, tuple[str, ...]]:
        """The first customer with a long history and a full next order, and what that order held."""
        cutoff = moment(CUTOFF)
        found = None
        for customer in Dataset.open(self.data).customers(before=cutoff + HORIZON_DAYS * DAY):
            past = customer.before(cutoff)
            later = customer.orders[len(past.orders) :]
            if past.orders and later:
                found = past, later[0].items
                if len(past.orders) >= 20 and len(later[0].items) >= 5:
                    break
        if found is None:
            raise DemandError(f"{self.data}: no customer ordered both before {CUTOFF} and from then on")
        return found

    def _names(self) -> dict[str, str]:
        items = Dataset.open(self.data).table("items", ["item_id", "name"])
        return dict(zip(items["item_id"].to_pylist(), items["name"].to_pylist(), strict=True))

    def _once(self, stage: str, inputs: str, work: Callable[[str], Any]) -> Any:
        """The stage's result for these inputs and this data: from before, or made now by a run whose name tells them,
        so that one that was stopped goes on."""
        steps = Steps(self.home.folder / "chain", Dataset.open(self.data).content_hash)
        return steps.once(stage, inputs, lambda: work(f"{stage}-{steps.key(inputs)[:8]}"))


def comparison(demands: list[dict[str, Any]], bought: set[str]) -> Any:
    """Predicted demands beside what the customer then really bought."""
    from rich.table import Table

    table = Table(title=f"predicted, and whether it was among the {len(bought)} items of the customer's next order")
    for column, justify in (("", "right"), ("item", "left"), ("probability", "right"), ("bought", "left")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for rank, demand in enumerate(demands, start=1):
        hit = "yes" if demand["item_id"] in bought else ""
        table.add_row(str(rank), escape(demand["name"]), f"{demand['probability']:.1%}", hit)
    return table
