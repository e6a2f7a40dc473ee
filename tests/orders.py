"""Messages about orders, as many as wanted: each call makes a new one, with ids that were never used before."""

import copy
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

Resource = dict[str, Any]

MESSAGES = Path(__file__).parent / "messages"
_NEW_ORDER = (MESSAGES / "new-order__prescription.json").read_bytes()
_UPDATE = (MESSAGES / "order-update__in-progress.json").read_bytes()
_CANCELLATION = (MESSAGES / "cancellation-request__requested.json").read_bytes()
_OWN = ("http://hospital.example/identifier/", "http://registry.example/identifier/patient")

PLACE = "00000000TEST"
"""The number of the order in `medium_order`, of which each of its identifiers has it at the end."""

PARTIES = "http://registry.example/identifier/organization"
HOSPITAL = "HOSPITAL-1", "urn:demo:hospital"
PHARMACY = "PHARMACY-7", "urn:demo:pharmacy"
"""A party: the business identifier by which it is known (in the system PARTIES), and the endpoint it sends from."""
Party = tuple[str, str]

_PLACERS = ("draft", "requested", "ready", "cancelled", "entered-in-error")
"""The statuses that an order has from its placer; the others it has from its fulfiller."""


def _number() -> str:
    return uuid.uuid4().hex[:12].upper()


@dataclass(frozen=True)
class Order:
    """One order, by the `number` in its identifiers, and the messages about it, as FHIR Bundles.

    It is the hospital's, and the pharmacy's to fulfil; each message is sent by the one that may, unless a test says
    who sends it.
    """

    number: str = field(default_factory=_number)

    @property
    def identifier(self) -> tuple[str, str]:
        """What the order's Task is known by, system and value."""
        return "http://hospital.example/identifier/order", f"ORD-1001-{self.number}"

    def new_order(self, status: str = "requested", sender: Party = HOSPITAL, **elements: Any) -> Resource:
        """Places the order, which does not fall due; its Patient is its own, its parties are everybody's.

        `elements` replace those of the Task; None takes one away.
        """
        return sent_by(sender, _changed(self._about(_NEW_ORDER, status), {"restriction": None} | elements))

    def update(self, status: str, sender: Party | None = None, **elements: Any) -> Resource:
        """Moves the order; `elements` replace those of the Task."""
        message = _changed(self._about(_UPDATE, status), {"businessStatus": None} | elements)
        return sent_by(sender or (HOSPITAL if status in _PLACERS else PHARMACY), message)

    def cancellation_request(self, status: str = "requested", sender: Party | None = None) -> Resource:
        """Asks for the order to be cancelled, withdraws that (`cancelled`), or answers it (`accepted`, `rejected`)."""
        return sent_by(sender or (HOSPITAL if status in _PLACERS else PHARMACY), self._about(_CANCELLATION, status))

    def _about(self, template: bytes, status: str) -> Resource:
        message = renewed(orjson.loads(template))
        self._name(message)
        focus_of(message)["status"] = status
        return message

    def _name(self, value: Any) -> None:
        """Makes every business identifier the order's own, but for those of parties."""
        if isinstance(value, dict):
            if str(value.get("system")).startswith(_OWN) and "value" in value:
                value["value"] += f"-{self.number}"
            for item in value.values():
                self._name(item)
        elif isinstance(value, list):
            for item in value:
                self._name(item)


def _changed(message: Resource, elements: Resource) -> Resource:
    task = focus_of(message)
    task.update(elements)
    for name in [name for name, value in elements.items() if value is None]:
        task.pop(name, None)
    return message


def renewed(message: Resource) -> Resource:
    """The same message as a new one: a Bundle.id and a MessageHeader.id of its own."""
    message = copy.deepcopy(message)
    header_id = str(uuid.uuid4())
    message["id"] = str(uuid.uuid4())
    message["entry"][0]["fullUrl"] = f"urn:uuid:{header_id}"
    message["entry"][0]["resource"]["id"] = header_id
    return message


def sent_by(party: Party, message: Resource) -> Resource:
    """The same message, from that party."""
    identifier, endpoint = party
    header = header_of(message)
    header["sender"] = organization(identifier)
    header["source"] = {"endpoint": endpoint}
    return message


def organization(identifier: str) -> Resource:
    """A party as a Task refers to it: by its business identifier."""
    return {"type": "Organization", "identifier": {"system": PARTIES, "value": identifier}}


