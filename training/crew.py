"""Who of a run's workers works. Ray may bring fewer than were asked for, and more than the layout has a use for."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import ray.train
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store, _get_default_store

from modeling.layout import LayoutSettings, usable

PATIENCE = timedelta(days=30)
"""How long a worker without work waits for the next report of those who work."""


@dataclass
class Member:
    """One worker: those of a rank below `working` train, any other attends their reports, for which Ray waits."""

    rank: int
    working: int
    store: Store
    reports: int = 0

    @property
    def works(self) -> bool:
        """Whether this worker trains."""
        return self.rank < self.working

    def report(self, metrics: dict[str, Any], folder: Path) -> None:
        """Ray Train's report, with this worker's part of a snapshot, which a thread copies to the run's storage.

        Training goes on meanwhile; the folder is removed when it was copied. A failed copy fails the run.
        """
        self._tell("report")
        ray.train.report(
            metrics,
            checkpoint=ray.train.Checkpoint.from_directory(folder),
            checkpoint_upload_mode=ray.train.CheckpointUploadMode.ASYNC,
            delete_local_checkpoint_after_upload=True,
        )

    def attend(self) -> None:
        """Reports nothing as often as the others report something, until they end."""
        while self._told() == "report":
            ray.train.report({})

    def end(self) -> None:
        """Lets those go who attend."""
        if self.works:
            self._tell("end")

    def _tell(self, what: str) -> None:
        if self.rank == 0:
            self.store.set(f"crew-{self.reports}", what)
        self.reports += 1

    def _told(self) -> str:
        self.store.wait([f"crew-{self.reports}"], PATIENCE)
        self.reports += 1
        return str(self.store.get(f"crew-{self.reports - 1}"), "utf-8")


@contextmanager
def crew(layout: LayoutSettings, microbatches: int) -> Iterator[Member]:
    """This worker among those that Ray Train started, whose process group then holds those who work.

    Raises:
        RuntimeError: they are too few for one copy of the model.
    """
    context = ray.train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    working = usable(layout, workers, microbatches)
    if not working:
        raise RuntimeError(f"{workers} workers are too few for {layout.model_parallel} that hold one copy of the model")
    store = _get_default_store()
    if working < workers:
        backend = dist.get_backend()
        dist.destroy_process_group()
        if rank < working:
            group = PrefixStore("working", store)
            dist.init_process_group(backend, store=group, rank=rank, world_size=working)
    member = Member(rank, working, store)
    yield member
    member.end()
