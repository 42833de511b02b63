"""Progress of a run, from rank 0 to the person who waits: a bar on a terminal, plain lines otherwise."""

import threading
import time
from contextlib import AbstractContextManager
from typing import Any

import ray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

POLL_SECONDS = 0.5
LINE_SECONDS = 15.0


class Pace:
    """How far a run is, and how fast it goes in this process."""

    def __init__(self, done: int, steps: int) -> None:
        """`done` of `steps` were made before now."""
        self.done, self.steps, self._before = done, steps, done
        self._first, self._tokens = done, 0
        self._started = self._stepped = time.monotonic()

    def advance(self, tokens: int) -> None:
        """One more step, which read so many tokens over all workers.

        From the second one on the first does not count: a GPU's kernels are compiled in it, which can take a minute.
        """
        if self.done == self._before + 1:
            self._first, self._tokens, self._started = self.done, 0, self._stepped
        self.done += 1
        self._tokens += tokens
        self._stepped = time.monotonic()

    @property
    def tokens_per_second(self) -> float:
        """Over all workers, in this process."""
        return self._tokens / (time.monotonic() - self._started)

    @property
    def seconds_left(self) -> float:
        """Until the last step, at the speed so far; needs one step."""
        elapsed = time.monotonic() - self._started
        return elapsed / (self.done - self._first) * (self.steps - self.done)


@ray.remote(num_cpus=0)
class Board:
    """Holds the last progress that was posted."""

    def __init__(self) -> None:
        self._last: dict[str, Any] = {}

    def post(self, progress: dict[str, Any]) -> None:
        self._last = progress

    def read(self) -> dict[str, Any]:
        return self._last


class ProgressBar(AbstractContextManager["ProgressBar"]):
    """Shows a Board until the block ends."""

    def __init__(self, console: Console, what: str) -> None:
        self.board = Board.remote()  # type: ignore[attr-defined]
        self._console = console
        self._what = what
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "ProgressBar":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        show = self._bar if self._console.is_terminal else self._lines
        show()

    def _bar(self) -> None:
        columns = [
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn(
                "step {task.completed}/{task.total}  loss {task.fields[loss]:.4f}  {task.fields[rate]:,.0f} tokens/s"
            ),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        ]
        with Progress(*columns, console=self._console) as bar:
            task = bar.add_task(self._what, total=None, loss=float("nan"), rate=0.0)
            while not self._done.wait(POLL_SECONDS):
                if last := self._read():
                    bar.update(
                        task,
                        completed=last["step"],
                        total=last["steps"],
                        loss=last["loss"],
                        rate=last["tokens_per_second"],
                    )

    def _lines(self) -> None:
        shown, spoken = 0, time.monotonic()
        while not self._done.wait(POLL_SECONDS):
            last = self._read()
            if last and last["step"] != shown and time.monotonic() - spoken >= LINE_SECONDS:
                shown, spoken = last["step"], time.monotonic()
                self._console.print(
                    f"{self._what}: step {shown}/{last['steps']}, loss {last['loss']:.4f}, "
                    f"{last['tokens_per_second']:,.0f} tokens/s, about {last['seconds_left']:.0f} s left",
                    highlight=False,
                )

    def _read(self) -> dict[str, Any]:
        try:
            last: dict[str, Any] = ray.get(self.board.read.remote(), timeout=5)
        except ray.exceptions.RayError:
            return {}
        return last
