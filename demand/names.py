"""What items are called, as vectors: items with words in common lie close together, whether they ever sold or not.

Shapes: V items, W different words, N = NAME_WIDTH.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.sparse import csr_array

from demand.catalogue import Catalogue

NAME_WIDTH = 128
WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Words:
    """The words of some items: of the name, with category and department as a word each. The rarer, the more one says.

    Attributes:
        places: columns of the words.
        weights: (W,) of the words.
        matrix: (V, W) of the items, each of length 1, or empty where nothing is told.
    """

    places: Mapping[str, int]
    weights: np.ndarray
    matrix: csr_array

    @classmethod
    def of(cls, catalogue: Catalogue) -> Self:
        """Of a catalogue's items."""
        texts = [sorted(set(_words(row))) for row in catalogue.rows()]
        places = {word: place for place, word in enumerate(sorted(set().union(*texts)))}
        counts = np.bincount([places[word] for each in texts for word in each], minlength=len(places))
        weights = np.log1p(len(texts) / counts)
        return cls(places, weights, _matrix([[places[word] for word in each] for each in texts], weights))

    def likeness(self, row: Mapping[str, Any]) -> np.ndarray:
        """(V,) the cosine of each item with another, which has a name, a category and a department.

        Words that none of the items has say nothing.
        """
        known = sorted({self.places[word] for word in _words(row) if word in self.places})
        likeness: np.ndarray = (self.matrix @ _matrix([known], self.weights).T).toarray()[:, 0]
        return likeness

    def likeness_of(self, items: Sequence[int] | np.ndarray) -> np.ndarray:
        """(V, K) the cosine of each item with K of them."""
        likeness: np.ndarray = (self.matrix @ self.matrix[items].T).toarray()
        return likeness


def name_vectors(catalogue: Catalogue) -> np.ndarray:
    """(V, N) float32, of length 1; zero for an item of which nothing is told.

    A random projection of the words (Achlioptas, 2003: signs alone will do). A word's signs are bits of its hash, so
    that they are the same everywhere, and nothing of them has to be kept.
    """
    words = Words.of(catalogue)
    signs = np.array([_signs(word) for word in words.places], dtype=np.float32).reshape(-1, NAME_WIDTH)
    vectors = words.matrix @ signs
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: np.ndarray = (vectors / np.where(length > 0, length, 1)).astype(np.float32)
    return scaled


def _matrix(texts: Sequence[Sequence[int]], weights: np.ndarray) -> csr_array:
    """(T, W), a row a text, given as places of its words, each once; each row of length 1, or empty."""
    places = np.array([place for each in texts for place in each], dtype=np.int64)
    starts = np.cumsum([0, *map(len, texts)])
    row = np.repeat(np.arange(len(texts)), np.diff(starts))
    squares = np.bincount(row, weights[places] ** 2, len(texts))
    return csr_array((weights[places] / np.sqrt(squares[row]), places, starts), (len(texts), len(weights)))


def _words(row: Mapping[str, Any]) -> Iterator[str]:
    yield from WORD.findall((row["name"] or "").lower())
    for column in ("category", "department"):
        if row[column]:
            yield f"{column}: {row[column]}"


def _signs(word: str) -> np.ndarray:
    """(N,) of 1 and -1."""
    digest = hashlib.blake2b(word.encode(), digest_size=NAME_WIDTH // 8).digest()
    bits = np.unpackbits(np.frombuffer(digest, dtype=np.uint8))
    return np.where(bits, 1.0, -1.0)
