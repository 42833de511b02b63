"""The one family of errors that a user can mend.

Each is raised with a sentence that says what is wrong, where, and what to do. The command line turns them into exit
code 2, the HTTP interface into a problem document; nothing else catches them.
"""


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


class ModelNotFoundError(DemandError):
    """No registered model goes by that name, alias or version."""


class RecordError(DemandError):
    """A customer record breaks the contract; `field` is the path of what is wrong."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason
