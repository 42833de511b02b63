"""Choosing each baseline's settings on the validation period, and remembering the choice."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from demand.baselines.baseline import Baseline, Settings
from demand.baselines.problem import Problem
from demand.locations import Location, write_text
from demand.metrics import ranking_metrics, top_k

METRIC = "ndcg@10"
"""Settings are chosen by its mean over customers, on the next order."""


@dataclass(frozen=True)
class Choices:
    """Settings chosen before, in a JSON file: {baseline: settings}. A damaged file counts as empty."""

    file: Location

    def read(self, baseline: Baseline) -> Settings | None:
        """The remembered settings; None where there are none, or where the grid no longer holds them."""
        settings = self._all().get(baseline.name)
        return settings if settings in baseline.grid else None

    def write(self, chosen: Mapping[str, Settings]) -> None:
        """Adds choices to the file, which is replaced as a whole."""
        content = {**self._all(), **{name: dict(settings) for name, settings in chosen.items()}}
        write_text(self.file, json.dumps(content, indent=1) + "\n")

    def _all(self) -> dict[str, Any]:
        try:
            content = json.loads(self.file.read_text())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}


def tune(baselines: Sequence[Baseline], problem: Problem, choices: Choices | None = None) -> dict[str, Settings]:
    """The settings of each baseline, by name.

    Each setting of a grid answers earlier questions (`Questions.earlier`: those of the validation period, which is as
    long as the horizon and ends at the cutoff, knowing what lies before it); the best mean nDCG@10 on the next order
    wins, the first among equals.
    """
    chosen = {each.name: settings for each in baselines if choices and (settings := choices.read(each)) is not None}
    open_ = [each for each in baselines if each.name not in chosen]
    if any(len(each.grid) > 1 for each in open_):
        earlier = Problem(problem.questions.earlier(problem.catalogue), problem.catalogue)
        fresh = {each.name: _best(each, earlier) for each in open_ if len(each.grid) > 1}
        if choices:
            choices.write(fresh)
        chosen.update(fresh)
    return {each.name: chosen.get(each.name, each.grid[0]) for each in baselines}


def _best(baseline: Baseline, problem: Problem) -> Settings:
    if not problem.asked:
        return baseline.grid[0]
    truths = problem.questions.next_order
    quality = [
        ranking_metrics(top_k(baseline.score(problem, **settings), 10), truths, ks=(10,))[METRIC]
        for settings in baseline.grid
    ]
    return baseline.grid[int(np.argmax(quality))]
