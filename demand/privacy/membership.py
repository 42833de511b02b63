"""Whom a model learned from."""

from collections.abc import Collection, Mapping
from typing import Any

from demand.dataset import Dataset, draw
from demand.privacy.erasure import ERASED
from demand.protocols import protocol


def learned_from(card: Mapping[str, Any], dataset: Dataset) -> list[str]:
    """The customers whom a model drew, by its card, from the dataset that it learned from; sorted ids."""
    seed = card["settings"]["training"]["seed"]
    return draw(protocol(card["protocol"], dataset).of(dataset).customer_ids, card["customers"], seed)


def touched_by(card: Mapping[str, Any], dataset: Dataset, ids: Collection[str]) -> int | None:
    """How many of a dataset's customers a model learned from; None if it learned from other data.

    Of data from before an earlier erasure it is not known any more whom the model drew, so all count.
    """
    content_hash = card["data"]["content_hash"]
    if content_hash == dataset.content_hash:
        return len(set(ids).intersection(learned_from(card, dataset)))
    return len(ids) if content_hash in dataset.manifest.get(ERASED, {}).get("content_hashes", ()) else None
