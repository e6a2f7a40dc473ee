"""A store that is filled with resources of a test's choice, without messages that ask for them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from gateway.fhir import json
from gateway.fhir.search import tokens_of
from gateway.store import inbox, resources, search_keys
from gateway.store.database import Connection, Database
from gateway.store.inbox import Arrival
from gateway.store.resources import Row, Version


def keep(
    database: Database, kept: Sequence[dict[str, Any]], moments: Iterable[datetime], sender: str = "hospital"
) -> list[Row]:
    """Keeps each as a new resource made by one message, changed at its moment; those as they are kept."""
    rows: list[Row] = []
    with database.transaction() as connection:
        message_id = add_message(connection)
        for ordinal, (resource, moment) in enumerate(zip(kept, moments, strict=True)):
            number = resources.number_of(message_id, ordinal)
            content = json.serialize(resource)
            row = Row(str(resource["id"]), str(resource["resourceType"]), 1, sender, number, content)
            resources.write(connection, [Version(row, message_id, moment)])
            rows.append(row)
        search_keys.change(connection, {row.number: tokens_of(json.parse_own(row.content)) for row in rows}, {})
    return rows


def add_message(connection: Connection, lane: str = "a lane") -> int:
    moment = datetime.fromisoformat("2024-01-01T00:00:00+00:00")
    arrival = Arrival(
        sender="hospital",
        bundle_id=None,
        header_id=None,
        bundle_key=uuid.uuid4().bytes,
        header_key=None,
        event_system=None,
        event_code="new-order",
        lane=lane,
        content_hash=b"",
        media_type="application/fhir+json",
        body=b"{}",
        reply_format="json",
        reply_to=None,
        later=False,
        request_id="test",
        received_at=moment,
        state="done",
    )
    added = inbox.add(connection, arrival)
    assert added is not None
    return added
