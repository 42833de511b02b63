"""demandcast evaluate."""

from typing import Annotated, Any

import typer

from ray_app.commands.options import Data, Json, Model
from ray_app.output import console, emit, metrics_table


def evaluate(
    data: Data,
    model: Model = "demand@champion",
    cutoff: Annotated[
        str | None, typer.Option(help="Histories end before this date; the truth lies from it on.")
    ] = None,
    horizon_days: Annotated[int, typer.Option(min=1, max=91, help="Length of the horizon.")] = 28,
    baselines: Annotated[str, typer.Option(help="Names with commas between, all, or none.")] = "all",
    json: Json = False,
) -> None:
    """Compare a model with what practitioners would otherwise use, on the same customers and days."""
    report = evaluation(data, model, cutoff, horizon_days, baselines)
    for part, title in (("next_order", "next order"), ("horizon", f"{horizon_days} days")):
        console.print(
            metrics_table(f"{title}: {report['customers']:,} customers from {report['cutoff'][:10]}", report[part])
        )
    emit(report, json)


def evaluation(data: Any, model: str, cutoff: str | None, horizon_days: int, baselines: str) -> dict[str, Any]:
    """The report that `evaluate --json` prints."""
    from demand.baselines import BASELINES
    from demand.dataset import Dataset
    from demand.moments import moment
    from modeling.predictor import Predictor
    from modeling.registry import Registry
    from ray_app.home import Home
    from training.evaluation import evaluate as compare
    from training.run import default_cutoff

    dataset = Dataset.open(data)
    when = moment(cutoff) if cutoff else default_cutoff(dataset)
    names = {"all": list(BASELINES), "none": []}.get(baselines, [each.strip() for each in baselines.split(",")])
    version = Registry(Home.here().folder).resolve(model)
    with console.status(f"evaluating {version}"):
        report = compare(Predictor.load(version.checkpoint), dataset, when, horizon_days, names)
    return {"model": str(version), **report}
