"""A training run: data prepared, workers trained, the best checkpoint found."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import ray
import ray.data
import ray.exceptions
import ray.train
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator
from ray.actor import ActorHandle
from ray.data.dataset import MaterializedDataset
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from demand.dataset import Dataset, draw
from demand.errors import CheckpointError, DataError, DemandError, StoppedRunError, TrainingError
from demand.locations import Location, inside, local, location, split
from demand.prompts import Renderer, profile_text
from demand.protocols import TEST, VALIDATION, AnyProtocol, Stage
from demand.vocabulary import Vocabulary
from modeling.checkpoint import load_checkpoint
from training import resources
from training.accounts import Account
from training.backend import Join
from training.examples import Examples, private_packs, training_packs, validation_packs
from training.job import VALIDATION_METRIC, Job, train_worker
from training.settings import Settings, check_layout

QUESTIONS_ALONE = 4
"""Questions of each history that an encoder and decoder learn from in an epoch; each costs a reading of its own."""
KEPT = 2
"""Snapshots of a run."""
RENDERING = (
    "model.architecture",
    "training.epochs",
    "training.microbatch_tokens",
    "training.seed",
    "training.validation_customers",
)
"""Settings beside the prompt's that examples depend on."""

Place = Annotated[Location, PlainValidator(location), PlainSerializer(str, return_type=str)]
"""Of what a plan names."""


class Plan(BaseModel):
    """What a run is to do; saved with the run, so that it can be resumed.

    Attributes:
        name: what the model is to be called in the registry.
        content_hash: of the data, which must stay as it is until the run ends; by default whatever is there.
        base: checkpoint folder of the model to start from, as `settings.base` names it.
        protocol: what is learned from, and what is chosen on.
        until: the stage that learning ends at: validation, or, once everything was chosen, test.
        since: moment of the first training question, where the base has learned from earlier ones.
        customers: how many customers take part, drawn at random; all of them by default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Place
    name: str = "demand"
    content_hash: str | None = None
    settings: Settings
    base: Place | None = None
    protocol: AnyProtocol
    until: Stage = VALIDATION
    since: int | None = None
    customers: int | None = Field(default=None, ge=1)
    workers: int = Field(default=1, ge=1)

    def dataset(self) -> Dataset:
        """What takes part of the data.

        Raises:
            DataError: the folder is no dataset, has changed since the run began, or holds nothing for the protocol.
        """
        dataset = Dataset.open(self.data)
        if self.content_hash not in (None, dataset.content_hash):
            # Items and words would change places, and a customer who was erased would be in the model unseen.
            raise DataError(f"{self.data} has changed since the run began: begin another one")
        return self.protocol.of(dataset)


@dataclass(frozen=True)
class Prepared:
    """A plan with its examples rendered and ready in the object store."""

    plan: Plan
    job: Job
    training: MaterializedDataset[Any]
    validation: MaterializedDataset[Any]

    def of(self, settings: Settings, early: tuple[float, ...] = ()) -> "Prepared":
        """The same examples for a run with other settings, of which none `renders`.

        Args:
            early: as in Job.

        Raises:
            SettingsError: the workers cannot share the run in its layout.
        """
        plan = self.plan.model_copy(update={"settings": settings})
        check_layout(settings, plan.workers, resources.has_gpus(plan.workers))
        steps = _steps(plan, self.training)
        return replace(self, plan=plan, job=replace(self.job, settings=settings, total_steps=steps, early=early))


def renders(setting: str) -> bool:
    """Whether examples depend on a setting, by its dotted name."""
    return setting.startswith(("prompt.", "privacy.")) or setting in RENDERING


def _steps(plan: Plan, packs: MaterializedDataset[Any]) -> int:
    """Global batches in all epochs.

    Raises:
        DataError: there is none.
    """
    steps = int(packs.count()) // plan.settings.training.microbatches
    if not steps:
        raise DataError(f"{plan.data}: too few orders to train before {plan.protocol.boundary(plan.until)}")
    return steps


def prepare(plan: Plan) -> Prepared:
    """Reads the catalogue, learns the vocabulary and renders every example with Ray Data.

    Raises:
        DataError: the folder is no dataset or holds too little to learn from or to choose by.
        SettingsError: the workers cannot share the run in its layout, or there are GPUs for some of them alone.
    """
    training = plan.settings.training
    resources.check(plan.workers)
    check_layout(plan.settings, plan.workers, resources.has_gpus(plan.workers))
    dataset = plan.dataset()
    customers = draw(dataset.customer_ids, plan.customers, training.seed)
    catalogue = plan.protocol.catalogue(dataset, plan.until)
    profiles = {profile_text(each) for each in dataset.people(customers)}
    if plan.base:
        pretrained = load_checkpoint(plan.base).vocabulary
        vocabulary = Vocabulary(pretrained.tokenizer, len(catalogue), pretrained.first_control)
    else:
        vocabulary = Vocabulary.train(catalogue, [*profiles, plan.settings.prompt.instruction])
    examples = Examples(
        dataset=dataset,
        customers=customers,
        renderer=Renderer(plan.settings.prompt, vocabulary, catalogue.without_days()),
        protocol=plan.protocol,
        microbatch_tokens=training.microbatch_tokens,
        seed=training.seed,
        alone=QUESTIONS_ALONE if plan.settings.model.architecture == "t5" else None,
        since=plan.since,
    )
    account: Account | None = None
    draws: tuple[int, ...] = ()
    if plan.settings.privacy.epsilon is None:
        packs = training_packs(examples, plan.until, training.epochs)
    else:
        account = Account.of(plan.settings.privacy, len(customers), training.epochs)
        packs, draws = private_packs(examples, plan.until, account.steps, account.rate)
    asked = draw(customers, training.validation_customers, training.seed + 1)
    validation = validation_packs(replace(examples, customers=asked))
    if not validation.count():
        raise DataError(f"{plan.data}: too few orders to validate from {plan.protocol.boundary(VALIDATION)} on")
    job = Job(
        plan.settings,
        vocabulary.to_json(),
        catalogue.table,
        total_steps=len(draws) or _steps(plan, packs),
        protocol=plan.protocol,
        draws=draws,
        account=account,
        base=plan.base,
    )
    return Prepared(plan, job, packs, validation)


def fit(
    prepared: Prepared,
    name: str,
    storage: Location,
    processors: float | None = None,
    board: ActorHandle[Any] | None = None,
    callbacks: Sequence[Any] = (),
    keep: int | None = KEPT,
) -> ray.train.Result:
    """Trains with Ray Train, or goes on where a run of that name in that storage stopped.

    Args:
        processors: CPUs of each worker; by default an even share of the cluster's.
        board: where progress is posted.
        keep: how many snapshots are kept, the best ones and the last; None keeps all.

    Raises:
        TrainingError: it came to nothing, and would again: a gradient was no number, say.
        StoppedRunError: it could not go on, and can once something is mended: a full disk, say.
        ray.train.TrainingFailedError: the workers failed more often than training.max_failures allows.
        KeyboardInterrupt: Ctrl-C; the run can be resumed.
    """
    plan = prepared.plan
    path, filesystem = split(storage)
    gpu, fewest = resources.has_gpus(plan.workers), plan.settings.training.min_workers
    if processors is None:
        processors = resources.processors(plan.workers)
    trainer = TorchTrainer(
        train_worker,  # type: ignore[arg-type]  # returns why it ended early
        train_loop_config={"job": replace(prepared.job, threads=max(round(processors), 1), board=board)},
        torch_config=Join(),
        scaling_config=ScalingConfig(
            num_workers=(fewest, plan.workers) if fewest else plan.workers,  # type: ignore[arg-type]
            use_gpu=gpu,
            resources_per_worker={"CPU": processors, "GPU": int(gpu)},
        ),
        run_config=RunConfig(
            name=name,
            storage_path=path,
            storage_filesystem=filesystem,
            failure_config=FailureConfig(max_failures=plan.settings.training.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=keep, checkpoint_score_attribute=VALIDATION_METRIC),
            callbacks=list(callbacks),
        ),
        datasets={"train": prepared.training, "validation": prepared.validation},
        dataset_config=ray.train.DataConfig(
            datasets_to_split=[],  # every worker reads all rows, in one order, and takes its share
            execution_options=ray.data.ExecutionOptions(preserve_order=True),
        ),
    )
    try:
        result = trainer.fit()
    except (SystemExit, ray.exceptions.ActorDiedError) as error:
        # Ray Train answers Ctrl-C by ending its controller, which reaches the caller in one of these two forms.
        if isinstance(error, SystemExit) or "exit_actor" in str(error) or "INTENDED" in str(error):
            raise KeyboardInterrupt from None
        raise
    except ray.train.TrainingFailedError as error:
        if cause := _mendable(error):
            raise StoppedRunError(
                f"the run failed: {cause}; it goes on from its last checkpoint once that is mended"
            ) from None
        raise
    if reason := result.return_value:  # type: ignore[attr-defined]
        raise TrainingError(str(reason))
    return result


def _mendable(error: ray.train.TrainingFailedError) -> str | None:
    """The first failure that is the machine's or the user's to mend, such as a full disk, whoever met it: a worker that
    writes a snapshot, or Ray Train's controller, which keeps a list of them beside."""
    failures = [*dict(getattr(error, "worker_failures", {})).values(), getattr(error, "controller_failure", None)]
    causes = (each for failure in failures for each in (failure, getattr(failure, "__cause__", None)))
    return next((str(each) for each in causes if isinstance(each, OSError | DemandError)), None)


