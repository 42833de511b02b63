"""Names as vectors: who lies close to whom, and what is not told."""

import numpy as np
import pyarrow as pa
import pytest

from demand.catalogue import Catalogue
from demand.names import NAME_WIDTH, Words, name_vectors


def catalogue(*rows: tuple[str, str | None, str | None]) -> Catalogue:
    names, categories, departments = zip(*rows, strict=True)
    columns = {"name": names, "category": categories, "department": departments}
    ids = [str(place) for place in range(len(rows))]
    return Catalogue(pa.table({"item_id": ids, "price": pa.nulls(len(rows), pa.float64())} | columns))


def test_words_in_common_bring_names_together_and_rare_ones_the_more() -> None:
    milks = [(f"milk {number}", None, None) for number in range(20)]
    goat, sheep, butter, bread = range(20, 24)
    vectors = name_vectors(
        catalogue(
            *milks,
            ("goat milk", None, None),
            ("SHEEP-milk", None, None),
            ("goat butter", None, None),
            ("bread", None, None),
        )
    )

    likeness = vectors @ vectors.T
    assert likeness[goat, butter] > likeness[goat, sheep] > likeness[goat, bread]
    assert abs(likeness[goat, bread]) < 0.3
    assert np.diag(likeness) == pytest.approx(1, abs=1e-5)


def test_the_category_counts_as_a_word_that_is_not_one_of_a_name() -> None:
    vectors = name_vectors(
        catalogue(
            ("apples", "fruit", None), ("plums", "fruit", None), ("fruit", None, None), ("nails", "tools", "home")
        )
    )

    likeness = vectors @ vectors.T
    assert likeness[0, 1] > 0.2
    assert (np.abs(likeness[[0, 0], [2, 3]]) < 0.2).all()


def test_they_are_the_same_for_ever() -> None:
    (vector,) = name_vectors(catalogue(("oats", None, None)))

    signs = np.array([-1, 1, -1, -1, -1, -1, -1, -1])  # printf oats | b2sum -l 128 begins with 40
    assert vector[:8] == pytest.approx(signs / NAME_WIDTH**0.5)


def test_an_item_that_is_in_no_catalogue_is_like_those_with_its_words() -> None:
    shop = catalogue(("goat milk", "dairy", None), ("milk", "dairy", None), ("goat", None, None), ("!", None, None))
    other = {"name": "Goat yoghurt", "category": None, "department": None}

    goat, milk, dairy = np.log1p([4 / 2] * 3)  # each in two of four
    expected = [goat / (goat**2 + milk**2 + dairy**2) ** 0.5, 0, 1, 0]
    assert Words.of(shop).likeness(other) == pytest.approx(expected)
    assert Words.of(shop).likeness_of([2])[:, 0] == pytest.approx(expected)
    assert not Words.of(shop).likeness({**other, "name": "unheard of"}).any()


def test_where_nothing_is_told_the_vector_is_zero() -> None:
    assert not name_vectors(catalogue(("?!", None, None), ("oats", None, None)))[0].any()
    assert name_vectors(catalogue(("", None, None))).shape == (1, NAME_WIDTH)
