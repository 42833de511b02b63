"""Half a year of a shop, replayed month by month: a model that is never retrained, monthly, and by 'demandcast watch'.

    python -m benchmarks.replay --data DIR --out FOLDER [--customers 400] [--force] [--picture FILE.html]

All three begin as one model, trained on what lies before the first month. At the start of each later month `monthly`
learns on from all that lies before it and is served, whatever it is; `automatic` is watched: it learns on only where a
signal is past its limit, but for the newest 28 days, and is served only if it wins there. Then each is asked about
the 28 days from the start of the month. What is done lies in FOLDER: stopped, the same command goes on.
"""

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from plotly.subplots import make_subplots

from benchmarks.results import made_of
from demand.comparison import MODEL
from demand.dataset import Dataset, draw
from demand.importing import Chunk, import_dataset
from demand.moments import moment
from demand.protocols import TEST, Cutoff
from demand.questions import HORIZON, NEXT
from modeling.predictor import Predictor
from modeling.registry import ModelVersion, Registry
from ray_app import jobs
from ray_app.fine_tuning import fine_tuning
from ray_app.home import Home
from ray_app.output import console, say
from ray_app.presets import load_settings
from ray_app.steps import Steps
from ray_app.watch import Asked, Watch
from training.evaluation import evaluate
from training.rival import rival

MONTHS = [f"2017-{month:02}-01" for month in range(7, 13)]
POLICIES = ("never", "monthly", "automatic")
DAYS = 28
FIGURES = ((NEXT, "ndcg@10", "next order, nDCG@10"), (HORIZON, "recall@20", "28 days, recall@20"))


def part(data: Path, customers: int | None, out: Path) -> Path:
    """The folder of a dataset of some of the customers, drawn at random; made once."""
    if customers is None:
        return data
    if not (out / "manifest.json").is_file():
        dataset = Dataset.open(data)
        ids = pa.array(draw(dataset.customer_ids, customers, seed=0))
        tables = {name: pq.read_table(data / f"{name}.parquet") for name in ("items", "customers", "orders")}
        for name in ("customers", "orders"):
            tables[name] = tables[name].filter(pc.is_in(tables[name]["customer_id"], ids))
        frames = {name: table.to_pandas() for name, table in tables.items()}
        import_dataset("complete-journey", (Chunk(name, name, frame) for name, frame in frames.items()), out)
    return out


@dataclass(frozen=True)
class Replay:
    """All months of all policies; what was done is not done again."""

    data: Path
    preset: str
    assignments: list[str]
    force: bool
    home: Home

    @property
    def registry(self) -> Registry:
        return Registry(self.home.folder)

    @property
    def steps(self) -> Steps:
        settings = f"{self.preset} {self.assignments}"
        return Steps(self.home.folder / "replay", f"{Dataset.open(self.data).content_hash} {settings}")

    def begin(self) -> None:
        """The model that all policies begin with."""
        if not self._known("automatic"):
            settings = load_settings(self.preset, ["training.refit=true", *self.assignments])
            plan = jobs.make_plan(self.data, settings, MONTHS[0], None, 1, self.home, name="never")
            first, _ = jobs.train(plan, "replay-first", self.home, console)
            for policy in POLICIES[1:]:
                self.registry.register(policy, first.checkpoint, None, first.metrics or {})

    def _known(self, policy: str) -> list[ModelVersion]:
        return [each for each in self.registry.versions() if each.name == policy]

    def month(self, start: str) -> dict[str, Any]:
        """Retrains who is to be at the start of a month, then asks all about it."""
        served = {policy: {"model": f"{policy}@1", "done": ""} for policy in POLICIES}
        if start != MONTHS[0]:
            forced = f"{start} forced" if self.force else start
            served["monthly"] = self.steps.once("monthly", start, lambda: self._monthly(start))
            served["automatic"] = self.steps.once("automatic", forced, lambda: self._automatic(start))
        return {policy: {**each, **self._asked(each["model"], start)} for policy, each in served.items()}

    def _monthly(self, start: str) -> dict[str, str]:
        before = self.registry.resolve("monthly")
        plan = fine_tuning(before, self.data, start, self.home)
        after, _ = jobs.train(plan, f"monthly-{start}", self.home, console)
        self.registry.promote(str(after))
        return {"model": str(after), "done": f"learned on from {before}"}

    def _automatic(self, start: str) -> dict[str, str]:
        found = Watch(Asked(self.data, "automatic@champion", moment(start), DAYS, share=0, force=self.force)).run()
        past = ", ".join(each["name"] for each in found["signals"] if each["verdict"] == "act")
        said = f"{found['outcome']}: {found['why']}" + (f" (past its limit: {past})" if past else "")
        return {"model": str(self.registry.resolve("automatic")), "done": said}

    def _asked(self, model: str, start: str) -> dict[str, Any]:
        """By metric the mean and the ends of its interval; under "lead" the same of the lead over `never`."""
        folder, first = (self.registry.resolve(each).checkpoint for each in (model, "never@1"))

        def work() -> dict[str, Any]:
            say(f"{start}: asking {model}")
            dataset, protocol = Dataset.open(self.data), Cutoff(cutoff=moment(start), days=DAYS)
            never = Predictor.load(first)
            never.read_sales(protocol.lines(dataset, TEST))
            report = evaluate(Predictor.load(folder), dataset, protocol, [rival("never", never)]).report
            means = {metric: report[asked][MODEL][metric] for asked, metric, _ in FIGURES}
            ends = {metric: report["intervals"][asked][MODEL][metric] for asked, metric, _ in FIGURES}
            leads = {
                metric: list(report["differences"][asked]["never"][metric].values()) for asked, metric, _ in FIGURES
            }
            found = {metric: [means[metric], *ends[metric]] for metric in means}
            return {"customers": report["customers"], **found, "lead": leads}

        found: dict[str, Any] = self.steps.once(f"against-never-{start}", folder, work)
        return found


