"""API keys: who is let in, and how often; what the file gives away."""

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from demand.errors import SettingsError
from serving import keys as module
from serving.door import MOST_DERIVED, Door
from serving.keys import KeyFile, Keys
from serving.problems import Problem
from tests.serving.conftest import early_in_a_minute


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "home" / "keys.sqlite")


def status(door: Door, authorization: str, route: str = "POST /v1/predict") -> int:
    """200 where the door lets it through."""
    refused = door.refused(route, authorization)
    return refused.status if refused else 200


def test_a_key_is_found_by_its_text_alone_until_it_is_revoked(file: KeyFile) -> None:
    key, text = file.create("shop", per_minute=7)
    other, _ = file.create("crm")

    assert file.find(text) == key
    assert [each.name for each in file.all()] == ["shop", "crm"]
    for wrong in (text[:-1], text + "a", text.replace(key.id, other.id), f"dc_{key.id}_", "dc_", "", "Ünïcode_\0_x"):
        assert file.find(wrong) is None

    assert file.revoke(key.id).name == "shop"
    assert file.find(text) is None
    assert [each.revoked for each in file.all()] == [True, False]
    with pytest.raises(SettingsError, match="keys list"):
        file.revoke(key.id)


def test_the_file_is_its_owners_alone_and_holds_no_secret(file: KeyFile) -> None:
    _, text = file.create("shop")

    assert file.path.stat().st_mode & 0o777 == 0o600
    assert text.split("_", 2)[-1].encode() not in file.path.read_bytes()
    (row,) = sqlite3.connect(file.path).execute("select salt, derived from keys")
    assert [len(each) for each in row] == [16, 64]


def test_a_key_without_a_name_is_refused_and_nothing_is_made(file: KeyFile) -> None:
    with pytest.raises(SettingsError, match="name"):
        file.create(" ")

    assert not file.path.exists()
    assert file.all() == []


def test_a_file_of_something_else_is_named_and_left_as_it_is(file: KeyFile) -> None:
    file.path.parent.mkdir()
    file.path.write_text("my diary " * 100)

    for use in (file.all, lambda: file.create("shop"), lambda: file.find("dc_0_0")):
        with pytest.raises(SettingsError, match=r"keys\.sqlite cannot be read"):
            use()
    assert file.path.read_text().startswith("my diary")


