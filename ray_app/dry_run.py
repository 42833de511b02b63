"""`train --dry-run`: what a run would take, from its settings and with no worker started."""

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from demand.dataset import Dataset
from demand.errors import ModelNotFoundError, SettingsError
from demand.locations import Location, local, location
from demand.vocabulary import BPE_SIZE
from modeling.devices import Device
from modeling.estimate import GIB, Estimate, Memory, fitting
from modeling.parameters import Run
from modeling.settings import ModelSettings
from ray_app.bases import base_named, registered_base
from ray_app.home import Home
from training.settings import Settings, check_layout

ASSUMED_ITEMS = 2_222
"""Complete Journey's."""


def question(
    settings: Settings, workers: int, device: Device, data: Location | None, home: Home
) -> tuple[Run, list[str]]:
    """The run to estimate, and what had to be assumed of it.

    Raises:
        DataError: the folder is no dataset.
        SettingsError: the workers cannot share the run in its layout.
    """
    items = int(Dataset.open(data).manifest["rows"]["items"]) if data else ASSUMED_ITEMS
    assumed = [] if data else [f"{items:,} items (no --data)"]
    text_tokens = BPE_SIZE
    if settings.base and (found := _registered(settings.base, home)):
        model, text_tokens = found
        settings = settings.model_copy(update={"model": model})
    elif settings.base:
        text_tokens = base_named(settings.base).text_tokens
        assumed.append(f"{text_tokens:,} text tokens and the preset's shape (base '{settings.base}' is not registered)")
    check_layout(settings, workers, device.is_gpu)
    run = Run(
        model=settings.model,
        layout=settings.layout,
        workers=workers,
        text_tokens=text_tokens,
        items=items,
        history_tokens=settings.prompt.history_tokens,
        microbatch_tokens=settings.training.microbatch_tokens,
        microbatches=settings.training.microbatches,
        lora_rank=settings.lora.rank,
    )
    return run, assumed


def _registered(base: str, home: Home) -> tuple[ModelSettings, int] | None:
    """A registered base's shape and text tokens; its weights are not read."""
    if not home.folder.is_dir():  # asking would make one
        return None
    from modeling.checkpoint import load_description

    try:
        with local(location(registered_base(base, home).checkpoint)) as folder:
            description = load_description(folder)
    except ModelNotFoundError:
        return None
    return description.settings, description.vocabulary.first_control


def table(run: Run, found: Estimate, device: Device, assumed: list[str]) -> Table:
    """The answer for people."""
    shown = Table(title=f"dry run: {run.workers} x {device.name}", show_header=False)
    shown.add_column()
    shown.add_column(overflow="fold")
    for row in _rows(run, found, device, assumed):
        shown.add_row(*row)
    return shown


def _rows(run: Run, found: Estimate, device: Device, assumed: list[str]) -> Iterator[tuple[str, str]]:
    layout, memory = run.layout, found.memory
    one = "GPU" if device.is_gpu else "worker"
    switches = {
        "sequence parallel": layout.sequence_parallel,
        "distributed optimizer": layout.distributed_optimizer,
        "full recompute": layout.recompute == "full",
    }
    yield (
        "layout",
        f"tensor {layout.tensor} x pipeline {layout.pipeline} x context {layout.context} x copies {run.copies}",
    )
    yield "", ", ".join([*(name for name, on in switches.items() if on), layout.precision])
    yield "parameters", f"{found.parameters:,}, of which {found.trained:,} trained"
    yield f"  on a {one}", f"{found.parameters_per_worker:,}"
    yield f"memory of a {one}", f"{_gib(memory.total)} GiB of {_gib(device.memory)}"
    for part in Memory.__dataclass_fields__:
        yield f"  {part}", f"{_gib(getattr(memory, part))} GiB"
    yield "tokens per step", f"{found.tokens_per_step:,} ({run.microbatches} microbatches of {run.microbatch_tokens:,})"
    yield "tokens per second", f"about {float(f'{found.tokens_per_second:.2g}'):,.0f}"
    peak = device.rate(layout) / device.utilisation / 1e12
    yield "", f"assuming {device.utilisation:.0%} of {peak:,.4g} TFLOP/s ({device.source})"
    for each in assumed:
        yield "assumed", each


def _gib(count: float) -> str:
    return f"{count / GIB:.{1 if count >= GIB else 3}f}"


def as_json(run: Run, found: Estimate, device: Device, assumed: list[str]) -> dict[str, Any]:
    """The answer for programs; memory in GiB."""
    memory = {name: getattr(found.memory, name) / GIB for name in (*Memory.__dataclass_fields__, "total")}
    return {
        "workers": run.workers,
        "layout": {**run.layout.model_dump(), "copies": run.copies},
        "parameters": {"total": found.parameters, "trained": found.trained, "per_worker": found.parameters_per_worker},
        "memory_gib": {**memory, "device": device.memory / GIB},
        "fits": found.memory.total <= device.memory,
        "tokens_per_step": found.tokens_per_step,
        "tokens_per_second": found.tokens_per_second,
        "device": {"name": device.name, "utilisation": device.utilisation, "source": device.source},
        "assumed": assumed,
    }


def refuse_what_does_not_fit(run: Run, found: Estimate, device: Device) -> None:
    """Raises SettingsError, which names what to change, where a worker's memory is too small."""
    memory = found.memory
    if memory.total <= device.memory:
        return
    parts = ", ".join(f"{name} {_gib(getattr(memory, name))}" for name in Memory.__dataclass_fields__)
    other = next(fitting(run, device), None)
    advice = _changes(run, other) if other else "a larger device, or a lower --set training.microbatch_tokens"
    raise SettingsError(
        f"{device.name} has {_gib(device.memory)} GiB for each worker, which needs {_gib(memory.total)} ({parts}): "
        f"try {advice}"
    )


def _changes(run: Run, other: Run) -> str:
    """The options that lead from one run to the other."""
    before, after = run.layout.model_dump(), other.layout.model_dump()
    options = [f"--workers {other.workers}"] if other.workers != run.workers else []
    options += [f"--set layout.{name}={str(value).lower()}" for name, value in after.items() if value != before[name]]
    return " ".join(options)
