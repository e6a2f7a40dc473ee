"""The parties of a network, and what each can send: one message Bundle for each verb, and what comes of it."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from gateway.fhir.references import rewrite
from tests.handlers import OURSELVES
from tests.journeys.flows.network import REGISTRY, Effect, Named, Network, Told
from tests.senders import COW

Resource = dict[str, Any]

TASK_CODES = "http://hl7.org/fhir/CodeSystem/task-code"
OUR_EVENTS = "urn:x-fhir-gateway:message-event"
MORE_FOCUSES = "http://hl7.org/fhir/4.0/StructureDefinition/extension-Task.focus"
PERFORMER = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Task.performer"
WRITTEN = "2026-03-02T09:10:00+01:00"

NEW_ORDER, UPDATE = (COW, "new-order"), (COW, "order-update")
RESOURCE_UPDATE = (OUR_EVENTS, "resource-update")
CANCELLATION, MODIFICATION = (OUR_EVENTS, "cancellation-request"), (OUR_EVENTS, "modification-request")


def coded(code: str, system: str = COW) -> Resource:
    return {"coding": [{"system": system, "code": code}]}


def because(text: str) -> Resource:
    return {"text": text}


class Party:
    """A partner with its own record of what it has written.

    Elements of what it writes may have a `Named` (a resource) or a `Party` in place of a Reference. What a message
    refers to and its sender has written goes with it in the Bundle; all else is referred to by its identifier.
    One that does not sign (`MessageHeader.sender`) is known by the endpoint that its messages come from.
    """

    def __init__(self, network: Network, name: str) -> None:
        self.network = network
        self.name = name
        self.signs = True
        self._written: dict[Named, Resource] = {}

    def __repr__(self) -> str:
        return self.name

    @property
    def reference(self) -> Resource:
        return {"type": "Organization", "identifier": {"system": REGISTRY, "value": self.name}}

    @property
    def was_told(self) -> Told:
        """What the last message has told this party."""
        return self.network.told[self.name]

    # --- what a party writes down ------------------------------------------------------------------------------------

    def writes(self, kind: str, **elements: Any) -> Named:
        """A resource of this party's own, to be sent along with what refers to it."""
        named = self.network.name(kind)
        self._written[named] = {"identifier": [named.identifier], **elements}
        return named

    def changes(self, named: Named, **elements: Any) -> None:
        """Changes what this party has written, or its own copy of what another one has."""
        before = self._written.get(named) or {"identifier": [named.identifier], **_of_content(named)}
        self._written[named] = before | elements

    def orders(self, *requests: Named, of: Party | None = None, code: str = "fulfill", **elements: Any) -> Named:
        """A Coordination Task that this party has written, not sent yet."""
        first, *others = requests
        said = {
            "status": "requested",
            "intent": "order",
            "code": coded(code, TASK_CODES),
            "focus": first,
            "basedOn": list(requests),
            "requester": self,
            "authoredOn": WRITTEN,
        }
        more = [{"url": MORE_FOCUSES, "valueReference": other} for other in others]
        given = ({"owner": of} if of else {}) | ({"extension": more} if more else {})
        task = said | given | elements
        return self.writes("Task", **{name: value for name, value in task.items() if value is not None})

    def request(self, code: str, about: Named, of: Party, reason: str, **elements: Any) -> Named:
        """A Task that asks another party to `abort`, `suspend`, … what it is about, not sent yet."""
        said = {
            "status": "requested",
            "intent": "order",
            "code": coded(code, TASK_CODES),
            "focus": about,
            "requester": self,
            "owner": of,
            "statusReason": because(reason),
            "authoredOn": WRITTEN,
        }
        return self.writes("Task", **(said | elements))

    # --- what a party sends ------------------------------------------------------------------------------------------

    def places(self, order: Named) -> Effect:
        return self._send(NEW_ORDER, order, self._written[order])

    def publishes(self, named: Named) -> Effect:
        """What this party has changed of its own, by itself: a Request that it has revoked, a report corrected."""
        return self._send(RESOURCE_UPDATE, named, self._written[named])

    def asks(self, request: Named) -> Effect:
        return self._send(_event_of(self._written[request]), request, self._written[request])

    def updates(self, order: Named, status: str | None = None, beside: Iterable[Named] = (), **elements: Any) -> Effect:
        """Sends the Task with its identifier, its status (as it is, unless another is given) and these elements."""
        known = order.content
        task = {"identifier": [order.identifier], "status": status or known["status"], "intent": known["intent"]}
        event = UPDATE
        if _code_of(known) in ("abort", "change", "replace", "suspend", "resume"):
            task["code"], event = known["code"], _event_of(known)
        return self._send(event, order, task | elements, beside)

    def receives(self, task: Named, **elements: Any) -> Effect:
        return self.updates(task, "received", **elements)

    def accepts(self, task: Named, **elements: Any) -> Effect:
        return self.updates(task, "accepted", **elements)

    def rejects(self, task: Named, reason: str, **elements: Any) -> Effect:
        return self.updates(task, "rejected", statusReason=because(reason), **elements)

    def begins(self, order: Named, **elements: Any) -> Effect:
        return self.updates(order, "in-progress", **elements)

    def pauses(self, order: Named, **elements: Any) -> Effect:
        return self.updates(order, "on-hold", **elements)

    def completes(self, order: Named, *outputs: Named, **elements: Any) -> Effect:
        return self.updates(order, "completed", **_output(outputs), **elements)

    def reports(self, order: Named, *outputs: Named, **elements: Any) -> Effect:
        """Outputs of an order that goes on."""
        return self.updates(order, **_output(outputs), **elements)

    def fails(self, order: Named, reason: str, *outputs: Named, **elements: Any) -> Effect:
        return self.updates(order, "failed", statusReason=because(reason), **_output(outputs), **elements)

    def cancels(self, order: Named, reason: str) -> Effect:
        """The Task itself, cancelled; or a request that its own party takes back."""
        return self.updates(order, "cancelled", statusReason=because(reason))

    def declares_an_error(self, task: Named) -> Effect:
        return self.updates(task, "entered-in-error")

    def selects(self, order: Named) -> Effect:
        return self.updates(order, businessStatus=coded("selected"))

    def assigns(self, order: Named, to: Party) -> Effect:
        return self.updates(order, owner=to)

    def _send(self, event: tuple[str, str], focus: Named, task: Resource, beside: Iterable[Named] = ()) -> Effect:
        sent = {focus: task, **{named: self._written[named] for named in beside}}
        ahead = [*sent.values()]
        while ahead:
            for named in _meant(ahead.pop()):
                if named in self._written and named not in sent:
                    sent[named] = self._written[named]
                    ahead.append(self._written[named])
        urls = {named: uuid.uuid4().urn for named in sent}
        entries = [
            {"fullUrl": urls[named], "resource": {"resourceType": named.kind, **_with_references(content, urls)}}
            for named, content in sent.items()
        ]
        return self.network.send(self._bundle(event, urls[focus], entries))

    def _bundle(self, event: tuple[str, str], focus: str, entries: list[Resource]) -> Resource:
        header_id = str(uuid.uuid4())
        header = {
            "resourceType": "MessageHeader",
            "id": header_id,
            "eventCoding": dict(zip(("system", "code"), event, strict=True)),
            "destination": [{"endpoint": OURSELVES.endpoint}],
            **({"sender": self.reference} if self.signs else {}),
            "source": {"endpoint": f"urn:example:{self.name}"},
            "focus": [{"reference": focus}],
        }
        return {
            "resourceType": "Bundle",
            "id": str(uuid.uuid4()),
            "type": "message",
            "timestamp": WRITTEN,
            "entry": [{"fullUrl": f"urn:uuid:{header_id}", "resource": header}, *entries],
        }


