"""Moments in time: whole microseconds since 1970-01-01 UTC, as plain integers, the way Arrow stores them."""

from datetime import UTC, datetime, timedelta

from demand.errors import DataError

SECOND = 1_000_000
DAY = 86_400 * SECOND
WEEK = 7 * DAY
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(when: datetime | str) -> int:
    """The moment of a datetime or ISO 8601 text; one without a zone is read as UTC.

    Raises DataError where the text is no date.
    """
    if isinstance(when, str):
        try:
            when = datetime.fromisoformat(when)
        except ValueError:
            raise DataError(f"'{when}' is not a date: write it like 2017-12-04 or 2017-12-04T08:30:00Z") from None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return (when - _EPOCH) // timedelta(microseconds=1)


def iso(ts: int) -> str:
    """ISO 8601 text of a moment, in UTC with a trailing Z."""
    return (_EPOCH + timedelta(microseconds=ts)).isoformat().replace("+00:00", "Z")
