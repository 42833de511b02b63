"""What items are called, as vectors: items with words in common lie close together, whether they ever sold or not.

A random projection of weighted words (Achlioptas, 2003: signs alone will do). A word's signs are bits of its hash, so
that they are the same everywhere, and nothing of them has to be kept.

Shapes: V items, W different words, N = NAME_WIDTH.
"""

import hashlib
import re
from collections.abc import Iterator

import numpy as np
from scipy.sparse import csr_array

from demand.catalogue import Catalogue

NAME_WIDTH = 128
WORD = re.compile(r"\w+")


def name_vectors(catalogue: Catalogue) -> np.ndarray:
    """(V, N) float32, of length 1; zero for an item of which nothing is told.

    The words of an item's name count, and its category and department as a word each: the rarer, the more.
    """
    texts = [set(_words(row)) for row in catalogue.rows()]
    words = {word: place for place, word in enumerate(sorted(set().union(*texts)))}
    places = np.array([words[word] for each in texts for word in sorted(each)], dtype=np.int64)
    starts = np.cumsum([0, *map(len, texts)])
    weights = np.log1p(len(texts) / np.bincount(places, minlength=len(words)))
    signs = np.array([_signs(word) for word in words], dtype=np.float32).reshape(-1, NAME_WIDTH)
    vectors = csr_array((weights[places], places, starts), (len(texts), len(words))) @ signs
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: np.ndarray = (vectors / np.where(length > 0, length, 1)).astype(np.float32)
    return scaled


def _words(row: dict[str, str | None]) -> Iterator[str]:
    yield from WORD.findall((row["name"] or "").lower())
    for column in ("category", "department"):
        if row[column]:
            yield f"{column}: {row[column]}"


def _signs(word: str) -> np.ndarray:
    """(N,) of 1 and -1."""
    digest = hashlib.blake2b(word.encode(), digest_size=NAME_WIDTH // 8).digest()
    bits = np.unpackbits(np.frombuffer(digest, dtype=np.uint8))
    return np.where(bits, 1.0, -1.0)
