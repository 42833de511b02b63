"""demandcast models: list, show, promote, roll back, drop, import and export."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from demand.locations import MANIFEST, Location, local, location
from ray_app.commands.options import PLACE, Json, Name
from ray_app.output import console, emit, say

if TYPE_CHECKING:
    from modeling.registry import ModelVersion, Registry

app = typer.Typer(no_args_is_help=True)
ModelArgument = Annotated[str, typer.Argument(help="NAME@ALIAS or NAME@VERSION.")]


@app.command("list")
def list_(json: Json = False) -> None:
    """Every version of every model."""
    versions = _registry().versions()
    table = Table()
    for column in ("model", "aliases", "ndcg@10", "recall@20", "checkpoint"):
        table.add_column(column, overflow="fold")
    for version in versions:
        metrics = version.metrics or {}
        cells = [f"{metrics[key]:.4f}" if key in metrics else "" for key in ("ndcg@10", "recall@20")]
        table.add_row(str(version), ", ".join(version.aliases), *cells, version.checkpoint)
    console.print(table)
    for version in versions:
        if version.erased:
            say(f"{version}: {_outdated(version)}")
    emit({"models": [{"model": str(version), **asdict(version)} for version in versions]}, json)


@app.command()
def show(model: ModelArgument, json: Json = False) -> None:
    """The card of one model: data, period, quality by slice, calibration, limits; settings and bins with --json."""
    from modeling.checkpoint import load_checkpoint
    from ray_app.reports.card import card_page

    version = _registry().resolve(model)
    card = load_checkpoint(version.checkpoint).card
    say("\n".join(filter(None, (f"{version} {' '.join(version.aliases)}", version.checkpoint, _outdated(version)))))
    for part in card_page(card):
        console.print(part)
    emit({"model": str(version), **asdict(version), "card": card}, json)


@app.command()
def promote(
    model: ModelArgument,
    alias: Annotated[str, typer.Option(help="champion or challenger.")] = "champion",
    json: Json = False,
) -> None:
    """Make a model the champion (or challenger); 'serve' changes over to it within seconds.

    One that is damaged, or answers otherwise than when it was made, is refused.
    """
    from demand.errors import SettingsError
    from modeling.golden import check_golden_requests
    from modeling.predictor import Predictor
    from modeling.registry import CHALLENGER, CHAMPION

    if alias not in (CHAMPION, CHALLENGER):
        raise SettingsError(f"no alias '{alias}': choose {CHAMPION} or {CHALLENGER}")
    registry = _registry()
    check_golden_requests(Predictor.load(registry.resolve(model).checkpoint))
    version = registry.promote(model, alias)
    say(f"{version} is now {alias}")
    emit({"model": str(version), "alias": alias}, json)


@app.command()
def rollback(name: Annotated[str, typer.Argument(help="The model's name.")] = "demand", json: Json = False) -> None:
    """Make the champion before the present one champion again."""
    version = _registry().rollback(name.partition("@")[0])
    say(f"{version} is champion again")
    emit({"model": str(version), "alias": "champion"}, json)


@app.command()
def drop(name: Annotated[str, typer.Argument(help="The model's name.")] = "demand", json: Json = False) -> None:
    """Take the challenger's alias away: the champion answers its customers again."""
    version = _registry().drop(name.partition("@")[0])
    say(f"{version} is no longer challenger")
    emit({"model": str(version), "alias": None}, json)


@app.command("import")
def import_(
    path: Annotated[
        str,
        typer.Argument(
            help="A checkpoint, a Hugging Face folder or name, a GGUF file, or a zip or folder of legacy Megatron-LM."
        ),
    ],
    name: Name = "demand",
    json: Json = False,
) -> None:
    """Register a model from elsewhere: a checkpoint of demandcast, or a pretrained language model.

    Pretrained may be GPT-2, GPT-NeoX, Llama (SmolLM2, Llama 3), Qwen2, Qwen3, T5 and Flan-T5, as safetensors or GGUF;
    train from one with 'demandcast train --set base=NAME'. Also NVIDIA's legacy Megatron-LM GPT-2 (345M): a zip or a
    folder that holds release/mp_rank_00/model_optim_rng.pt, with GPT-2's tokenizer.json (or vocab.json and merges.txt)
    inside or beside.
    """
    from modeling.checkpoint import load_checkpoint, save_checkpoint
    from ray_app.home import Home, fresh_name
    from ray_app.jobs import ranked

    place = location(path)
    if (place / MANIFEST).is_file():
        checkpoint = load_checkpoint(place)
    else:
        from modeling.pretrained import import_pretrained

        with console.status(f"reading {path}"), local(place) as here:
            checkpoint = import_pretrained(str(here))
    folder = Home.here().models / fresh_name("import")
    save_checkpoint(checkpoint, folder)
    version = _registry().register(name, folder, None, ranked(checkpoint.card.get("validation", {})))
    say(f"{version} imported from {path}")
    emit({"model": str(version)}, json)


@app.command()
def export(
    model: ModelArgument,
    out: Annotated[Location, typer.Option(help="Folder to write.", **PLACE)],
    format_: Annotated[str, typer.Option("--format", help="hf: a folder that Hugging Face transformers loads.")] = "hf",
    json: Json = False,
) -> None:
    """Write a model for other software. What it does not know (habits, biases, calibration) lies in a folder below."""
    from demand.errors import SettingsError
    from modeling.checkpoint import load_checkpoint
    from modeling.export import export_hf

    if format_ != "hf":
        raise SettingsError(f"no export format '{format_}': choose hf")
    version = _registry().resolve(model)
    export_hf(load_checkpoint(version.checkpoint), out)
    say(f"{version} exported to {out}")
    emit({"model": str(version), "out": str(out), "format": format_}, json)


def _outdated(version: "ModelVersion") -> str:
    """Why a model should be trained again, if it should."""
    customers = f"{version.erased} customer{'s' if version.erased > 1 else ''}"
    return f"trained on {customers} since erased: retrain" if version.erased else ""


def _registry() -> "Registry":
    from modeling.registry import Registry
    from ray_app.home import Home

    return Registry(Home.here().folder)
