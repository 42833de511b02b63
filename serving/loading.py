"""A dataset's customers as events, as if an endpoint had been told of them."""

import json
from collections import Counter
from hashlib import blake2b
from typing import Any

from pydantic import TypeAdapter, ValidationError

from demand.customer import Customer
from demand.errors import DataError
from demand.events.log import PARTS
from demand.events.model import Event, Kind
from demand.moments import moment
from serving.problems import invalid
from serving.schemas import CustomerRecord, Id

_id = TypeAdapter(Id).validate_python


def events_of(customer: Customer, since: int) -> list[Event]:
    """What a customer did, and who it is from a moment on. Ids are made of the content: the same customer has the same.

    Raises:
        DataError: something is larger than a request may hold.
    """
    try:
        record = CustomerRecord.of(customer)
        _id(customer.customer_id)
    except ValidationError as error:
        problem = invalid(error.errors(include_url=False, include_input=False))
        raise DataError(f"customer {customer.customer_id!r}: {problem.detail}") from None
    contents: list[tuple[Kind, int, dict[str, Any]]] = [
        (kind, moment(each.ts), each.model_dump(mode="json", exclude={"ts"}))
        for kind, part in PARTS.items()
        for each in getattr(record, part)
    ]
    if record.demographic_info:
        contents.append(("profile", since, {"attributes": record.demographic_info}))
    alike: Counter[str] = Counter()
    events = []
    for kind, ts, body in contents:
        content = json.dumps([customer.customer_id, kind, ts, body])
        alike[content] += 1  # what happened twice at a moment happened twice
        event_id = blake2b(f"{content} {alike[content]}".encode(), digest_size=16).hexdigest()
        events.append(Event(event_id, customer.customer_id, kind, ts, body))
    return events
