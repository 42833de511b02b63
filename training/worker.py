"""What each Ray Train worker does: reads its microbatches, steps, validates, reports checkpoints."""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray.train
import torch
import torch.distributed as dist
from ray.actor import ActorHandle

from demand.catalogue import Catalogue
from demand.metrics import ranking_metrics, top_k
from demand.packing import COLUMNS
from demand.vocabulary import Vocabulary
from modeling.batch import Batch
from modeling.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, write_manifest
from modeling.finetuning import FineTuning, Schedule, Step
from modeling.model import DemandModel, adopt, initialize_from_catalogue
from modeling.parallel import device, fast_forward, initialize
from modeling.state import load_state, save_state
from training.progress import Pace
from training.settings import Settings

VALIDATION_METRIC = "ndcg@10"
PROGRESS_SECONDS = 0.5


@dataclass(frozen=True)
class Job:
    """What all workers of a run are told.

    Attributes:
        vocabulary: as Vocabulary.to_json.
        items: the catalogue's table.
        total_steps: global batches in all epochs.
        base: checkpoint folder of a pretrained model to start from.
        threads: processor threads of each worker; 0 leaves PyTorch's own choice.
        board: where rank 0 posts its progress, if anyone watches.
    """

    settings: Settings
    vocabulary: str
    items: pa.Table
    total_steps: int
    base: Path | None = None
    threads: int = 0
    board: ActorHandle[Any] | None = None


def train_worker(config: dict[str, Any]) -> None:
    """Ray Train's train_loop_per_worker; `config` holds a Job under "job"."""
    job: Job = config["job"]
    if job.threads:
        torch.set_num_threads(job.threads)
    Worker(job).run()


class Worker:
    """One process of a run."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.settings = job.settings.training
        context = ray.train.get_context()
        self.rank, self.workers = context.get_world_rank(), context.get_world_size()
        initialize(self.settings.seed)
        self.vocabulary, self.catalogue = Vocabulary.from_json(job.vocabulary), Catalogue(job.items)
        model = DemandModel(job.settings.model, len(self.vocabulary), len(self.catalogue))
        resumed = ray.train.get_checkpoint()
        if job.base and not resumed:
            adopt(model, load_checkpoint(job.base).weights)
        initialize_from_catalogue(model, self.vocabulary, self.catalogue)
        self.validation = [
            _arrays(rows, 0) for rows in islice(self._rows("validation", 1), self.rank, None, self.workers)
        ]
        self.losses: list[float] = []
        self.posted = 0.0
        if resumed:
            with resumed.as_directory() as folder:
                model.load_state_dict(load_checkpoint(folder).weights)
                state = load_state(Path(folder), "resume")
            self.losses = state.pop("losses")
        self.tuning = FineTuning(model, self._schedule())
        if resumed:
            self.tuning.load_state(state)

    def run(self) -> None:
        """Trains from where the last checkpoint left off to the end."""
        steps = self.job.total_steps
        every = max(steps // (self.settings.epochs * self.settings.reports_per_epoch), 1)
        pace = Pace(len(self.losses), steps)
        for number, rows in islice(enumerate(self._rows("train", self.settings.microbatches)), len(self.losses), steps):
            outcome = self._step(number, rows)
            self.losses.append(outcome.loss)
            pace.advance(outcome.tokens)
            self._post(pace, outcome.loss)
            if (pace.done % every == 0 and steps - pace.done >= every) or pace.done == steps:
                self._report(pace, float(np.mean(self.losses[-every:])))

    def _post(self, pace: Pace, loss: float) -> None:
        """Tells whoever watches, now and then."""
        if not self.job.board or self.rank:
            return
        if time.monotonic() - self.posted > PROGRESS_SECONDS or pace.done == pace.steps:
            self.posted = time.monotonic()
            self.job.board.post.remote(
                {
                    "step": pace.done,
                    "steps": pace.steps,
                    "loss": loss,
                    "tokens_per_second": pace.tokens_per_second,
                    "seconds_left": pace.seconds_left,
                }
            )

    def _step(self, number: int, rows: pa.Table) -> Step:
        mine = range(self.rank, self.settings.microbatches, self.workers)
        batches = [Batch.from_arrays(_arrays(rows, row)) for row in mine]
        base = (self.settings.seed * 1_000_003 + number) * self.settings.microbatches
        return self.tuning.step(batches, [base + row for row in mine])

    def _report(self, pace: Pace, loss: float) -> None:
        metrics = {
            "step": pace.done,
            "steps": pace.steps,
            "epoch": pace.done / pace.steps * self.settings.epochs,
            "loss": loss,
            "tokens_per_second": pace.tokens_per_second,
            **self._validate(),
        }
        with tempfile.TemporaryDirectory() as scratch:
            checkpoint = None
            if self.rank == 0:
                folder = Path(scratch) / "checkpoint"
                self._save(folder, metrics)
                checkpoint = ray.train.Checkpoint.from_directory(folder)
            ray.train.report(metrics, checkpoint=checkpoint)

    def _save(self, folder: Path, metrics: dict[str, Any]) -> None:
        weights = {name: tensor.cpu() for name, tensor in self.tuning.model.state_dict().items() if tensor is not None}
        settings = self.job.settings
        card = {"metrics": metrics, "settings": settings.model_dump(mode="json")}
        save_checkpoint(
            Checkpoint(settings.model, settings.prompt, self.vocabulary, self.catalogue, weights, card=card), folder
        )
        save_state({**self.tuning.state(), "losses": self.losses}, folder, "resume")
        write_manifest(folder)

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """Ranking metrics of the next order in the validation period, over the rows of all workers."""
        self.tuning.model.eval()
        totals: dict[str, float] = {}
        for arrays in self.validation:
            with fast_forward():
                shares = self.tuning.model(Batch.from_arrays(arrays)).float().cpu().numpy()
            truths = np.split(arrays["targets"], np.cumsum(arrays["target_counts"])[:-1])
            for name, value in ranking_metrics(top_k(shares, 20), truths).items():
                totals[name] = totals.get(name, 0.0) + value * len(truths)
            totals["customers"] = totals.get("customers", 0.0) + len(truths)
        names = [f"{metric}@{k}" for metric in ("ndcg", "recall") for k in (10, 20)] + ["hit@10", "customers"]
        sums = torch.tensor([totals.get(name, 0.0) for name in names], dtype=torch.float64, device=device())
        dist.all_reduce(sums)
        return {name: float(total / sums[-1].clamp_min(1)) for name, total in zip(names[:-1], sums, strict=False)}

    def _rows(self, name: str, count: int) -> Iterator[pa.Table]:
        """Every worker reads every row and takes its share: global batches are the same for any worker count."""
        shard = ray.train.get_dataset_shard(name)
        return iter(shard.iter_batches(batch_size=count, batch_format="pyarrow", prefetch_batches=2))

    def _schedule(self) -> Schedule:
        settings, steps = self.settings, self.job.total_steps
        return Schedule(
            learning_rate=settings.learning_rate,
            warmup_steps=int(steps * settings.warmup),
            total_steps=steps,
            weight_decay=settings.weight_decay,
            clip=settings.clip,
        )


def _arrays(rows: pa.Table, row: int) -> dict[str, np.ndarray]:
    return {name: rows[name][row].values.to_numpy() for name in COLUMNS}
