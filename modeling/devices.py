"""What workers compute on: a few known GPUs by their data sheets, and this machine by asking and measuring it."""

import time
from dataclasses import dataclass

from demand.errors import SettingsError
from modeling.layout import LayoutSettings

GB = 10**9
TERA = 10**12
GPU_UTILISATION = 0.40
"""Assumed share of the peak that training reaches; PaLM reached 46 %, GPT-3 21 % (Chowdhery et al., 2022, table 3)."""
CPU_UTILISATION = 0.35
"""As measured on two cores: docs/benchmarks.md."""
USABLE = 0.9
"""Share of this machine's memory that training may fill; the rest is the system's, Python's and CUDA's."""


@dataclass(frozen=True)
class Device:
    """What one worker has.

    Attributes:
        memory: bytes that it may fill.
        fp32, bf16: highest rate of matrix products, FLOP/s, without sparsity.
        utilisation: the share of that rate that is expected.
        source: where these figures are from.
    """

    name: str
    memory: float
    fp32: float
    bf16: float
    utilisation: float
    source: str
    is_gpu: bool = True

    def rate(self, layout: LayoutSettings) -> float:
        """FLOP/s expected in a layout's precision; fp8 counts as bf16, which it beats by less than data sheets say."""
        return self.utilisation * (self.fp32 if layout.precision == "fp32" else self.bf16)


def _gpu(name: str, gigabytes: float, fp32: float, bf16: float, sheet: str) -> Device:
    """A GPU by its data sheet. GB are taken as 10^9 bytes: what a card has beyond is left to CUDA and NCCL."""
    source = f"NVIDIA {sheet} data sheet, dense"
    return Device(name, gigabytes * GB, fp32 * TERA, bf16 * TERA, GPU_UTILISATION, source)


GPUS = {
    each.name: each
    for each in (
        _gpu("h100", 80, 67, 989.4, "H100 (SXM)"),
        _gpu("a100-80gb", 80, 19.5, 312, "A100"),
        _gpu("a100-40gb", 40, 19.5, 312, "A100"),
        _gpu("l40s", 48, 91.6, 362.05, "L40S"),
        _gpu("l4", 24, 30.3, 121, "L4"),
    )
}
NAMES = (*GPUS, "cpu")


def device(name: str | None, workers: int) -> Device:
    """A device by its name in NAMES; without one, this machine's GPU, or its processors.

    Raises:
        SettingsError: there is none of that name.
    """
    if name in GPUS:
        return GPUS[name]
    if name not in (None, "cpu"):
        raise SettingsError(f"no device '{name}': choose one of {', '.join(NAMES)}")
    import torch

    return _processors(workers) if name == "cpu" or not torch.cuda.is_available() else _present_gpu()


def _processors(workers: int) -> Device:
    """An even share of this machine for each of its workers."""
    import psutil

    memory = USABLE * psutil.virtual_memory().total
    fp32, bf16 = (_matmul_rate("cpu", dtype, 1_024) for dtype in ("float32", "bfloat16"))
    source = "this machine, shared by its workers; matrix products measured"
    return Device("cpu", memory / workers, fp32 / workers, bf16 / workers, CPU_UTILISATION, source, is_gpu=False)


def _present_gpu() -> Device:
    import torch

    found = torch.cuda.get_device_properties(0)
    fp32, bf16 = (_matmul_rate("cuda", dtype, 8_192) for dtype in ("float32", "bfloat16"))
    source = "this machine's; matrix products measured"
    return Device(found.name, USABLE * found.total_memory, fp32, bf16, GPU_UTILISATION, source)


def _matmul_rate(kind: str, dtype: str, size: int) -> float:
    """The fastest of a few products of square matrices, FLOP/s."""
    import torch

    matrix = torch.ones(size, size, dtype=getattr(torch, dtype), device=kind)
    seconds = []
    for _ in range(12):
        start = time.perf_counter()
        float((matrix @ matrix)[0, 0])  # waits for the device
        seconds.append(time.perf_counter() - start)
    return float(2 * size**3 / min(seconds))
