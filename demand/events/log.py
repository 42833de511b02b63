"""The log itself: what is appended is on disk before anybody is told so, and there once, however often it is said."""

import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy import Connection, Engine, Select, String, func
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from demand.errors import ConflictError, LogError, LogFullError, RecordError, SettingsError
from demand.events.model import LONGEST_ID, Entry, Event, Feedback, Kind
from demand.moments import iso

BUSY_SECONDS = 5
"""For which a writer waits for another, or for a server's answer."""
CONNECTIONS = 8
RECORD_EVENTS, RECORD_BYTES = 10_000, 1 << 20
"""Of each kind in a customer's record, the newest; as many as a request may hold."""
RECORDS_BYTES = 32 << 20
"""Of all records that are asked for at once."""
READ_ROWS = 5_000
"""At a time, where all are read."""
PARTS: dict[Kind, str] = {"order": "purchase_history", "browsing": "browsing_history", "review": "reviews"}
"""Of a customer's record, by the kind of event."""
SURROGATE = re.compile("[\ud800-\udfff]")
_INSERT: dict[str, Callable[..., Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_DISK_FULL = ("SQLITE_FULL", "53100")
"""SQLite's name for it, and PostgreSQL's."""


def log_url(text: str) -> URL:
    """Where a log is: postgresql://USER@HOST/NAME, sqlite:///FILE, or the path of such a file.

    Raises:
        SettingsError: it is neither, or PostgreSQL's driver is not installed.
    """
    try:
        url = make_url(text if "://" in text else f"sqlite:///{text}")
    except (ArgumentError, ValueError):
        url = URL.create("")
    if url.get_backend_name() == "sqlite" and url.database and not url.host:
        return URL.create("sqlite", database=str(Path(url.database).resolve()))
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise SettingsError("a log of events is at postgresql://USER@HOST/NAME or sqlite:///FILE")
    if find_spec("psycopg") is None:
        raise SettingsError("a log in PostgreSQL needs its driver: pip install 'demandcast[postgresql]'")
    return url.set(drivername="postgresql+psycopg")


@dataclass(frozen=True)
class Count:
    """How much of one kind there is; `first` and `last` are moments."""

    kind: str
    rows: int
    first: int
    last: int


class EventLog:
    """A log at a URL. Any number of processes may use it at once."""

    def __init__(self, url: URL, make: bool = True) -> None:
        """Opens nothing yet.

        Args:
            make: whether a log that is not there is made with its first use.
        """
        self.url = url
        self._opening, self._open, self._make = threading.Lock(), False, make
        self._engine = _engine(url)

    def append(self, entries: Sequence[Entry]) -> set[str]:
        """Puts entries of one table into the log, all or none; returns the ids of those that it did not hold before.

        They are on disk when this returns.

        Raises:
            ConflictError: an id is known with another content.
            LogFullError, LogError: the log took none of them, or was cut off before it could say so; to append them
                again is safe.
        """
        table = type(entries[0])
        mine: dict[str, dict[str, Any]] = {}
        conflicts = set()
        for place, entry in enumerate(entries):
            content = entry.columns
            if not _same(mine.setdefault(entry.event_id, content), content):
                conflicts.add(place)
        # In one order, so that no two writers wait for each other.
        add = _INSERT[self.url.get_backend_name()](table).on_conflict_do_nothing().returning(table.event_id)
        with self._connection() as connection, connection.begin():
            new = set(connection.execute(add, [mine[each] for each in sorted(mine)]).scalars())
            known = sql.select(table.__table__).where(table.event_id.in_(mine.keys() - new))
            others = {
                row["event_id"] for row in connection.execute(known).mappings() if not _same(mine[row["event_id"]], row)
            }
            conflicts |= {place for place, entry in enumerate(entries) if entry.event_id in others}
            if conflicts:
                raise ConflictError(sorted(conflicts))
        return new

    def records(self, customer_ids: Sequence[str], before: int) -> dict[str, str]:
        """What was known of customers at a moment, by id: JSON of a record as requests hold it.

        The newest RECORD_EVENTS events of each kind are in it, or as many as RECORD_BYTES hold. Who has no event before
        the moment is left out. No text is parsed, so that asking by id costs an endpoint little.

        Raises:
            RecordError: they are more than RECORDS_BYTES together.
            LogError: the log cannot be read.
        """
        found: dict[str, str] = {}
        size = 0
        with self._connection() as connection:
            for customer_id in dict.fromkeys(customer_ids):
                parts = {
                    kind: connection.execute(
                        _NEWEST, {"customer_id": customer_id, "kind": kind, "before": before}
                    ).all()
                    for kind in (*PARTS, "profile")
                    if _storable(customer_id)
                }
                if any(parts.values()):
                    found[customer_id] = _record(customer_id, parts)
                    size += len(found[customer_id])
                    if size > RECORDS_BYTES:
                        raise RecordError("customers", f"have more than {RECORDS_BYTES >> 20} MiB of events together")
        return found

    def customer_ids(self, after: str, limit: int) -> list[str]:
        """Ids of customers in the log, in order, from behind `after` on. Raises LogError."""
        if not _storable(after):
            return []
        ids = sql.select(Event.customer_id).distinct().where(Event.customer_id > after)
        with self._connection() as connection:
            return list(connection.scalars(ids.order_by(Event.customer_id).limit(limit)))

    def events(self, kind: Kind) -> Iterator[Sequence[sql.RowMapping]]:
        """All events of a kind, by customer, oldest first, some at a time; those that come meanwhile are not among
        them. Raises LogError."""
        chosen = sql.select(Event.__table__).where(Event.kind == kind).order_by(*_ORDER)
        with self._connection() as connection:
            yield from connection.execution_options(yield_per=READ_ROWS).execute(chosen).mappings().partitions()

    def feedback(self, since: int, before: int) -> Iterator[sql.RowMapping]:
        """What became of predictions within a period, as Feedback's columns. Raises LogError."""
        chosen = sql.select(Feedback.__table__).where(Feedback.ts >= since, Feedback.ts < before)
        with self._connection() as connection:
            yield from connection.execution_options(yield_per=READ_ROWS).execute(chosen).mappings()

    def counts(self) -> list[Count]:
        """How many events of each kind there are, and how much feedback. Raises LogError."""
        found = []
        with self._connection() as connection:
            for table, kind in ((Event, Event.kind), (Feedback, sql.literal("feedback"))):
                numbers = sql.select(kind, func.count(), func.min(table.ts), func.max(table.ts)).group_by(kind)
                found += [Count(*row) for row in connection.execute(numbers.order_by(kind))]
        return found

    def size(self) -> int:
        """Bytes on disk. Raises LogError."""
        if self.url.get_backend_name() == "sqlite":
            file = Path(self.url.database or "")
            return sum(each.stat().st_size for each in (file, Path(f"{file}-wal")) if each.exists())
        tables = [func.pg_total_relation_size(each.__tablename__) for each in (Event, Feedback)]
        with self._connection() as connection:
            return int(connection.scalar(sql.select(sum(tables, sql.literal(0)))) or 0)

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """Every error of the database comes out as one line that holds nothing of what is logged."""
        try:
            with self._opening:
                if not self._open:
                    _make(self._engine) if self._make else _check_there(self.url)
                    self._open = True
            with self._engine.connect() as connection:
                yield connection
        except (SQLAlchemyError, OSError) as error:
            raise _told(error) from None


def _engine(url: URL) -> Engine:
    """Connections whose commits are on disk when they return."""
    options: dict[str, Any] = {"pool_size": CONNECTIONS, "max_overflow": 0, "pool_timeout": BUSY_SECONDS}
    if url.get_backend_name() == "sqlite":
        engine = sql.create_engine(url, connect_args={"timeout": BUSY_SECONDS}, **options)
        # Readers go on beside a writer in a write-ahead log; FULL writes it through to the disk at each commit.
        settings: tuple[str, ...] = ("pragma journal_mode = wal", "pragma synchronous = full")
    else:
        wait = {"connect_timeout": BUSY_SECONDS, "tcp_user_timeout": BUSY_SECONDS * 1_000}
        engine = sql.create_engine(url, connect_args=wait, pool_pre_ping=True, **options)
        settings = (
            "select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'",
        )

    @sql.event.listens_for(engine, "connect")
    def _set(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        for setting in settings:
            cursor.execute(setting)
        cursor.close()
        connection.commit()

    return engine


def _make(engine: Engine) -> None:
    """The tables, where they are not there yet. A file is its owner's alone; SQLite makes those beside it alike."""
    if engine.url.get_backend_name() == "sqlite":
        file = Path(engine.url.database or "")
        file.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
    try:
        Entry.metadata.create_all(engine)
    except DBAPIError:  # another process has just made them
        Entry.metadata.create_all(engine)


def _check_there(url: URL) -> None:
    """SQLite would make an empty file; PostgreSQL says itself what is missing."""
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise FileNotFoundError(f"there is no file {url.database}")


def _storable(customer_id: str) -> bool:
    """Whether the log could hold it at all: databases know no lone surrogates, and PostgreSQL no zero bytes."""
    return len(customer_id) <= LONGEST_ID and "\0" not in customer_id and SURROGATE.search(customer_id) is None


def _same(one: Any, other: Any) -> bool:
    """Whether two rows tell the same, whenever they came."""
    return all(one[name] == other[name] for name in one if name != "received")


_ORDER = (Event.customer_id, Event.ts, Event.received, Event.event_id)


def _newest() -> Select[Any]:
    """Moments and bodies of a customer's newest events of a kind, oldest first; profiles replace each other."""
    body = sql.cast(Event.body, String).label("body")
    last = sql.select(Event.ts, Event.received, Event.event_id, body)
    last = last.where(Event.customer_id == sql.bindparam("customer_id"), Event.kind == sql.bindparam("kind"))
    last = last.where(Event.ts < sql.bindparam("before")).limit(RECORD_EVENTS)
    rows = last.order_by(*(each.desc() for each in (Event.ts, Event.received, Event.event_id))).subquery()
    order = (rows.c.ts, rows.c.received, rows.c.event_id)
    so_far = func.sum(func.length(rows.c.body)).over(order_by=[each.desc() for each in order], rows=(None, 0))
    sized = sql.select(*order, rows.c.body, so_far.label("size")).subquery()
    chosen = sql.select(sized.c.ts, sized.c.body).where(sized.c.size <= RECORD_BYTES)
    return chosen.order_by(sized.c.ts, sized.c.received, sized.c.event_id)


_NEWEST = _newest()


def _record(customer_id: str, parts: dict[Any, Sequence[Any]]) -> str:
    written = [f'"customer_id": {json.dumps(customer_id)}']
    for kind, name in PARTS.items():
        events = ", ".join(f'{{"ts": "{iso(ts)}", {body[1:]}' for ts, body in parts[kind])
        written.append(f'"{name}": [{events}]')
    attributes = json.loads(parts["profile"][-1].body)["attributes"] if parts["profile"] else {}
    written.append(f'"demographic_info": {json.dumps(attributes)}')
    return f"{{{', '.join(written)}}}"


def _told(error: Exception) -> LogError:
    cause = getattr(error, "orig", None) or error
    code = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None)
    if code in _DISK_FULL or getattr(cause, "errno", None) == 28:
        return LogFullError("the log of events is full: its disk has no room")
    said = str(cause).strip().splitlines() or [type(cause).__name__]
    return LogError(f"the log of events cannot be used now: {said[0]}")
