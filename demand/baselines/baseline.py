"""A baseline: a name, a way to score items, and the settings that it may be tuned to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from demand.baselines.problem import Problem
from demand.questions import HORIZON, NEXT

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Baseline:
    """One method.

    Attributes:
        name: what tables call it.
        score: (problem, **settings) -> (R, V), a row a customer asked about, a column a catalogue item, higher is
            likelier.
        grid: settings to choose among, plain JSON values; the first is taken where there is nothing to choose by.
        horizon_score: for a method that answers the horizon otherwise than the next order.
        package: what must be installed for it.
        one_moment: whether it can only answer questions that are asked of everyone at one moment.
        chances: whether its scores are chances that the item is bought.
    """

    name: str
    score: Callable[..., np.ndarray]
    grid: tuple[Settings, ...] = ({},)
    horizon_score: Callable[..., np.ndarray] | None = None
    package: str | None = None
    one_moment: bool = False
    chances: bool = False

    @property
    def installed(self) -> bool:
        """Whether its package is there."""
        return self.package is None or find_spec(self.package) is not None

    def answers(self, problem: Problem, settings: Settings) -> dict[str, np.ndarray]:
        """Scores for each question that is asked, (R, V) each.

        Where they are chances, the horizon's are of everyone, (everyone, V), the customers asked about first: they are
        judged by everyone with a history, as the model's are.
        """
        scores = self.score(problem, **settings)
        if HORIZON not in problem.questions.parts:
            return {NEXT: scores}
        about = problem.of_everyone() if self.chances else problem
        horizon = self.horizon_score(about, **settings) if self.horizon_score else scores
        return {NEXT: scores, HORIZON: horizon}