def output(kind: str, named: Named) -> Resource:
    return {"type": coded(kind), "valueReference": named}


def _output(outputs: Iterable[Named]) -> Resource:
    found = [output("result", one) for one in outputs]
    return {"output": found} if found else {}


def _code_of(task: Resource) -> str:
    code: str = task["code"]["coding"][0]["code"]
    return code


def _event_of(task: Resource) -> tuple[str, str]:
    return CANCELLATION if _code_of(task) == "abort" else MODIFICATION


def _of_content(named: Named) -> Resource:
    """What another party has written, as one has it who was told of it: with the gateway's addresses."""
    told = rewrite(named.content, lambda reference: f"{OURSELVES.base_url}/{reference}")
    return {name: value for name, value in told.items() if name not in ("resourceType", "id", "meta")}


def _meant(value: Any) -> Iterator[Named]:
    if isinstance(value, Named):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _meant(item)


def _with_references(value: Any, urls: dict[Named, str]) -> Any:
    """What was written, as JSON: a Reference for each `Named` and `Party`."""
    if isinstance(value, Named):
        named = {"type": value.kind, "identifier": value.identifier}
        return {"reference": urls[value]} if value in urls else named
    if isinstance(value, Party):
        return value.reference
    if isinstance(value, dict):
        return {name: _with_references(item, urls) for name, item in value.items()}
    return [_with_references(item, urls) for item in value] if isinstance(value, list) else value
