"""An erasure over the whole state folder, in the order in which it can be interrupted and begun again."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Engine

from demand.dataset import Dataset
from demand.errors import DataError
from demand.locations import Location, absolute, location, remove
from demand.privacy.consent import Consent
from demand.privacy.databases import erase_rows
from demand.privacy.erasure import check_key, datasets, erase_from_dataset, erase_from_files, everyone, present
from demand.privacy.identity import Identity
from demand.privacy.membership import touched_by
from demand.privacy.pseudonyms import PseudonymKey
from demand.privacy.search import Proof, search, search_database
from modeling.registry import Registry
from ray_app.home import Home

CACHES = ("chain", "baselines")
"""Folders of the state that only spare work; what was found with the customer in the data goes."""
OCCASION = 12
"""Digits of a dataset's hash that tell one erasure from another."""


@dataclass(frozen=True)
class Erasure:
    """What became of a customer.

    Attributes:
        datasets: rows that went, by the dataset's folder.
        files: other files from which rows went.
        models: those that learned from the customer, or may have: their data is not here.
        proof: of the search that came last.
    """

    datasets: Mapping[str, int]
    files: Sequence[str]
    models: Sequence[str]
    proof: Proof


def erase(
    customer: str,
    keys: Sequence[PseudonymKey],
    others: Sequence[Location],
    home: Home,
    databases: Sequence[Engine] = (),
) -> Erasure:
    """Removes a customer from all below the state folder, other datasets and databases, and searches for what is left.

    Models are marked first: as long as the customer is in the data, another attempt can tell again who they are.

    Args:
        keys: of the pseudonyms that datasets hold.

    Raises:
        DataError: one of `others` is no folder; a dataset holds pseudonyms that no key makes, or nobody else.
    """
    for place in others:
        if not place.is_dir():
            raise DataError(f"{place} is no folder, so nothing was erased")
    folders = list(dict.fromkeys((home.folder, *map(absolute, others))))
    opened, shut = zip(*map(datasets, folders), strict=True)
    found = {str(each.folder): each for each in chain.from_iterable(opened)}
    for each in found.values():
        check_key(each, keys)
    who = Identity({customer, *(key.customer(customer) for key in keys)})
    named = {folder: present(each, who.ids) for folder, each in found.items()}
    models = mark_models(list(found.values()), named, home)
    if any(named.values()):
        for cache in CACHES:
            remove(home.folder / cache)
    rows = {folder: erase_from_dataset(each, who) for folder, each in found.items()}
    changed, left = zip(*(erase_from_files(folder, who) for folder in folders), strict=True)
    files = [*chain.from_iterable(changed), *(str(each.url) for each in databases if erase_rows(each, who))]
    proofs = [Proof(0, (), tuple(chain.from_iterable((*shut, *left))))]
    proofs += [search(folder, who, folders) for folder in folders]
    proofs += [search_database(each, who) for each in databases]
    return Erasure({folder: count for folder, count in rows.items() if count}, files, models, _together(proofs))


def withdraw(consent: Consent, key: PseudonymKey | None, dataset: Dataset, home: Home) -> tuple[int, list[str]]:
    """Takes out of a dataset who gave no consent; returns how many these were, and the models that learned from them.

    Raises:
        DataError: the dataset holds pseudonyms that the key does not make, or nobody's orders would be left.
    """
    check_key(dataset, [key] if key else [])
    if key and "pseudonyms" in dataset.manifest.get("privacy", {}):
        consent = consent.by_pseudonym(key)
    ids = pa.chunked_array([sorted(everyone(dataset))], pa.string())
    refused = set(ids.filter(pc.invert(consent.given(ids))).to_pylist())
    if not refused:
        return 0, []
    known = {str(each.folder): each for each in (*datasets(home.folder)[0], dataset)}
    models = mark_models(list(known.values()), {str(dataset.folder): refused}, home)
    erase_from_dataset(dataset, Identity(refused, anywhere=False))
    return len(refused), models


def mark_models(known: Sequence[Dataset], ids: Mapping[str, set[str]], home: Home) -> list[str]:
    """Marks models that learned from customers who are about to go, or began with one that did; returns their names.

    A model of data that is not here, or whose card cannot be read, may have learned from all of them.

    Args:
        known: the datasets that are here.
        ids: those of the customers that each names, by its folder.
    """
    if not any(ids.values()):
        return []
    registry = Registry(home.folder)
    versions = {str(each): each for each in registry.versions()}
    cards = {name: _card(each.checkpoint) for name, each in versions.items()}
    touched = {name: _touched(card, known, ids) for name, card in cards.items()}
    marked = []
    for name, version in versions.items():
        counts = touched[name]
        for ancestor in _ancestors(name, cards):
            more = touched[ancestor]
            counts = {each: max(counts.get(each, 0), more.get(each, 0)) for each in counts | more}
        for occasion, count in counts.items():
            registry.mark_erased(version, occasion, count)
        if counts:
            marked.append(name)
    return marked


def _touched(card: Mapping[str, Any] | None, known: Sequence[Dataset], ids: Mapping[str, set[str]]) -> dict[str, int]:
    """Of how many who are about to go a model learned, by the occasion."""
    if card is not None and "data" not in card:
        return {}  # pretrained elsewhere
    named = [(each, ids.get(str(each.folder), set())) for each in known]
    counts = [(each, touched_by(card, each, whom)) for each, whom in named] if card else []
    told = [(each, count) for each, count in counts if count is not None]
    told = told or [next((each, len(whom)) for each, whom in named if whom)]
    return {each.content_hash[:OCCASION]: count for each, count in told if count}


def _ancestors(name: str, cards: Mapping[str, Mapping[str, Any] | None]) -> Iterator[str]:
    """The models that a model began with, one after another."""
    while (name := (cards[name] or {}).get("settings", {}).get("base")) in cards:
        yield name


def _card(checkpoint: str) -> dict[str, Any] | None:
    """None where it cannot be read from here."""
    try:
        card: dict[str, Any] = json.loads((location(checkpoint) / "card.json").read_text())
    except (OSError, ValueError):
        return None
    return card


def _together(proofs: Sequence[Proof]) -> Proof:
    return Proof(
        sum(each.searched for each in proofs),
        tuple(place for each in proofs for place in each.found),
        tuple(dict.fromkeys(file for each in proofs for file in each.unread)),
    )
