"""demandcast evaluate."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from demand.locations import Location
from ray_app.commands.options import PLACE, Data, Json, Model, Protocol
from ray_app.commands.predict import check_items
from ray_app.output import check_file, console, emit, say

if TYPE_CHECKING:
    from training.evaluation import Evaluation


def evaluate(
    data: Data,
    model: Model = "demand@champion",
    protocol: Protocol = "cutoff",
    cutoff: Annotated[
        str | None, typer.Option(help="Histories end before this date; the truth lies from it on.")
    ] = None,
    horizon_days: Annotated[
        int | None, typer.Option(min=1, max=91, help="Length of the horizon, 28 days by default.")
    ] = None,
    baselines: Annotated[str, typer.Option(help="Names with commas between, all, or none.")] = "all",
    rankings: Annotated[
        list[str] | None,
        typer.Option(
            help="Compare with NAME=FILE.parquet, laid out as 'predict --out' does; NAME.next=FILE or "
            "NAME.horizon=FILE answers one question only. May be repeated."
        ),
    ] = None,
    report: Annotated[Location | None, typer.Option(help="Write an HTML page with plots.", **PLACE)] = None,
    json: Json = False,
) -> None:
    """Compare a model with what practitioners would otherwise use, on the same customers and days."""
    from ray_app.scoreboard import show

    if report:
        check_file("--report", report)
    name, evaluation = evaluation_of(data, model, cutoff, horizon_days, baselines, rankings or (), protocol)
    say(f"the model is {name}")
    show(evaluation.report, console)
    if report:
        from ray_app.reports.evaluation import evaluation_page

        evaluation_page(name, evaluation).write(report)
        say(f"report: {report}")
    emit({"model": name, **evaluation.report}, json)


def evaluation_of(
    data: Location,
    model: str,
    cutoff: str | None,
    horizon_days: int | None,
    baselines: str,
    rankings: Sequence[str] = (),
    protocol: str = "cutoff",
) -> "tuple[str, Evaluation]":
    """The model's full name, and what was found about it."""
    from demand.baselines import named
    from demand.dataset import Dataset
    from demand.protocols import TEST, Cutoff
    from demand.protocols import protocol as by_name
    from demand.rankings import RankingFile
    from modeling.predictor import Predictor
    from modeling.registry import Registry
    from ray_app.home import Home
    from training.evaluation import evaluate as compare

    home = Home.here()
    chosen, left_out = named(baselines)
    others = [RankingFile.parse(each) for each in rankings]
    dataset = Dataset.open(data)
    asked = by_name(protocol, dataset, cutoff, horizon_days)
    if isinstance(asked, Cutoff) and asked.outlasts(dataset):
        last = dataset.manifest["last_order"][:10]
        say(
            f"the data end on {last}, before {asked.days} days are over: the horizon's figures take the rest for days "
            "without orders (an earlier --cutoff or fewer --horizon-days would not)"
        )
    version = Registry(home.folder).resolve(model)
    if baselines == "all" and not asked.horizon_days(TEST):
        for each in [each for each in chosen if each.one_moment]:
            chosen.remove(each)
            say(f"without {each.name}: it asks everyone at one moment, which {asked.name} does not")
    for name in left_out:
        say(f"without {name}: pip install 'demandcast[baselines]'")
    with console.status(f"evaluating {version}"):
        predictor = Predictor.load(version.checkpoint)
        check_items(dataset, predictor.catalogue, version)
        return str(version), compare(predictor, dataset, asked, chosen, others, home.baselines)
