"""API keys: who may ask, what, and how often.

A key is `dc_ID_SECRET`. The file holds what scrypt (Percival, 2009; RFC 7914) makes of each secret, never a secret.
"""

import hashlib
import hmac
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from demand.errors import SettingsError

Scope = Literal["predict", "events", "admin"]
"""predict asks for predictions, and for what an application must know of model and items; events tells what customers
did, and asks nothing; admin may do everything."""
ENVIRONMENT = "DEMANDCAST_API_KEYS"
"""Keys beside those of the file, with commas between: SECRET, which may predict, or SCOPE:SECRET."""
REMEMBERED_SECONDS = 5.0
"""For which a key that was revoked may be good still. What was derived once is not derived again."""
MOST_REMEMBERED = 10_000
PER_MINUTE = 6_000
SHORTEST_SECRET = 16
SCRYPT = {"n": 2**14, "r": 8, "p": 1}


@dataclass(frozen=True)
class Key:
    """What is known of a key.

    Attributes:
        id: part of the key itself.
        per_minute: requests that it may make.
        created: ISO 8601.
    """

    id: str
    name: str
    per_minute: int
    created: str
    scope: Scope = "predict"
    revoked: bool = False


class KeyFile:
    """Keys in an SQLite file that only its owner can read; it is made with the first key."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self, name: str, per_minute: int = PER_MINUTE, scope: Scope = "predict") -> tuple[Key, str]:
        """A new key, and the text of it, which nothing can tell again.

        Raises:
            SettingsError: a name of nothing.
        """
        if not name.strip():
            raise SettingsError("a key needs a name, by which it can be told from others")
        key = Key(secrets.token_hex(4), name, per_minute, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", scope)
        secret, salt = secrets.token_urlsafe(32), secrets.token_bytes(16)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        with self._open() as database:
            database.execute(
                "create table if not exists keys (id text primary key, name text, per_minute integer, created text, "
                "revoked integer, salt blob, derived blob, scope text not null default 'predict')"
            )
            _give_scopes(database)
            row = (key.id, name, per_minute, key.created, False, salt, _derived(secret, salt), scope)
            database.execute("insert into keys values (?, ?, ?, ?, ?, ?, ?, ?)", row)
        return key, f"dc_{key.id}_{secret}"

    def all(self) -> list[Key]:
        """Every key, oldest first."""
        if not self.path.exists():
            return []
        with self._open() as database:
            _give_scopes(database)
            rows = database.execute("select id, name, per_minute, created, scope, revoked from keys order by created")
            return [replace(Key(*row[:5]), revoked=bool(row[5])) for row in rows.fetchall()]

    def revoke(self, key_id: str) -> Key:
        """Ends a key for good.

        Raises:
            SettingsError: there is none, or it has ended already.
        """
        found = next((each for each in self.all() if each.id == key_id), None)
        if found is None or found.revoked:
            raise SettingsError(f"no key '{key_id}' is in use: demandcast keys list shows those that are")
        with self._open() as database:
            database.execute("update keys set revoked = 1 where id = ?", (key_id,))
        return found

    def find(self, text: str) -> Key | None:
        """The key that this is the text of, if it is in use.

        Only the secret is compared in constant time, and derived at a price: an id is no secret, and a stranger who
        knows none shall not keep the endpoint busy.
        """
        row = self._row(id_of(text))
        if row and hmac.compare_digest(_derived(text.split("_", 2)[2], row[5]), row[6]):
            return Key(*row[:5])
        return None

    def in_use(self, key_id: str) -> Key | None:
        """The key of an id, if there is one that was not revoked; at no price."""
        row = self._row(key_id)
        return Key(*row[:5]) if row else None

    def _row(self, key_id: str) -> tuple[Any, ...] | None:
        """The fields of a key, and its salt and what was derived of it, if it is in use."""
        if not key_id or not self.path.exists():
            return None
        with self._open() as database:
            _give_scopes(database)
            known = "select id, name, per_minute, created, scope, salt, derived from keys where id = ? and not revoked"
            row: tuple[Any, ...] | None = database.execute(known, (key_id,)).fetchone()
        return row

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self.path)
        try:
            with database:
                yield database
        except sqlite3.DatabaseError as error:
            raise SettingsError(f"{self.path} cannot be read as a file of keys: {error}") from None
        finally:
            database.close()


class Keys:
    """Keys of a file and of the environment, as an endpoint asks for them. It holds no secret."""

    def __init__(self, file: KeyFile | None, environment: str = "") -> None:
        """Raises SettingsError where the environment's keys are not what they should be."""
        self._file = file
        self._given = [_given(each) for each in environment.split(",") if each.strip()]
        self._remembered: dict[bytes, tuple[Key, float]] = {}
        self._wanted, self._look_again = False, 0.0

    @property
    def wanted(self) -> bool:
        """Whether requests need a key: as soon as there ever was one, for no revocation opens a door."""
        if not self._wanted and time.monotonic() >= self._look_again:
            self._wanted = bool(self._given or (self._file and self._file.all()))
            self._look_again = time.monotonic() + REMEMBERED_SECONDS
        return self._wanted

    def has_a_price(self, text: str) -> bool:
        """Whether `find` would derive a secret, for tens of milliseconds: of a key that is in use, and was not found by
        this text before."""
        if not self._file or hashlib.sha256(text.encode()).digest() in self._remembered:
            return False
        return self._file.in_use(id_of(text)) is not None

    def find(self, text: str) -> Key | None:
        """The key that this is the text of, if it is in use."""
        digest = hashlib.sha256(text.encode()).digest()
        known = self._remembered.get(digest)
        if known and time.monotonic() < known[1]:
            return known[0]
        found = next((key for key, expected in self._given if hmac.compare_digest(digest, expected)), None)
        if not found and self._file:
            found = self._file.in_use(known[0].id) if known else self._file.find(text)
        self._remembered.pop(digest, None)
        if found:
            if len(self._remembered) >= MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[digest] = (found, time.monotonic() + REMEMBERED_SECONDS)
        return found


def id_of(text: str) -> str:
    """The part of a key's text that names it; nothing where it is no such text."""
    prefix, _, rest = text.partition("_")
    key_id, _, secret = rest.partition("_")
    return key_id if prefix == "dc" and secret else ""


def _give_scopes(database: sqlite3.Connection) -> None:
    """Keys of a file that was made before there were scopes may ask for predictions."""
    columns = [row[1] for row in database.execute("pragma table_info(keys)")]
    if columns and "scope" not in columns:
        database.execute("alter table keys add column scope text not null default 'predict'")


def _given(text: str) -> tuple[Key, bytes]:
    scope: Scope = "predict"
    secret = text.strip()
    for each in get_args(Scope):
        if secret.startswith(f"{each}:"):
            scope, secret = each, secret.removeprefix(f"{each}:")
            break
    if len(secret) < SHORTEST_SECRET:
        raise SettingsError(f"{ENVIRONMENT}: a key must have {SHORTEST_SECRET} characters or more")
    digest = hashlib.sha256(secret.encode()).digest()
    return Key(f"environment-{digest.hex()[:8]}", ENVIRONMENT, PER_MINUTE, "", scope), digest


def _derived(secret: str, salt: bytes) -> bytes:
    return hashlib.scrypt(secret.encode(), salt=salt, **SCRYPT)
