"""The tables of the log, the same for SQLite and PostgreSQL."""

import time
from typing import Any, Literal

from sqlalchemy import JSON, BigInteger, Index, String
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column

Kind = Literal["order", "review", "browsing", "profile"]
LONGEST_ID = 256
Id = String(LONGEST_ID).with_variant(String(LONGEST_ID, collation="C"), "postgresql")
"""In the order of code points everywhere, whatever a server's language is."""


def _now() -> int:
    return time.time_ns() // 1_000


class Entry(MappedAsDataclass, DeclarativeBase):
    """A row of the log; rows are appended, and never changed.

    Attributes:
        event_id: the sender's; the same one is the same entry.
    """

    event_id: Mapped[str] = mapped_column(Id, primary_key=True)
    customer_id: Mapped[str] = mapped_column(Id)

    @property
    def columns(self) -> dict[str, Any]:
        """Every column's value, by its name."""
        return {column.name: getattr(self, column.name) for column in type(self).__table__.columns}


class Event(Entry):
    """What a customer did, or who a customer is.

    Attributes:
        ts: when it happened, in microseconds (demand.moments).
        body: what a record's part of the kind holds beside its `ts`: an order's `items`; `item_id`, `rating` and `text`
            of a review; `action`, `item_id` and `text` of browsing; a profile's `attributes`, all that are known.
        received: when it came into the log, in microseconds.
    """

    __tablename__ = "events"
    __table_args__ = (Index("events_by_customer", "customer_id", "kind", "ts"),)

    kind: Mapped[Kind] = mapped_column(String(16))
    ts: Mapped[int] = mapped_column(BigInteger)
    body: Mapped[dict[str, Any]] = mapped_column(JSON)
    received: Mapped[int] = mapped_column(BigInteger, default_factory=_now)


class Feedback(Entry):
    """What became of a prediction: which items of it were shown, and what the customer bought.

    Attributes:
        ts: when it was known, in microseconds.
        received: when it came into the log, in microseconds.
    """

    __tablename__ = "feedback"

    model: Mapped[str] = mapped_column(String)
    version: Mapped[int]
    ts: Mapped[int] = mapped_column(BigInteger)
    shown: Mapped[list[str]] = mapped_column(JSON)
    bought: Mapped[list[str]] = mapped_column(JSON)
    received: Mapped[int] = mapped_column(BigInteger, default_factory=_now)
