"""Files and folders in an object store behave as local ones do; what is half written is never taken for whole."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from demand.dataset import Dataset
from demand.errors import DataError, SettingsError
from demand.importing import import_dataset
from demand.locations import MANIFEST, Location, absolute, inside, local, location, remove, split, whole, write_text
from demand.remote import Remote
from demand.sources import SourceOptions, source
from tests.conftest import write_shop
from tests.object_store import BUCKET, CREDENTIALS, ObjectStore, object_store


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with object_store() as store:
        yield store


@pytest.fixture(params=["local", "remote"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Location:
    """An empty folder, once here and once in a bucket."""
    if request.param == "local":
        return tmp_path / "place"
    store: ObjectStore = request.getfixturevalue("store")
    for name in CREDENTIALS:
        monkeypatch.setenv(name, store.environment[name])
    return location(f"s3://{BUCKET}/{tmp_path.name}/a place{store.options}".replace(" ", "%20"))


def made(folder: Path, **files: str) -> None:
    folder.mkdir()
    for name, text in files.items():
        (folder / f"{name}.json").write_text(text)


def test_what_was_written_is_read_found_and_removed(place: Location) -> None:
    write_text(place / "runs" / "a-1.json", "né")
    write_text(place / "runs" / "b-2.json", "")
    write_text(place / "runs" / "deeper" / "a-3.json", "")

    assert (place / "runs" / "a-1.json").read_text() == "né"
    assert sorted(each.stem for each in (place / "runs").glob("*.json")) == ["a-1", "b-2"]
    assert [each.name for each in (place / "runs").glob("a*")] == ["a-1.json"]
    assert [each.name for each in place.glob("*/deeper/*-3.json")] == ["a-3.json"]
    assert [each.name for each in (place / "runs").glob("d*")] == ["deeper"]
    assert (place / "runs").is_dir()
    assert (place / "runs" / "a-1.json").is_file()
    assert (place / "runs" / "a-1.json").parent.name == "runs"
    (place / "runs" / "b-2.json").unlink()
    assert not (place / "runs" / "b-2.json").exists()
    remove(place)
    remove(place)
    assert not list(place.glob("*"))


def test_a_name_leads_to_the_same_place_again(place: Location) -> None:
    write_text(place / "100% sure?" / "file.txt", "here")

    folder = place / "100% sure?"
    assert location(str(folder / "file.txt")).read_text() == "here"
    assert (location(str(folder)) / "file.txt").parent == folder
    path, _ = split(folder / "file.txt")
    assert inside(place, path).read_text() == "here"
    assert str(absolute(folder)) == str(folder)


def test_a_folder_replaces_an_older_one_and_is_read_as_a_local_one(place: Location) -> None:
    with whole(place / "model") as fresh:
        made(fresh, manifest="1", weights="old")
    with whole(place / "model") as fresh:
        made(fresh, manifest="2", weights="new")
        (fresh / "deeper").mkdir()
        (fresh / "deeper" / "file").write_text("x")

    with local(place / "model") as here:
        assert (here / MANIFEST).read_text() == "2"
        assert (here / "weights.json").read_text() == "new"
        assert (here / "deeper" / "file").read_text() == "x"
    with local(place / "model" / "weights.json") as here:
        assert here.read_text() == "new"
    assert not [each.name for each in place.glob("*") if each.name != "model"]


def test_work_that_fails_leaves_the_older_one(place: Location) -> None:
    with whole(place / "model") as fresh:
        made(fresh, manifest="1", weights="old")

    def fails() -> None:
        with whole(place / "model") as fresh:
            made(fresh, manifest="2", weights="new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()

    assert (place / "model" / "weights.json").read_text() == "old"
    assert [each.name for each in place.glob("*")] == ["model"]


def test_of_a_remote_folder_the_manifest_is_away_while_the_rest_changes(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in CREDENTIALS:
        monkeypatch.setenv(name, store.environment[name])
    model = Remote.of(f"s3://{BUCKET}/{tmp_path.name}/model{store.options}")
    with whole(model) as fresh:
        made(fresh, manifest="1", weights="old", zeros="old")
    seen: list[tuple[str, bool]] = []
    put = Remote._put

    def watched(file: Remote, here: Path) -> None:
        seen.append((file.name, (model / MANIFEST).exists()))
        put(file, here)

    monkeypatch.setattr(Remote, "_put", watched)
    with whole(model) as fresh:
        made(fresh, manifest="2", weights="new", zeros="new")

    assert {name for name, _ in seen[:-1]} == {"weights.json", "zeros.json"}
    assert seen[-1] == (MANIFEST, False)
    assert not any(there for _, there in seen)


def test_a_dataset_is_the_same_wherever_it_lies(place: Location, shop: Dataset, tmp_path: Path) -> None:
    rows = write_shop(tmp_path / "csv")
    import_dataset("csv", source("csv", SourceOptions(path=rows)), place / "data")

    there = Dataset.open(place / "data")

    assert there.content_hash == shop.content_hash
    ids = shop.customer_ids[3:7]
    assert list(there.customers(ids)) == list(shop.customers(ids))
    (place / "data" / MANIFEST).unlink()
    with pytest.raises(DataError, match="not a dataset folder"):
        Dataset.open(place / "data")
    with pytest.raises(DataError, match="choose another --out"):
        import_dataset("csv", source("csv", SourceOptions(path=rows)), place / "data")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("s3://key:secret@bucket/x", "credentials by the environment"),
        ("ftp://host/x", "Unrecognized filesystem"),
        ("s3://", "names nothing"),
    ],
)
def test_a_uri_that_cannot_be_used_is_refused_in_one_line(uri: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as refused:
        location(uri)

    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_file_uri_is_a_path(tmp_path: Path) -> None:
    assert location(f"file://{tmp_path}/x") == tmp_path / "x"
    assert location("x/y") == Path("x/y")
    assert location(tmp_path) == tmp_path