def test_who_knows_no_key_costs_nothing_to_refuse(file: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.create("shop")

    def derived(*_: object, **__: object) -> bytes:
        raise AssertionError("it was derived")

    monkeypatch.setattr(module.hashlib, "scrypt", derived)
    assert file.find("dc_00000000_guess") is None


def test_keys_are_asked_for_from_the_first_on_and_never_again_not(
    file: KeyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REMEMBERED_SECONDS", 0.0)
    keys = Keys(file)
    assert not keys.wanted

    key, _ = file.create("shop")
    assert keys.wanted
    file.revoke(key.id)
    assert Keys(file).wanted


def test_what_was_good_stays_so_for_seconds_and_no_longer(file: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    key, text = file.create("shop")
    keys = Keys(file)
    assert keys.find(text) == key

    file.revoke(key.id)
    assert keys.find(text) == key
    monkeypatch.setattr(module.time, "monotonic", lambda: 1e12)
    assert keys.find(text) is None


def test_the_environment_gives_keys_too(file: KeyFile) -> None:
    keys = Keys(file, "0123456789abcdef, fedcba9876543210,")

    assert keys.wanted
    found = [keys.find(text) for text in ("0123456789abcdef", "fedcba9876543210", "0123456789abcdeg")]
    assert [bool(each) for each in found] == [True, True, False]
    assert "0123456789abcdef" not in repr(vars(keys))


def test_a_key_of_the_environment_that_could_be_guessed_is_refused_without_repeating_it(file: KeyFile) -> None:
    with pytest.raises(SettingsError, match="16 characters") as refused:
        Keys(file, "0123456789abcdef,guess-me")

    assert "guess-me" not in str(refused.value)


def test_the_door_tells_strangers_from_guests_and_counts_each_guest(file: KeyFile) -> None:
    assert status(Door(Keys(file)), "") == 200

    _, few = file.create("few", per_minute=2)
    _, many = file.create("many")
    door = Door(Keys(file))
    early_in_a_minute()
    assert [status(door, each) for each in ("", few, f"Basic {few}", "Bearer", "Bearer dc_0000_x")] == [401] * 5
    assert [status(door, f"Bearer {few}") for _ in range(3)] == [200, 200, 429]
    refused = door.refused("GET /v1/items", f"bearer  {few}")
    assert refused is not None
    assert 1 <= refused.retry_seconds <= 60
    assert status(door, f"Bearer {many}") == 200
    assert [
        door.refused(f"GET {path}", "") is None for path in ("/healthz", "/openapi.json", "/", "/v1", "//v1/predict")
    ] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_a_key_opens_what_its_scope_says_and_no_more(file: KeyFile) -> None:
    _, shop = file.create("shop")
    _, till = file.create("till", scope="events")
    _, operator = file.create("operator", scope="admin")
    door = Door(Keys(file, "0123456789abcdef,admin:fedcba9876543210,events:till-till-till-till"))
    everybody = {
        "POST /v1/predict": {shop},
        "POST /v1/customers/risk": {shop},
        "GET /v1/items": {shop},
        "POST /v1/feedback": {shop, till},
        "POST /v1/events": {till},
        "GET /v1/status": set(),
        "POST /v1/customers": set(),
        "POST /v1/customers/": set(),
        "POST /v1/customers/record": set(),
        "GET /v1/customers/risk": set(),
        "POST /v1/customers/c1": set(),
    }

    for route, let_in in everybody.items():
        assert [status(door, f"Bearer {key}", route) for key in (operator, "fedcba9876543210")] == [200, 200]
        assert {key for key in (shop, till) if status(door, f"Bearer {key}", route) == 200} == let_in, route
        assert status(door, "Bearer 0123456789abcdef", route) == (200 if shop in let_in else 403)
        assert status(door, "Bearer till-till-till-till", route) == (200 if till in let_in else 403)
        assert status(door, "", route) == 401


@pytest.mark.parametrize(
    ("sites", "open_", "expected"),
    [
        ([], False, 200),
        (["127.0.0.1:8000"], False, 200),
        (["localhost:8000", "http://localhost:8000"], False, 200),
        (["[::1]:8000", "http://[::1]:8000"], False, 200),
        (["127.0.0.1:8000", "https://evil.example"], False, 403),
        (["127.0.0.1:8000", "http://127.0.0.1.evil.example:8000"], False, 403),
        (["127.0.0.1:8000", "null"], False, 403),
        (["127.0.0.1:8000", "http://[::1"], False, 403),
        (["rebound.example:8000"], False, 403),
        (["shop.example", "https://shop.example"], True, 200),
    ],
)
def test_without_keys_no_page_of_another_site_may_ask(
    file: KeyFile, sites: list[str], open_: bool, expected: int
) -> None:
    door = Door(Keys(file), open_)

    refused = asyncio.run(door.refuses("POST /v1/events", "", sites))
    assert (refused.status if refused else 200) == expected
    assert asyncio.run(door.refuses("GET /docs/start.js", "", sites)) is None

    _, key = file.create("shop")
    assert Door(Keys(file)).refused("POST /v1/predict", f"Bearer {key}", sites) is None  # whoever has a key may ask


def test_who_is_known_does_not_wait_for_those_who_guess(file: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    _, text = file.create("shop")
    door, guessed, go_on = Door(Keys(file)), threading.Event(), threading.Event()
    assert status(door, f"Bearer {text}") == 200
    derive = module._derived

    def slowly(secret: str, salt: bytes) -> bytes:
        guessed.set()
        assert go_on.wait(30)
        return derive(secret, salt)

    async def both() -> list[Problem | None]:
        guess = asyncio.create_task(door.refuses("POST /v1/predict", f"Bearer {text}x"))
        await asyncio.to_thread(guessed.wait, 30)
        known = await door.refuses("POST /v1/predict", f"Bearer {text}")
        go_on.set()
        return [known, await guess]

    monkeypatch.setattr(module, "_derived", slowly)
    known, guess = asyncio.run(both())
    assert known is None
    assert guess
    assert guess.status == 401


def test_of_those_who_guess_only_some_wait_and_a_key_is_derived_once_for_all_who_show_it(
    file: KeyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, text = file.create("shop")
    door, derived, derive = Door(Keys(file)), [], module._derived
    asked = [f"Bearer {text}"] * 50 + [f"Bearer {text}{number}" for number in range(50)]

    async def all_at_once() -> list[Problem | None]:
        return await asyncio.gather(*(door.refuses("POST /v1/predict", each) for each in asked))

    monkeypatch.setattr(module, "_derived", lambda *given: derived.append(given) or derive(*given))
    answers = asyncio.run(all_at_once())
    assert answers[:50] == [None] * 50
    assert [each and each.status for each in answers[50:]] == [401] * (MOST_DERIVED - 1) + [429] * (51 - MOST_DERIVED)
    assert len(derived) == MOST_DERIVED
    assert asyncio.run(door.refuses("POST /v1/predict", asked[-1])).status == 401


def test_keys_made_before_there_were_scopes_may_ask_for_predictions(file: KeyFile) -> None:
    _, text = file.create("shop", scope="admin")
    with sqlite3.connect(file.path) as database:
        database.execute("alter table keys drop column scope")

    (key,) = file.all()
    assert key.scope == "predict"
    assert file.find(text) == key
    assert file.create("operator", scope="admin")[0] == file.all()[1]