def picture(months: dict[str, Any], file: Path, size: str) -> None:
    """Quality by month, a line a policy, with 95 % bootstrap intervals over customers, as an HTML page."""
    figure = make_subplots(cols=len(FIGURES), subplot_titles=[words for *_, words in FIGURES])
    colours = {"never": "#475569", "monthly": "#2563eb", "automatic": "#c2410c"}
    for column, (_, metric, _) in enumerate(FIGURES, start=1):
        for place, policy in enumerate(POLICIES):
            values, low, high = np.array([each[policy][metric] for each in months.values()]).T
            line = go.Scatter(
                x=np.arange(len(values)) + (place - 1) * 0.08,
                y=values,
                error_y={"symmetric": False, "array": high - values, "arrayminus": values - low, "thickness": 1},
                name=policy,
                line={"color": colours[policy]},
                showlegend=column == 1,
            )
            figure.add_trace(line, row=1, col=column)
    figure.update_xaxes(tickvals=np.arange(len(months)), ticktext=[each[:7] for each in months])
    title = f"The 28 days from the start of each month; {size}"
    figure.update_layout(template="plotly_white", width=1000, height=420, title={"text": title, "font": {"size": 14}})
    figure.write_html(file, include_plotlyjs=True, config={"displayModeBar": False})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the Complete Journey as a dataset folder")
    parser.add_argument("--out", type=Path, required=True, help="folder of what is done, and of the result")
    parser.add_argument("--preset", default="tiny", help="settings of the first model, by name")
    parser.add_argument("--set", action="append", default=[], dest="assignments", help="override one of them")
    parser.add_argument("--customers", type=int, help="take part; all of them by default")
    parser.add_argument("--force", action="store_true", help="'automatic' learns on whatever the signals say")
    parser.add_argument("--picture", type=Path, help="draw the result there, an HTML page")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    made = {"data": Dataset.open(arguments.data).content_hash}
    made_of(out, made | {name: getattr(arguments, name) for name in ("preset", "assignments", "customers", "force")})
    os.environ["DEMANDCAST_HOME"] = str(out)  # where the parts of a pass look for their state
    data = part(arguments.data.resolve(), arguments.customers, out / "data")
    replay = Replay(data, arguments.preset, arguments.assignments, arguments.force, Home.here())
    replay.begin()
    months: dict[str, Any] = {}
    for start in MONTHS:
        console.rule(start)
        months[start] = replay.month(start)
        for policy, found in months[start].items():
            figures = ", ".join(
                f"{words} {found[metric][0]:.4f}, lead {lead:+.4f} ({low:+.4f} to {high:+.4f})"
                for _, metric, words in FIGURES
                for lead, low, high in [found["lead"][metric]]
            )
            say(f"{policy:10} {figures}  {found['model']} {found['done']}")
    if arguments.picture:
        who = f"{arguments.customers:,} customers" if arguments.customers else "all customers"
        picture(months, arguments.picture, f"preset {arguments.preset}, {who}")
    print(json.dumps(months))


if __name__ == "__main__":
    main()