def finished(run: Location) -> tuple[Location, dict[str, Any]] | None:
    """The last snapshot of a run that came to its end, and what it reported then; nothing while it is under way.

    Args:
        run: its folder in the storage.
    """
    for snapshot in sorted(run.glob("checkpoint_*"), key=lambda each: each.name, reverse=True):
        from modeling.snapshot import verify_snapshot  # which takes seconds; most runs are new

        try:
            with local(snapshot) as folder:
                verify_snapshot(folder)
                metrics: dict[str, Any] = json.loads((folder / "card.json").read_text())["metrics"]
        except (OSError, CheckpointError):
            continue
        if metrics["progress"] == 1:
            return snapshot, metrics
    return None


def best(result: ray.train.Result, storage: Location, private: bool = False) -> tuple[Location, dict[str, Any]]:
    """The folder and the metrics of the checkpoint with the best validation metric, of a run in a storage.

    Args:
        private: takes the last one: a choice would tell of the orders that it was made by.
    """
    by = "step" if private else VALIDATION_METRIC
    checkpoint, metrics = max(result.best_checkpoints or [], key=lambda each: each[1][by])
    return inside(storage, checkpoint.path), metrics


def refitted(plan: Plan, metrics: Mapping[str, Any]) -> Plan:
    """The plan once everything was chosen: it learns from all that lies before the test, for as many whole epochs as
    the best checkpoint's metrics count."""
    settings = plan.settings.with_values({"training.epochs": max(round(metrics["epoch"]), 1)})
    return plan.model_copy(update={"settings": settings, "until": TEST})


def last(result: ray.train.Result, storage: Location) -> Location:
    """The folder of the last checkpoint of a run in a storage."""
    if result.checkpoint is None:
        raise TrainingError("the run ended without a checkpoint")
    return inside(storage, result.checkpoint.path)
