"""Work in steps that need not be done again: a killed chain of them goes on where it was."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from demand.locations import Location, write_text
from ray_app.output import say


@dataclass(frozen=True)
class Steps:
    """Results of steps, JSON in a folder, by a hash of what went in.

    Attributes:
        inputs: of all steps; the data's hash, say.
    """

    folder: Location
    inputs: str

    def key(self, inputs: str) -> str:
        """Equal for equal inputs."""
        return hashlib.sha256(f"{self.inputs}\n{inputs}".encode()).hexdigest()[:16]

    def once(self, step: str, inputs: str, work: Callable[[], Any]) -> Any:
        """The step's result for these inputs: from before, or made now."""
        file = self.folder / f"{step}-{self.key(inputs)}.json"
        if file.is_file():
            say("nothing has changed: reusing the last result")
            return json.loads(file.read_text())
        result = work()
        write_text(file, json.dumps(result))
        return result