def header_of(message: Resource) -> Resource:
    header: Resource = message["entry"][0]["resource"]
    return header


def focus_of(message: Resource) -> Resource:
    """The resource in the message's focus."""
    wanted = header_of(message)["focus"][0]["reference"]
    found: Resource = next(entry["resource"] for entry in message["entry"] if entry["fullUrl"] == wanted)
    return found


def response_code(reply: bytes) -> str:
    """`MessageHeader.response.code` of a response message in JSON."""
    code: str = header_of(orjson.loads(reply))["response"]["code"]
    return code


def medium_order() -> Resource:
    """A new-order of about 30 KB: a discharge prescription of six medicines with what was known when it was made."""
    message = Order(PLACE).new_order()
    entries = {entry["resource"]["resourceType"]: entry for entry in message["entry"]}
    task, first, patient = (entries[kind] for kind in ("Task", "MedicationRequest", "Patient"))
    values = [_observation(n, patient["fullUrl"]) for n in range(10)]
    reasons = [_condition(n, patient["fullUrl"]) for n in range(4)]
    others = [_further(first, n) for n in range(2, 7)]
    for number, request in enumerate((first, *others)):
        request["resource"] |= {
            "reasonReference": [_reference(reasons[number % 4])],
            "supportingInformation": [_reference(value) for value in values[number : number + 5]],
            "note": [
                {"text": "Checked against the discharge letter; the general practitioner reviews after two weeks."}
            ],
        }
    task["resource"]["basedOn"] = [_reference(other) for other in others]
    message["entry"] += [*others, *reasons, *values]
    return message


def _reference(entry: Resource) -> Resource:
    return {"reference": entry["fullUrl"]}


def _entry(resource: Resource) -> Resource:
    return {"fullUrl": f"urn:uuid:{uuid.uuid4()}", "resource": resource}


def _further(first: Resource, number: int) -> Resource:
    request = copy.deepcopy(first["resource"])
    request["identifier"] = [{**request["identifier"][0], "value": f"RX-{number}-{PLACE}"}]
    return _entry(request)


def _condition(number: int, patient: str) -> Resource:
    system = "http://terminology.hl7.org/CodeSystem/condition"
    return _entry(
        {
            "resourceType": "Condition",
            "identifier": [{"system": "http://hospital.example/identifier/condition", "value": f"C{number}-{PLACE}"}],
            "clinicalStatus": {"coding": [{"system": f"{system}-clinical", "code": "active", "display": "Active"}]},
            "verificationStatus": {"coding": [{"system": f"{system}-ver-status", "code": "confirmed"}]},
            "category": [{"coding": [{"system": f"{system}-category", "code": "encounter-diagnosis"}]}],
            "code": {
                "coding": [{"system": "http://snomed.info/sct", "code": f"6536300{number}", "display": "Otitis media"}],
                "text": "Otitis media of the left ear, second episode within a year",
            },
            "subject": {"reference": patient},
            "onsetDateTime": "2026-02-26",
            "recordedDate": "2026-03-01T10:00:00.715+01:00",
        }
    )


def _observation(number: int, patient: str) -> Resource:
    units = "http://unitsofmeasure.org"
    return _entry(
        {
            "resourceType": "Observation",
            "identifier": [{"system": "http://hospital.example/identifier/result", "value": f"O{number}-{PLACE}"}],
            "status": "final",
            "category": [
                {
                    "coding": [
                        {
                            "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                            "code": "laboratory",
                            "display": "Laboratory",
                        }
                    ]
                }
            ],
            "code": {
                "coding": [{"system": "http://loinc.org", "code": "2160-0", "display": "Creatinine [Mass/volume]"}],
                "text": "Creatinine in serum",
            },
            "subject": {"reference": patient},
            "effectiveDateTime": f"2026-03-01T{number + 8:02}:30:00+01:00",
            "valueQuantity": {"value": 0.9 + number / 100, "unit": "mg/dL", "system": units, "code": "mg/dL"},
            "referenceRange": [
                {
                    "low": {"value": 0.7, "unit": "mg/dL", "system": units, "code": "mg/dL"},
                    "high": {"value": 1.2, "unit": "mg/dL", "system": units, "code": "mg/dL"},
                }
            ],
        }
    )
