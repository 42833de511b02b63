"""Training speed on one GPU: demandcast's fine-tuning against transformers on models of the same shape, in bf16.

    make bench-gpu                                     # three shapes, both sides in turn, and their ratio
    python benchmarks/train_gpu.py --shape llama-1b --rounds 3 --recompute
    python benchmarks/train_gpu.py --shape tiny        # no figures worth keeping: runs everywhere, tries the script

It needs torch with CUDA and no Ray; beside torch this, with what it depends on, is all that it imports:

    pip install numpy scipy "transformers>=5" tokenizers pydantic pyarrow safetensors psutil "megatron-core>=0.16,<0.17"

Both sides train on the same tokens a step with 32-bit parameters and moments and bf16 products: transformers by
autocast with scaled_dot_product_attention, torch.compile (where there is a C compiler, which it needs) and fused AdamW.
It predicts every next token, which is how a language model is usually fine-tuned on histories; demandcast answers 20
queries a sequence, each with the whole next order, and that is all it has to learn.

Model FLOPs utilisation is the share of the GPU's peak that the model's own formula needs (Chowdhery et al. 2022,
appendix B): 6 operations a token for each number in a matrix, and attention's, of which only the causal half is counted
here. What is computed twice (recomputation) or looked up (embeddings) does not count; each side's output layer counts
where it is asked: at every token there, at queries here, for which alone most of the last layer is needed as well.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
ITEMS, QUERIES, ORDER = 2_222, 20, 8
STEPS = 1_000
"""Over which the learning rate falls; only some of them are taken."""
READY = "ready"
PEAKS = {
    "NVIDIA B200": 2_250e12,
    "NVIDIA H200": 989e12,
    "NVIDIA GH200": 989e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100 NVL": 835e12,
    "NVIDIA H100": 989e12,
    "NVIDIA A100": 312e12,
    "NVIDIA L40S": 362e12,
}
"""Dense bf16 operations a second by the maker's data sheets (which print twice as much for sparse matrices), by how the
device's name begins. H100 without a word is SXM."""


@dataclass(frozen=True)
class Shape:
    """A model and what it trains on: `microbatches` x `sequences` x `tokens` a step."""

    settings: dict[str, Any]
    vocabulary: int
    sequences: int = 8
    tokens: int = 1_024
    microbatches: int = 4
    warmup: int = 5
    steps: int = 20

    @property
    def tokens_a_step(self) -> int:
        return self.microbatches * self.sequences * self.tokens


LLAMA = {
    "family": "llama",
    "norm": "rms",
    "activation": "swiglu",
    "bias": False,
    "qkv_bias": False,
    "dropout": 0.0,
    "language_head": "tied",
}
GPT2 = {
    "family": "gpt2",
    "activation": "gelu_tanh",
    "positions": "learned",
    "places": 1_024,
    "dropout": 0.0,
    "language_head": "tied",
}
SHAPES = {
    "smollm2-135m": Shape(
        {**LLAMA, "layers": 30, "hidden": 576, "heads": 9, "key_value_heads": 3, "ffn": 1_536},
        49_152,
        sequences=32,
        microbatches=2,
    ),
    "gpt2-345m": Shape(
        {**GPT2, "layers": 24, "hidden": 1_024, "heads": 16, "ffn": 4_096}, 50_257, sequences=16, microbatches=2
    ),
    "llama-1b": Shape(
        {**LLAMA, "layers": 16, "hidden": 2_048, "heads": 32, "key_value_heads": 8, "ffn": 8_192}, 32_000
    ),
    "tiny": Shape(
        {**LLAMA, "layers": 2, "hidden": 32, "heads": 4, "key_value_heads": 2, "ffn": 64}, 256, 2, 64, 2, 1, 2
    ),
}


def tokens_of_a_step(shape: Shape, step: int) -> np.ndarray:
    """(microbatches, sequences, tokens) item tokens, the same for both sides."""
    size = (shape.microbatches, shape.sequences, shape.tokens)
    return np.random.default_rng(step).integers(shape.vocabulary, shape.vocabulary + ITEMS, size)


@dataclass(frozen=True)
class Side:
    """One side, ready: its next step, how it was made, and floating-point operations a token."""

    step: Callable[[int], Any]
    operations: float
    compiled: bool


