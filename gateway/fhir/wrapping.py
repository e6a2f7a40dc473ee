"""What is put around a resource that came by REST, so that it is a message and goes the way of all messages.

The body stays as it came. What the request said beside it (who called, create or update, which address, `If-Match`) is
the wrapping: kept with the body, it makes the same Bundle of it whenever the message is read.
https://hl7.org/fhir/R4/http.html#create, https://hl7.org/fhir/R4/http.html#update
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.fhir import json
from gateway.fhir.definitions import Version
from gateway.fhir.identity import OWN_SYSTEMS
from gateway.fhir.json import Resource
from gateway.fhir.message import Event, instant
from gateway.fhir.references import rewrite
from gateway.fhir.versions import from_r4

NEW_ORDER = Event("http://hl7.org/fhir/uv/cow/CodeSystem/temp", "new-order")
ORDER_UPDATE = Event("http://hl7.org/fhir/uv/cow/CodeSystem/temp", "order-update")
RESOURCE_UPDATE = Event(f"{OWN_SYSTEMS}message-event", "resource-update")

_RELATIVE = re.compile(r"[A-Z][A-Za-z]{1,63}/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?")
_NAMESPACE = uuid.UUID("5b1d2a54-6a0c-4a7e-9a3e-0f3c8a7f1d10")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the endpoint of its messages, or one in its stead, and the system and value that it is known by."""

    endpoint: str
    identifier: tuple[str, str] | None = None

    @property
    def sender(self) -> str:
        """As `Message.sender` has it of a message of this caller."""
        return " ".join(filter(None, (self.endpoint, "|".join(filter(None, self.identifier or ())))))


@dataclass(frozen=True, slots=True)
class Wrapping:
    """The Bundle's id, the MessageHeader, and what to do to the resource.

    `version_id` is the version that `If-Match` names; `resource` what the body made of the kept one, when that is a
    patch. References relative to `base_url`, our own, are written out.
    """

    bundle_id: str
    header: Resource
    base_url: str
    version_id: str | None = None
    resource: Resource | None = None

    @property
    def full_url(self) -> str:
        url: str = self.header["focus"][0]["reference"]
        return url

    @property
    def is_update(self) -> bool:
        return self.full_url.startswith(f"{self.base_url}/")

    def write(self) -> str:
        """The text to keep: see `read`."""
        said = {"bundleId": self.bundle_id, "header": self.header, "baseUrl": self.base_url}
        optional = {"versionId": self.version_id, "resource": self.resource}
        given = {name: value for name, value in optional.items() if value is not None}
        return json.serialize(said | given).decode()

    @staticmethod
    def read(text: str) -> Wrapping:
        said = json.parse_own(text.encode())
        return Wrapping(said["bundleId"], said["header"], said["baseUrl"], said.get("versionId"), said.get("resource"))

    def bundle(self, resource: Resource, version: Version, received_at: datetime) -> Resource:
        """The message, in the version of FHIR that the resource is in."""
        envelope: Resource = {
            "resourceType": "Bundle",
            "id": self.bundle_id,
            "type": "message",
            "timestamp": instant(received_at),
            "entry": [{"fullUrl": f"urn:uuid:{self.header['id']}", "resource": self.header}],
        }
        bundle, _ = from_r4(envelope, version)
        entry = {"fullUrl": self.full_url, "resource": self._placed(resource)}
        return {**bundle, "entry": [*bundle["entry"], entry]}

    def _placed(self, resource: Resource) -> Resource:
        """The resource as it stands in the message: what only the server says of it is not taken from the body."""
        placed = rewrite(resource, lambda literal: f"{self.base_url}/{literal}" if _is_relative(literal) else None)
        if not self.is_update:
            placed.pop("id", None)
        meta = placed.get("meta", {})
        if isinstance(meta, dict):
            said = {name: value for name, value in meta.items() if name.lstrip("_") not in ("versionId", "lastUpdated")}
            named = {"versionId": self.version_id} if self.version_id is not None else {}
            placed.pop("meta", None)
            placed |= {"meta": said | named} if said or named else {}
        return placed


def wrapping_for(
    caller: Caller,
    request_id: str,
    event: Event,
    *,
    base_url: str,
    endpoint: str,
    address: str | None = None,
    version_id: str | None = None,
    resource: Resource | None = None,
) -> Wrapping:
    """The wrapping of a request: an update of what is at `address` (`Type/id`), else a create.

    Its ids come from the caller and the id of its request, so that the same request again is the same message.
    """
    ids = [_derived(what, caller, request_id) for what in ("bundle", "header", "entry")]
    header: Resource = {
        "resourceType": "MessageHeader",
        "id": ids[1],
        "eventCoding": {"system": event.system, "code": event.code},
        "destination": [{"endpoint": endpoint}],
        **_sender(caller),
        "source": {"endpoint": caller.endpoint},
        "focus": [{"reference": f"{base_url}/{address}" if address else f"urn:uuid:{ids[2]}"}],
    }
    return Wrapping(ids[0], header, base_url, version_id, resource)


def own_words(outcome: Resource, resource_type: str) -> Resource:
    """An OperationOutcome about a wrapped resource as one about the resource, which is all that its sender knows."""
    path = re.compile(r"\bBundle\.entry\[1\](?:\.resource)?")
    issues: list[dict[str, Any]] = []
    for issue in outcome["issue"]:
        details = {**issue["details"], "text": path.sub(resource_type, issue["details"]["text"])}
        told = {**issue, "details": details}
        places = [path.sub(resource_type, place) for place in issue.get("expression", [])]
        told.pop("expression", None)
        issues.append(told | ({"expression": own} if (own := [p for p in places if not _is_ours(p)]) else {}))
    return {**outcome, "issue": issues}


def _is_relative(literal: str) -> bool:
    return _RELATIVE.fullmatch(literal) is not None


def _is_ours(place: str) -> bool:
    return place == "Bundle" or place.startswith(("Bundle.entry", "Bundle.id", "MessageHeader"))


def _sender(caller: Caller) -> Resource:
    if caller.identifier is None:
        return {}
    system, value = caller.identifier
    return {"sender": {"identifier": {"system": system, "value": value} if system else {"value": value}}}


def _derived(what: str, caller: Caller, request_id: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, "\n".join((what, caller.sender, request_id))))
