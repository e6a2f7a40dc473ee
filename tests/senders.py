"""A partner who writes messages: each with fresh ids, unless the test says otherwise."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from gateway.fhir.message import Message, read_message
from gateway.receiving import Submission

COW = "http://hl7.org/fhir/uv/cow/CodeSystem/temp"


def new_id() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True)
class Sender:
    """Knows its own address; `write` makes a Bundle, `submit` what the gateway is handed with it."""

    endpoint: str = "http://hospital.example/fhir"

    def write(
        self,
        event: str,
        *focus: dict[str, Any],
        others: tuple[dict[str, Any], ...] = (),
        header_id: str | None = None,
        bundle_id: str | None = None,
        system: str = COW,
        **header: Any,
    ) -> dict[str, Any]:
        """A message about `focus`; `focus` and `others` get urn:uuid fullUrls unless they have a `_url`."""
        header_id = header_id or new_id()
        entries = [_entry(resource) for resource in (*focus, *others)]
        first = {
            "resourceType": "MessageHeader",
            "id": header_id,
            "eventCoding": {"system": system, "code": event},
            "source": {"endpoint": self.endpoint},
            "destination": [{"name": "gateway", "endpoint": "http://gateway.example/fhir/$process-message"}],
            "focus": [{"reference": entry["fullUrl"]} for entry in entries[: len(focus)]],
            **header,
        }
        if not focus:
            del first["focus"]
        return {
            "resourceType": "Bundle",
            "id": bundle_id or new_id(),
            "type": "message",
            "timestamp": "2026-01-02T03:04:05.678Z",
            "entry": [{"fullUrl": f"urn:uuid:{header_id}", "resource": first}, *entries],
        }


def task(number: str, status: str = "requested", **elements: Any) -> dict[str, Any]:
    """A Task known by the business identifier `number`."""
    return {
        "resourceType": "Task",
        "identifier": [{"system": "http://hospital.example/orders", "value": number}],
        "status": status,
        "intent": "order",
        **elements,
    }


def _entry(resource: dict[str, Any]) -> dict[str, Any]:
    url = resource.get("_url") or f"urn:uuid:{new_id()}"
    return {"fullUrl": url, "resource": {name: value for name, value in resource.items() if name != "_url"}}


def read(bundle: dict[str, Any]) -> Message:
    return read_message(bundle, datetime.now(UTC))


def submission(bundle: dict[str, Any], **changes: Any) -> Submission:
    given = {
        "body": orjson.dumps(bundle),
        "media_type": "application/fhir+json",
        "reply_format": "json",
        "reply_to": None,
        "later": False,
        "request_id": "test",
    }
    return Submission(**given | changes)