def demandcast(shape: Shape, recompute: bool) -> Side:
    """modeling.megatron.finetuning, with what a training worker has beside it: processes that prepare its packs."""
    from demand.habits import OF_ITEMS
    from demand.moments import DAY
    from demand.packing import pack
    from demand.prompts import Prompt
    from demand.record import Record
    from demand.sales import OF_SALES
    from modeling.ahead import MOST_PROCESSES, ahead
    from modeling.batch import Batch, sent
    from modeling.layout import LayoutSettings
    from modeling.megatron.finetuning import FineTuning, Schedule
    from modeling.megatron.model import DemandModel
    from modeling.parallel import FUSES, initialize
    from modeling.settings import ModelSettings

    settings = ModelSettings(**shape.settings)
    layout = LayoutSettings(precision="bf16", recompute="full" if recompute else "none")
    initialize()
    model = DemandModel(settings, shape.vocabulary + ITEMS, ITEMS, layout)
    tuning = FineTuning(model, Schedule(1e-4, 1, STEPS, 0.01, 1.0), layout)
    queries = np.linspace(shape.tokens / QUERIES, shape.tokens - 1, QUERIES).astype(np.int32)

    times = np.linspace(0, 365, shape.tokens).astype(np.int64) * DAY
    orders = np.searchsorted(queries, np.arange(shape.tokens)).astype(np.int32) + 1

    def prompt(tokens: np.ndarray, rng: np.random.Generator) -> Prompt:
        tokens, items = tokens.astype(np.int32), ((tokens - shape.vocabulary) % ITEMS).astype(np.int32)
        tokens[queries] = 1
        once = np.ones(shape.tokens, dtype=np.float32)
        record = Record(items, items, times, orders, np.zeros(shape.tokens, dtype=np.int8), once, once)
        targets = [rng.choice(ITEMS, ORDER, replace=False) for _ in queries]
        return Prompt(tokens, queries, times[queries], 0 * queries, record, np.ones(len(queries)), targets)

    def packs(step: int) -> list[dict[str, np.ndarray]]:
        rng = np.random.default_rng(step)
        return [pack([prompt(row, rng) for row in rows]) for rows in tokens_of_a_step(shape, step)]

    processes = min((os.cpu_count() or 1) - 1, MOST_PROCESSES)
    ready = sent(ahead(Batch.from_arrays, (each for step in count() for each in packs(step)), processes))

    def step(_: int) -> None:
        tuning.step(ready, range(shape.microbatches))

    hidden = settings.hidden
    habits = (
        settings.habit_width * (len(OF_ITEMS) + len(OF_SALES) + settings.habit_width) * min(shape.tokens, ITEMS) / 2
    )
    head = (hidden * (hidden + settings.habit_width + ITEMS) + habits) * QUERIES / shape.tokens
    spared = (1 - QUERIES / shape.tokens) * operations_of_last(shape)
    return Side(step, 6 * head + operations_of_layers(shape) - spared, FUSES and layout.compiles)


def transformers(shape: Shape, recompute: bool) -> Side:
    """transformers' model of this shape in a plain training loop."""
    import torch

    from modeling.families import COUNTERPARTS
    from modeling.settings import ModelSettings

    settings = ModelSettings(**shape.settings)
    decoder = COUNTERPARTS[settings.family]
    config = decoder.config(settings, shape.vocabulary + ITEMS)
    config.tie_word_embeddings, config.use_cache = True, False
    config._attn_implementation = "sdpa"
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = decoder.model(config).to(device).train()
    if recompute:
        model.gradient_checkpointing_enable()
    compiled = device == "cuda" and bool(shutil.which("gcc") or shutil.which("cc"))
    answer = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, betas=(0.9, 0.95), weight_decay=0.01, fused=True)

    def step(number: int) -> None:
        optimizer.zero_grad()
        data = torch.from_numpy(tokens_of_a_step(shape, number))
        for tokens in (data.pin_memory() if device == "cuda" else data).to(device, non_blocking=True):
            with torch.autocast(device, torch.bfloat16):
                loss = answer(input_ids=tokens, labels=tokens).loss / shape.microbatches
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    head = settings.hidden * (shape.vocabulary + ITEMS)
    return Side(step, 6 * head + operations_of_layers(shape), compiled)


SIDES = {"demandcast": demandcast, "transformers": transformers}


