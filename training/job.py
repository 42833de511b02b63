"""What Ray Train carries to a run's workers.

Ray's controller of a run reads this too, so nothing here imports Megatron, which takes seconds.
"""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from ray.actor import ActorHandle

from demand.locations import Location
from demand.protocols import Protocol
from training.accounts import Account
from training.settings import Settings

VALIDATION_METRIC = "ndcg@10"
CLOSE = 0.02
"""Of the steps before: a regular report that much earlier or later makes an early one needless."""


@dataclass(frozen=True)
class Job:
    """What all workers of a run are told.

    Attributes:
        vocabulary: as Vocabulary.to_json.
        items: the catalogue's table.
        total_steps: global batches in all epochs.
        draws: how many microbatches each step has, where chance decides it.
        account: of differential privacy, where that is promised.
        protocol: whose metrics validation reports.
        base: checkpoint folder of a model to start from.
        start: snapshot of another run to go on from, at its step.
        threads: processor threads of each worker; 0 leaves PyTorch's own choice.
        early: shares of all steps after which the model is validated and a checkpoint kept besides, where no
            regular report is CLOSE.
        board: where rank 0 posts its progress, if anyone watches.
    """

    settings: Settings
    vocabulary: str
    items: pa.Table
    total_steps: int
    protocol: Protocol
    draws: tuple[int, ...] = ()
    account: Account | None = None
    base: Location | None = None
    start: Location | None = None
    threads: int = 0
    early: tuple[float, ...] = ()
    board: ActorHandle[Any] | None = None

    def microbatches(self, step: int) -> int:
        """How many a step has, counted from 0 on."""
        return self.draws[step] if self.draws else self.settings.training.microbatches


def train_worker(config: dict[str, Any]) -> str | None:
    """Ray Train's train_loop_per_worker; `config` holds a Job under "job".

    Returns:
        Why the run ended early, where another attempt would end the same way.
    """
    import torch

    from training.crew import crew
    from training.worker import Worker

    job: Job = config["job"]
    if job.threads:
        torch.set_num_threads(job.threads)
    with crew(job.settings.layout, job.settings.shared_microbatches) as member:
        if member.works:
            return Worker(job, member).run()
        member.attend()
    return None
