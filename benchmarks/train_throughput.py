"""Training speed: demandcast's fine-tuning against Hugging Face's Trainer on a GPT-2-shaped model of the same size.

    make bench                          # both, alternating, and their ratio
    python benchmarks/train_throughput.py --rounds 5

Both train 2 layers x 128 on the same 16 x 512 tokens a step on all cores: in one process with a thread for each core,
and in a process for each core (torchrun). Each side counts with its faster way. The Trainer predicts every next token,
which is how a GPT is usually fine-tuned on histories; demandcast answers 20 queries a sequence, each with the whole
next order, and that is all it has to learn. The share of the machine's peak counts the multiplications that the
model's own formula needs, against a large matrix product measured in the same processes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LAYERS, HIDDEN, HEADS, FFN, HABIT_WIDTH, FEATURES = 2, 128, 4, 512, 128, 35
VOCABULARY, ITEMS = 2_304, 2_222
SEQUENCES, TOKENS, QUERIES, ORDER = 16, 512, 20, 8
MICROBATCH = 4
WARMUP, STEPS = 3, 12
ROOT = Path(__file__).resolve().parent.parent
RANK, PROCESSES = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
PYTHONS = {"demandcast": sys.executable, "trainer": str(ROOT / ".venv-peers" / "bin" / "python")}


def tokens_of_a_step(step: int) -> np.ndarray:
    """(SEQUENCES, TOKENS) item tokens, the same for both sides."""
    return np.random.default_rng(step).integers(VOCABULARY - ITEMS, VOCABULARY, (SEQUENCES, TOKENS))


def demandcast() -> dict[str, float]:
    """Tokens per second of modeling.megatron.finetuning, and the share of the peak that it reaches."""
    sys.path.insert(0, str(ROOT))
    import torch
    import torch.distributed as dist

    from demand.moments import DAY
    from demand.packing import pack
    from demand.prompts import Prompt
    from demand.record import Record
    from modeling.batch import Batch
    from modeling.megatron.finetuning import FineTuning, Schedule
    from modeling.megatron.model import DemandModel
    from modeling.parallel import initialize
    from modeling.settings import ModelSettings

    if PROCESSES > 1:
        dist.init_process_group("gloo")
    initialize()
    settings = ModelSettings(layers=LAYERS, hidden=HIDDEN, heads=HEADS, ffn=FFN, habit_width=HABIT_WIDTH, dropout=0.1)
    tuning = FineTuning(DemandModel(settings, VOCABULARY, ITEMS), Schedule(1e-3, 1, WARMUP + STEPS, 0.01, 1.0))
    queries = np.linspace(TOKENS / QUERIES, TOKENS - 1, QUERIES).astype(np.int32)

    times = np.linspace(0, 365, TOKENS).astype(np.int64) * DAY
    orders = np.searchsorted(queries, np.arange(TOKENS)).astype(np.int32) + 1

    def prompt(tokens: np.ndarray, rng: np.random.Generator) -> Prompt:
        tokens, items = tokens.astype(np.int32), (tokens - (VOCABULARY - ITEMS)).astype(np.int32)
        tokens[queries] = 1
        once = np.ones(TOKENS, dtype=np.float32)
        record = Record(items, items, times, orders, np.zeros(TOKENS, dtype=np.int8), once, once)
        targets = [rng.choice(ITEMS, ORDER, replace=False) for _ in queries]
        return Prompt(tokens, queries, times[queries], 0 * queries, record, np.ones(len(queries)), targets)

    for step in range(WARMUP + STEPS):
        if step == WARMUP:
            started = time.perf_counter()
        rng = np.random.default_rng(step)
        prompts = [prompt(row, rng) for row in tokens_of_a_step(step)]
        groups = [prompts[first : first + MICROBATCH] for first in range(0, SEQUENCES, MICROBATCH)]
        mine = range(RANK, len(groups), PROCESSES)
        tuning.step([Batch.from_arrays(pack(groups[number])) for number in mine], mine)
    rate = STEPS * SEQUENCES * TOKENS / (time.perf_counter() - started)
    dist.barrier()  # all measure the peak at the same time
    peaks = torch.tensor(matrix_peak())
    dist.all_reduce(peaks)
    dist.destroy_process_group()
    return {"tokens_per_second": rate, "peak_share": rate * operations_per_token() / float(peaks)}


def trainer() -> dict[str, float]:
    """Tokens per second of transformers' Trainer with its defaults (scaled_dot_product_attention, AdamW)."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

    class Clock(TrainerCallback):
        def on_step_end(self, args: object, state: object, control: object, **_: object) -> None:
            if state.global_step == WARMUP:
                self.started = time.perf_counter()
            self.ended = time.perf_counter()

    clock = Clock()
    rows = [row for step in range(WARMUP + STEPS) for row in tokens_of_a_step(step)]
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=TOKENS,
        n_embd=HIDDEN,
        n_layer=LAYERS,
        n_head=HEADS,
        n_inner=FFN,
        bos_token_id=0,
        eos_token_id=0,
    )
    arguments = TrainingArguments(
        output_dir=tempfile.gettempdir(),  # must be a folder; nothing is saved
        max_steps=WARMUP + STEPS,
        per_device_train_batch_size=SEQUENCES // PROCESSES,
        use_cpu=True,
        ddp_backend="gloo" if PROCESSES > 1 else None,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        logging_strategy="no",
    )
    examples = [{"input_ids": torch.as_tensor(row), "labels": torch.as_tensor(row)} for row in rows]
    Trainer(GPT2LMHeadModel(config), arguments, train_dataset=examples, callbacks=[clock]).train()
    return {"tokens_per_second": STEPS * SEQUENCES * TOKENS / (clock.ended - clock.started)}