def measure_when_asked(side: Side, shape: Shape) -> None:
    """Warms up, and at every line on standard input says in a line of JSON what the next steps cost."""
    import torch

    torch.set_num_threads(1)  # as Ray Train's workers have: others would wait for each other at every small copy
    on_gpu = torch.cuda.is_available()
    wait = torch.cuda.synchronize if on_gpu else lambda: None
    numbers = count()
    for number in islice(numbers, shape.warmup):
        side.step(number)
    wait()
    print(READY, flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        for number in islice(numbers, shape.steps):
            side.step(number)
        wait()
        figures = {
            "device": torch.cuda.get_device_name() if on_gpu else "CPU",
            "tokens_per_second": shape.steps * shape.tokens_a_step / (time.perf_counter() - started),
            "peak_memory_gib": torch.cuda.max_memory_allocated() / 2**30 if on_gpu else None,
            "compiled": side.compiled,
            "operations": side.operations,
        }
        print(json.dumps(figures), flush=True)


def operations_of_layers(shape: Shape) -> float:
    """Floating-point operations a token of all layers, forwards and backwards."""
    from modeling.settings import ModelSettings

    settings = ModelSettings(**shape.settings)
    heads, groups = settings.heads * settings.width, settings.groups * settings.width
    return settings.layers * (6 * settings.hidden * (2 * heads + 2 * groups) + operations_of_last(shape))


def operations_of_last(shape: Shape) -> float:
    """Of these, those that the last layer needs where it is asked alone: attention's pairs, and the perceptron."""
    from modeling.settings import ModelSettings

    settings = ModelSettings(**shape.settings)
    pairs = 12 * settings.heads * settings.width * shape.tokens / 2  # causal: half of all pairs
    return 6 * (3 if settings.gated else 2) * settings.hidden * settings.ffn + pairs


class Process:
    """One side in a process of its own, which keeps quiet until it is asked."""

    def __init__(self, side: str, shape: str, recompute: bool) -> None:
        command = [sys.executable, __file__, "--shape", shape, "--side", side, *(["--recompute"] if recompute else [])]
        self._name, self._errors = f"{side} on {shape}", tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in `end`)
        self._process = subprocess.Popen(
            command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )

    def wait(self) -> None:
        """Until it is warm."""
        self._line(READY)

    def figures(self) -> dict[str, Any]:
        """What its next steps cost."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        figures: dict[str, Any] = json.loads(self._line("{"))
        rate, peak = figures["tokens_per_second"] * figures["operations"], peak_of(figures["device"])
        return {**figures, "model_flops_per_second": rate, "mfu": rate / peak if peak else None}

    def end(self) -> None:
        """Its memory is free afterwards."""
        self._process.kill()
        self._process.wait()
        self._errors.close()

    def _line(self, start: str) -> str:
        """Its next line that begins so."""
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith(start):
                return line
        self._errors.seek(0)
        sys.exit(f"{self._name} failed:\n{self._errors.read()}")


def peak_of(device: str) -> float | None:
    """A device's dense bf16 peak, where it is known."""
    known = [name for name in PEAKS if device.startswith(name)]
    return PEAKS[max(known, key=len)] if known else None


def described(figures: dict[str, Any]) -> str:
    """One side's figures in a few words."""
    words = [f"{figures['tokens_per_second']:,.0f} tokens/s"]
    if figures["mfu"] is not None:
        words.append(f"MFU {figures['mfu']:.1%}")
    if figures["peak_memory_gib"] is not None:
        words.append(f"{figures['peak_memory_gib']:.1f} GiB")
    if not figures["compiled"]:
        words.append("not compiled")
    return ", ".join(words)


def compare(name: str, rounds: int, recompute: bool) -> dict[str, Any]:
    """Has both sides measured in turn and prints every figure and the ratio."""
    found: list[dict[str, Any]] = []
    processes = {side: Process(side, name, recompute) for side in SIDES}
    try:
        for process in processes.values():
            process.wait()
        for number in range(1, rounds + 1):
            sides = {side: process.figures() for side, process in processes.items()}
            found.append(sides)
            told = "; ".join(f"{side} {described(figures)}" for side, figures in sides.items())
            print(f"{name} on {sides['demandcast']['device']}, round {number}: {told}", flush=True)
    finally:
        for process in processes.values():
            process.end()
    ratios = [sides["demandcast"]["tokens_per_second"] / sides["transformers"]["tokens_per_second"] for sides in found]
    print(f"{name}, median: {statistics.median(ratios):.2f} x transformers", flush=True)
    return {"shape": name, "rounds": found, "ratio": statistics.median(ratios)}


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=list(SHAPES), help="by default all but tiny")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--recompute", action="store_true", help="activations are computed again in the backward pass")
    parser.add_argument("--json", type=Path, help="a file for all figures")
    parser.add_argument("--side", choices=list(SIDES), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if not torch.cuda.is_available() and chosen.shape != "tiny":
        print("no GPU that PyTorch can use is here: only --shape tiny runs without one", file=sys.stderr)
        sys.exit(2)
    if chosen.side:
        sys.path.insert(0, str(ROOT))
        shape = SHAPES[chosen.shape]
        measure_when_asked(SIDES[chosen.side](shape, chosen.recompute), shape)
        return
    names = [chosen.shape] if chosen.shape else [name for name in SHAPES if name != "tiny"]
    found = [compare(name, chosen.rounds, chosen.recompute) for name in names]
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
