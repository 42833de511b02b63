"""Protocols: how a dataset is split into what is learned from, what is chosen on and what is reported."""

from typing import Annotated

from pydantic import Field

from demand.dataset import Dataset
from demand.errors import SettingsError
from demand.protocols.cutoff import VALIDATION_DAYS, Cutoff
from demand.protocols.last_order import LastOrder
from demand.protocols.protocol import TEST, VALIDATION, Protocol, Stage
from demand.protocols.taiw import Taiw

AnyProtocol = Annotated[Cutoff | LastOrder | Taiw, Field(discriminator="name")]
"""For settings that are saved and read again."""
NAMES = ("cutoff", "last-order", "taiw")


def protocol(name: str, dataset: Dataset, cutoff: str | None = None, days: int | None = None) -> AnyProtocol:
    """A protocol by its name, for a dataset.

    Args:
        cutoff: its date; by default the dataset's.
        days: the horizon of its test, 28 by default.

    Raises:
        SettingsError: there is none of that name, or it has no cutoff or horizon.
        DataError: the cutoff is no date.
    """
    if name == "cutoff":
        return Cutoff.on(dataset, cutoff, days or VALIDATION_DAYS)
    if name not in NAMES:
        raise SettingsError(f"no protocol '{name}': choose one of {', '.join(NAMES)}")
    if cutoff or days:
        raise SettingsError(
            f"--protocol {name} asks for each customer's last order: it has no --cutoff or --horizon-days"
        )
    return Taiw() if name == "taiw" else LastOrder()


__all__ = ["NAMES", "TEST", "VALIDATION", "AnyProtocol", "Cutoff", "LastOrder", "Protocol", "Stage", "Taiw", "protocol"]