def operations_per_token() -> float:
    """Floating-point operations a token that answers need, forwards and backwards (3 x forwards), by the formula.

    Of the last layer's queries, projection and multilayer perceptron answers need those at the queries alone.
    """
    attention = 2 * 2 * HIDDEN * TOKENS / 2  # causal: half of all pairs
    keys = 2 * 2 * HIDDEN * HIDDEN
    others = keys + 2 * 2 * HIDDEN * FFN + attention
    habits = 2 * HABIT_WIDTH * (FEATURES + HABIT_WIDTH) * TOKENS / 2  # half of all items come before a query
    query = 2 * HIDDEN * (HIDDEN + HABIT_WIDTH + ITEMS) + habits
    asked = QUERIES / TOKENS
    return 3 * (LAYERS * keys + (LAYERS - 1 + asked) * others + query * asked)


def matrix_peak(size: int = 2_048) -> float:
    """Floating-point operations per second of a large float32 matrix product: the best of five."""
    import torch

    left, right = torch.randn(size, size), torch.randn(size, size)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        left @ right
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds)


def compare(rounds: int) -> None:
    """Runs both sides in turn, each way in processes of its own, and prints every figure and the ratio."""
    cores = len(os.sched_getaffinity(0))
    ratios, shares = [], []
    for number in range(1, rounds + 1):
        best = {}
        for side in PYTHONS:
            ways = {processes: measured(side, processes) for processes in sorted({1, cores})}
            best[side] = max(ways.values(), key=lambda figures: figures["tokens_per_second"])
            rates = ", ".join(f"{ways[each]['tokens_per_second']:,.0f} in {each}" for each in ways)
            print(f"round {number}: {side}: tokens/s by processes: {rates}", flush=True)
        ratios.append(best["demandcast"]["tokens_per_second"] / best["trainer"]["tokens_per_second"])
        shares.append(best["demandcast"]["peak_share"])
    print(
        f"median: {statistics.median(ratios):.2f} x the Trainer ({', '.join(f'{each:.2f}' for each in ratios)}), "
        f"{statistics.median(shares):.0%} of the measured matrix-multiply peak"
    )


def measured(side: str, processes: int) -> dict[str, float]:
    """One side's figures, from fresh processes that share the cores."""
    launch = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}"] if processes > 1 else []
    threads = len(os.sched_getaffinity(0)) // processes
    done = subprocess.run(
        [PYTHONS[side], *launch, __file__, "--side", side],
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{side} failed (make peers sets up the Trainer's environment):\n{done.stderr}")
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith('{"tokens')))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=sorted(PYTHONS), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.side:
        figures = {"demandcast": demandcast, "trainer": trainer}[chosen.side]()
        if RANK == 0:
            print(json.dumps(figures), flush=True)
    else:
        compare(chosen.rounds)
