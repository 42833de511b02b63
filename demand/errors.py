"""The one family of errors that a user can mend.

Each is raised with a sentence that says what is wrong, where, and what to do. The command line turns them into exit
code 2, the HTTP interface into a problem document; nothing else catches them.
"""

from collections.abc import Sequence


class DemandError(Exception):
    """Something that the person who called can mend."""


class DataError(DemandError):
    """A source file or a dataset folder is not what it should be."""


class SettingsError(DemandError):
    """A setting is unknown, of the wrong type or out of range."""


class CheckpointError(DemandError):
    """A checkpoint is incomplete, damaged or of another version."""


class TrainingError(DemandError):
    """A training run ended for a reason that another attempt would meet again."""


class StoppedRunError(TrainingError):
    """A training run ended for a reason outside of it, a full disk, say; once that is mended it can be resumed."""


class ModelNotFoundError(DemandError):
    """No registered model goes by that name, alias or version."""


class RecordError(DemandError):
    """A customer record breaks the contract; `field` is the path of what is wrong."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class LogError(DemandError):
    """The log of events cannot be read or written now."""


class LogFullError(LogError):
    """The disk of the log has no room."""


class ConflictError(DemandError):
    """Ids that the log knows came with another content; `places` are theirs among what came, in order."""

    def __init__(self, places: Sequence[int]) -> None:
        super().__init__(f"{len(places):,} of the ids are known with another content, the first at place {places[0]}")
        self.places = places
