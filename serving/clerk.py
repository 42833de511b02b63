"""Who keeps the log of events for an ingress, beside its event loop."""

import asyncio
import json
import logging
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from sqlalchemy.engine import URL

from demand.errors import ConflictError, LogError, LogFullError, RecordError
from demand.events.log import CONNECTIONS, EventLog
from demand.moments import moment
from serving.events import AppendedResponse, EventsRequest, FeedbackRecord, FeedbackRequest
from serving.problems import Problem, refused
from serving.schemas import MOST_CUSTOMERS

log = logging.getLogger("ray.serve")
SECONDS = 30.0
"""That a request to the log may take, its waiting included."""
ID, LATER_ID = re.compile(rb'customers?"\s*:\s*(?:\[\s*)?"'), re.compile(rb'\}\s*,\s*"(?:[^"\\]|\\.)*+"\s*[,\]]')
"""A text where a request has a customer, or the first of several; and one in a list, after a record."""
Done = TypeVar("Done")
_as_of = TypeAdapter(datetime | None).validate_python


class Clerk:
    """Reads and writes the log in threads of its own. Every method raises Problem with what a client can do."""

    def __init__(self, url: URL | None) -> None:
        """Without a URL there is no log."""
        self._log = EventLog(url) if url else None
        # One writes, for SQLite lets in no second and PostgreSQL gains little by one; so there are always some to read.
        self._writer, self._readers = ThreadPoolExecutor(1, "writer"), ThreadPoolExecutor(CONNECTIONS - 1, "reader")

    async def take_events(self, body: bytes) -> AppendedResponse:
        """Puts the events of a request into the log."""

        def append(log: EventLog) -> AppendedResponse:
            entries = EventsRequest.model_validate_json(body).entries()
            new = log.append(entries)
            return AppendedResponse(accepted=len(new), known=len(entries) - len(new))

        return await self._with_log(append, writes="events")

    async def take_feedback(self, body: bytes) -> tuple[AppendedResponse, list[FeedbackRecord]]:
        """Puts the feedback of a request into the log, and gives what of it is new."""

        def append(log: EventLog) -> tuple[AppendedResponse, list[FeedbackRecord]]:
            request = FeedbackRequest.model_validate_json(body)
            new = log.append(request.entries())
            told = {each.event_id: each for each in request.feedback if each.event_id in new}
            return AppendedResponse(accepted=len(new), known=len(request.feedback) - len(new)), list(told.values())

        return await self._with_log(append, writes="feedback")

    async def look_up(self, body: bytes, seconds: float = SECONDS) -> bytes:
        """A request with records in place of ids; what cannot be read is left to whoever answers.

        Args:
            seconds: that are left for it.
        """
        if self._log is None or not names_ids(body):
            return body
        return await self._with_log(lambda log: _with_records(body, log), seconds=seconds)

    async def record(self, customer_id: str) -> bytes:
        """JSON of a customer's record, with all that is known by now."""
        now = moment(datetime.now(UTC))
        found = await self._with_log(lambda log: log.records([customer_id], now))
        if customer_id not in found:
            raise Problem(404, "the log of events has no such customer")
        return found[customer_id].encode()

    async def customer_ids(self, after: str, limit: int) -> list[str]:
        """Ids of customers in order, from behind `after` on."""
        return await self._with_log(lambda log: log.customer_ids(after, limit))

    async def _with_log(self, work: Callable[[EventLog], Done], writes: str = "", seconds: float = SECONDS) -> Done:
        """`writes`: the field of the request that is written, if any is; its places are those of a conflict."""
        if self._log is None:
            raise Problem(404, "this endpoint keeps no log of events: demandcast serve --events URL")
        threads = self._writer if writes else self._readers
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.get_running_loop().run_in_executor(threads, work, self._log)
        except ValidationError as error:
            raise refused(error) from None
        except RecordError as error:
            raise Problem(422, str(error), [{"field": error.field, "reason": error.reason}]) from None
        except ConflictError as error:
            reason = "is known with another content"
            named = [{"field": f"{writes}.{place}.event_id", "reason": reason} for place in error.places]
            raise Problem(409, f"{named[0]['field']}: {reason}; nothing was taken", named) from None
        except LogFullError:
            raise Problem(507, "the log of events is full; nothing was taken") from None
        except (LogError, TimeoutError) as error:
            log.error("the log of events: %s", str(error) or "no answer in time")
            raise Problem(503, "the log of events cannot be used now; to send the same again is safe") from None


def names_ids(body: bytes) -> bool:
    """Whether a request may have ids in place of records: it is not parsed, which would cost every request."""
    return bool(ID.search(body) or (b'"customers"' in body and LATER_ID.search(body)))


def _with_records(body: bytes, log: EventLog) -> bytes:
    """Raises RecordError where the log has nothing of a customer before the moment asked about, or too much, or a
    customer is named twice."""
    try:
        asked = json.loads(body)
        as_of = _as_of(asked.get("as_of")) or datetime.now(UTC)
    except (ValueError, RecursionError, AttributeError):
        return body
    named = _ids(asked)
    if not named:
        return body
    places = {customer_id: path for path, customer_id in reversed(named.items())}
    if again := [path for path, customer_id in named.items() if path != places[customer_id]]:
        raise RecordError(again[0], f"is the same as {places[named[again[0]]]}")
    records = log.records(list(places), moment(as_of))
    for path, customer_id in named.items():
        if customer_id not in records:
            raise RecordError(path, "has no event before as_of in the log of events")
    texts = {name: json.dumps(value) for name, value in asked.items()}
    if "customer" in named:
        texts["customer"] = records[named["customer"]]
    else:
        customers = (records[each] if isinstance(each, str) else json.dumps(each) for each in asked["customers"])
        texts["customers"] = f"[{', '.join(customers)}]"
    return f"{{{', '.join(f'{json.dumps(name)}: {text}' for name, text in texts.items())}}}".encode()


def _ids(asked: dict[str, Any]) -> dict[str, str]:
    """Ids that stand where a record may, by their path; of more customers than a request may name, none."""
    one, many = asked.get("customer"), asked.get("customers")
    if isinstance(one, str):
        return {"customer": one}
    if isinstance(many, list) and len(many) <= MOST_CUSTOMERS:
        return {f"customers.{place}": each for place, each in enumerate(many) if isinstance(each, str)}
    return {}
