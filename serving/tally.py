"""What came of each model's answers, counted, so that a challenger can be compared with the champion."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from serving.problems import Answer


@dataclass
class Tally:
    """Of one model.

    Attributes:
        answers: given, of which `failures` were errors of its own.
        seconds: that they took, in all.
        shown: items of its answers that customers saw.
        bought: how many of them were bought.
    """

    answers: int = 0
    failures: int = 0
    seconds: float = 0.0
    shown: int = 0
    bought: int = 0


class Tallies:
    """By model, NAME@VERSION, since the ingress started. Only who answered, or does now, can be counted for."""

    def __init__(self) -> None:
        self._of: dict[str, Tally] = {}

    def serve(self, models: Iterable[str]) -> None:
        """Who answers from now on; an earlier ingress may have handed on answers of theirs."""
        for model in models:
            self._of.setdefault(model, Tally())

    def answered(self, answer: Answer, seconds: float) -> None:
        """One answer, if a model gave it."""
        if answer.model:
            tally = self._of.setdefault(answer.model, Tally())
            tally.answers += 1
            tally.failures += answer.status >= 500
            tally.seconds += seconds

    def came(self, model: str, shown: Sequence[str], bought: Sequence[str]) -> int:
        """How many different items of those shown were bought.

        Raises:
            KeyError: the model answers nobody.
        """
        tally = self._of[model]
        hits = len(set(shown) & set(bought))
        tally.shown += len(set(shown))
        tally.bought += hits
        return hits

    def counts(self, model: str) -> dict[str, float]:
        """Of a model, by the names of Tally's attributes."""
        return asdict(self._of.get(model, Tally()))
