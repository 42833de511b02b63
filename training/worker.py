"""What each Ray Train worker does: reads its microbatches, steps, validates, reports checkpoints."""

import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray.train
import torch
import torch.distributed as dist

from demand.catalogue import Catalogue
from demand.locations import split
from demand.metrics import top_k
from demand.packing import TYPES
from demand.vocabulary import Vocabulary
from modeling.ahead import MOST_PROCESSES, ahead
from modeling.batch import Batch, sent
from modeling.checkpoint import Checkpoint, load_checkpoint
from modeling.megatron.finetuning import FineTuning, Schedule, Step
from modeling.megatron.model import DemandModel, initialize_from_catalogue
from modeling.megatron.private import Privacy
from modeling.megatron.shards import load_weights
from modeling.parallel import ON_GPU, device, initialize, share
from modeling.snapshot import load_snapshot, save_snapshot
from modeling.warm_start import warm_start
from training.crew import Member
from training.job import CLOSE, Job
from training.progress import Pace

PROGRESS_SECONDS = 1.0
"""Between two looks at what steps came to; each waits for a GPU, which then waits for the next step."""


class Worker:
    """One process of a run."""

    def __init__(self, job: Job, member: Member) -> None:
        self.job, self.member = job, member
        self.settings, layout = job.settings.training, job.settings.layout
        initialize(self.settings.seed, layout)
        self.copy, self.copies = share()
        self.batch = partial(Batch.from_arrays, multiple=layout.tokens_multiple)
        self.vocabulary, self.catalogue = Vocabulary.from_json(job.vocabulary), Catalogue(job.items)
        sizes, lora = (len(self.vocabulary), len(self.catalogue)), job.settings.lora
        model = DemandModel(job.settings.model, *sizes, layout, lora, self.catalogue)
        resumed = ray.train.get_checkpoint()
        if job.start and not resumed:
            resumed = ray.train.Checkpoint(*split(job.start))
        base = load_checkpoint(job.base) if job.base and not resumed else None
        if base and len(base.catalogue):
            load_weights(model, warm_start(base, self.vocabulary, self.catalogue))
        else:
            if base:
                load_weights(model, base.weights, new=True)
            initialize_from_catalogue(model, self.vocabulary, self.catalogue)
        validation = enumerate(self._rows("validation", 1))
        self.validation = [_arrays(rows, 0) for place, rows in validation if place % self.copies == self.copy]
        self.tuning = FineTuning(model, self._schedule(), layout)
        self.losses: list[float] = []
        self.skipped: list[int] = []
        if resumed:
            with resumed.as_directory() as folder:
                extra = load_snapshot(self.tuning, Path(folder))
            self.losses, self.skipped = extra["losses"], extra["skipped"]
        self.read, self.began = 0.0, 0.0

    def run(self) -> str | None:
        """Trains from where the last checkpoint left off to the end; returns why it ended before that."""
        steps = self.job.total_steps
        every = max(steps // (self.settings.epochs * self.settings.reports_per_epoch), 1)
        wanted = (math.ceil(steps * share) for share in self.job.early)
        early = {step for step in wanted if min(step % every, -step % every) > CLOSE * step}
        pace = Pace(len(self.losses), steps)
        self.began = time.monotonic()
        first = len(self.losses)
        ready = sent(self._microbatches(first, steps))
        unread: list[Step] = []
        for number in range(first, steps):
            unread.append(self._step(number, ready))
            if unread[-1].skipped:
                self.skipped.append(number)
                if reason := self._stuck(number):
                    return reason
            done = number + 1
            due = done in early or done == steps or (done % every == 0 and steps - done >= every)
            if due or number == first or time.monotonic() - self.read > PROGRESS_SECONDS:
                self._read(unread, pace)
            if due:
                self._report(pace, float(np.nanmean(self.losses[-every:])))
        return None

    def _read(self, unread: list[Step], pace: Pace) -> None:
        """What these steps came to, which waits for the last of them; whoever watches is told."""
        for step in unread:
            self.losses.append(step.loss)
            pace.advance(step.tokens)
        unread.clear()
        self.read = time.monotonic()
        self._post(pace)

    def _stuck(self, number: int) -> str | None:
        """Where this step is the last of too many that were skipped: which, and where their data is."""
        in_a_row = self.skipped[-self.settings.max_skipped :]
        if in_a_row != list(range(number - self.settings.max_skipped + 1, number + 1)):
            return None
        first, rows = sum(map(self.job.microbatches, range(number))), self.job.microbatches(number)
        return (
            f"steps {in_a_row[0] + 1} to {number + 1} had gradients that are no numbers or longer than "
            f"{self.settings.max_gradient_norm:g}; the last one's data are rows {first} to "
            f"{first + rows - 1} of the rendered microbatches. Try a lower training.learning_rate"
        )

    def _post(self, pace: Pace) -> None:
        if not self.job.board or self.member.rank:
            return
        self.job.board.post.remote(
            {
                "step": pace.done,
                "steps": pace.steps,
                "loss": self.losses[-1],
                "tokens_per_second": pace.tokens_per_second,
                "seconds_left": pace.seconds_left,
            }
        )

    def _step(self, number: int, ready: Iterator[Batch]) -> Step:
        base = (self.settings.seed * 1_000_003 + number) * max(self.job.draws, default=self.settings.microbatches)
        return self.tuning.step(ready, [base + row for row in self._mine(number)])

    def _mine(self, number: int) -> range:
        """Of a step's microbatches those that this worker learns from."""
        return range(self.copy, self.job.microbatches(number), self.copies)

    def _microbatches(self, first: int, end: int) -> Iterator[Batch]:
        """This worker's microbatches of these steps, in order. Beside a GPU, processes prepare them ahead."""
        rows = self._rows("train", 1)
        before = sum(map(self.job.microbatches, range(first)))
        next(islice(rows, before, before), None)  # what an earlier attempt learned from
        steps = (list(islice(rows, self.job.microbatches(number))) for number in range(first, end))
        arrays = (_arrays(step[row], 0) for number, step in enumerate(steps, first) for row in self._mine(number))
        here = ray.train.get_context().get_local_world_size()
        processes = min((os.cpu_count() or 1) // here - 1, MOST_PROCESSES) if ON_GPU else 0
        return ahead(self.batch, arrays, processes)

    def _report(self, pace: Pace, loss: float) -> None:
        metrics = {
            "step": pace.done,
            "steps": pace.steps,
            "progress": pace.done / pace.steps,
            "epoch": pace.done / pace.steps * self.settings.epochs,
            "loss": loss,
            "skipped_steps": len(self.skipped),
            "tokens_per_second": pace.tokens_per_second,
            **self._validate(),
            "training_seconds": time.monotonic() - self.began,
        }
        folder = Path(tempfile.mkdtemp(prefix="demandcast-"))
        try:
            extra = {"losses": self.losses, "skipped": self.skipped}
            save_snapshot(self.tuning, self._description(metrics), extra, folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self.member.report(metrics, folder)

    def _description(self, metrics: dict[str, Any]) -> Checkpoint:
        settings = self.job.settings
        account = asdict(self.job.account) if self.job.account else None
        card = {"metrics": metrics, "settings": settings.model_dump(mode="json"), "account": account}
        return Checkpoint(settings.model, settings.prompt, self.vocabulary, self.catalogue, {}, card=card)

    def _validate(self) -> dict[str, float]:
        """The protocol's metrics of the next order in validation, over the rows of all workers."""
        protocol = self.job.protocol
        sums = np.zeros(len(protocol.metrics) + 1)
        asked = sent(map(self.batch, self.validation))
        for arrays, forecasts in zip(self.validation, self.tuning.forecasts(asked, len(self.validation)), strict=False):
            truths = np.split(arrays["targets"], np.cumsum(arrays["target_counts"])[:-1])
            measured = protocol.measure(top_k(forecasts[:, 1:], 20), truths)
            sums += [*(measured[name].sum() for name in protocol.metrics), len(truths)]
        everyones = torch.from_numpy(sums).to(device())
        dist.all_reduce(everyones)
        *totals, customers = everyones.tolist()
        return {name: total / max(customers, 1) for name, total in zip(protocol.metrics, totals, strict=True)}

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
            max_gradient_norm=settings.max_gradient_norm,
            averaging=settings.averaging,
            privacy=self._privacy(),
        )

    def _privacy(self) -> Privacy | None:
        account = self.job.account
        return Privacy(self.settings.clip, account.noise, account.customers_per_step) if account else None


def _arrays(rows: pa.Table, row: int) -> dict[str, np.ndarray]:
    return {name: rows[name][row].values.to_numpy() for name in TYPES}
