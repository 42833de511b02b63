"""Rankings from files: what is read, and what is refused with file and column."""

from pathlib import Path

import pandas as pd
import pytest

from demand.errors import DataError, SettingsError
from demand.questions import HORIZON, NEXT
from demand.rankings import RankingFile
from tests.demand.shops import CATALOGUE

GOOD = pd.DataFrame(
    {"customer_id": ["2", "1", "1", "2", "1", "9"], "rank": [1, 3, 1, 2, 2, 1], "item_id": list("dcaebf")}
)


def written(folder: Path, frame: pd.DataFrame) -> RankingFile:
    file = folder / "peer.parquet"
    frame.to_parquet(file)
    return RankingFile.parse(f"peer={file}")


def test_the_first_items_of_each_customer_in_the_order_of_the_questions(tmp_path: Path) -> None:
    ranked = written(tmp_path, GOOD).read(["2", "1"], CATALOGUE, 2)

    assert ranked.tolist() == [[3, 4], [0, 1]]


def test_an_item_that_the_catalogue_lacks_is_a_recommendation_of_nothing(tmp_path: Path) -> None:
    ranked = written(tmp_path, GOOD.replace({"item_id": {"a": "unheard of"}})).read(["1"], CATALOGUE, 2)

    assert ranked.tolist() == [[-1, 1]]


def test_a_name_says_which_questions_a_file_answers() -> None:
    assert RankingFile.parse("p=x.parquet").parts == (NEXT, HORIZON)
    assert RankingFile.parse("p.next=x.parquet") == RankingFile("p", Path("x.parquet"), (NEXT,))
    assert RankingFile.parse("p.horizon=x=y.parquet") == RankingFile("p", Path("x=y.parquet"), (HORIZON,))


@pytest.mark.parametrize("text", ["peer", "=x.parquet", "peer=", ".next=x.parquet"])
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="write NAME=FILE"):
        RankingFile.parse(text)


@pytest.mark.parametrize(
    ("frame", "complaint"),
    [
        (GOOD.drop(columns="item_id"), "column 'item_id': is missing"),
        (GOOD.assign(rank="first"), "column 'rank': cannot be read as int64"),
        (GOOD.assign(item_id=[None, *"abcde"]), "column 'item_id': is empty in 1 rows"),
        (GOOD[GOOD["customer_id"] != "2"], "column 'customer_id': 1 of 2 customers asked about are missing, as '2'"),
        (GOOD[GOOD["rank"] != 2], "column 'rank': customer '1' lacks some of the ranks 1 to 2"),
        (GOOD.assign(rank=[1, 3, 1, 1, 2, 1]), "column 'rank': customer '2' lacks some of the ranks 1 to 2"),
        (GOOD.replace({"item_id": {"b": "a"}}), "column 'item_id': customer '1' has 'a' twice"),
        (GOOD.assign(item_id=list("uvwxyz")), "column 'item_id': no item is in the catalogue"),
    ],
)
def test_a_bad_file_is_refused_with_its_name_and_the_column(
    tmp_path: Path, frame: pd.DataFrame, complaint: str
) -> None:
    ranking = written(tmp_path, frame)

    with pytest.raises(DataError) as refused:
        ranking.read(["2", "1"], CATALOGUE, 2)

    assert f"{ranking.file}: {complaint}" in str(refused.value)


def test_what_is_no_parquet_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("rank,item")

    for name in ("text.parquet", "nothing.parquet"):
        with pytest.raises(DataError, match=rf"{name} is not a readable Parquet file"):
            RankingFile("peer", tmp_path / name).read(["1"], CATALOGUE, 2)
