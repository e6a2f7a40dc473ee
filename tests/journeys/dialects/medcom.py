"""Messages of MedCom, as small as they can be, each with the history that it has."""

import uuid
from typing import Any

from gateway.fhir.dialects.medcom_telling import ACTIVITIES, EVENTS
from gateway.partners import Partner

Resource = dict[str, Any]

SOR, GLN = "urn:oid:1.2.208.176.1.1", "https://www.gs1.org/gln"
SENDER = Partner(
    "hospital",
    (f"{SOR}|359001000016000", f"{GLN}|5790001382445"),
    ("https://sor2.sum.dsdn.dk/#id=359001000016000",),
    dialect="medcom",
)
RECEIVER = Partner(
    "municipality",
    (f"{SOR}|328051000016008", f"{GLN}|5790000121441"),
    ("https://sor2.sum.dsdn.dk/#id=328051000016008",),
    dialect="medcom",
)
COW_RECEIVER = Partner("municipality", RECEIVER.identifiers, ("http://municipality.example/fhir",))
THREAD = "urn:uuid:da1edb7c-6e7c-4af8-bdd1-94f4aa99908a"
EPISODE = {"system": "https://www.esundhed.dk/Registre/Landspatientsregisteret", "value": "LPR-1"}
_USE = "http://medcomfhir.dk/ig/messaging/StructureDefinition/medcom-messaging-destinationUseExtension"


def communication(text: str = "Please examine the hip", **said: Any) -> Resource:
    return {
        "resourceType": "Communication",
        "id": str(uuid.uuid4()),
        "identifier": [{"value": THREAD}],
        "status": "unknown",
        "category": [{"text": "regarding-referral"}],
        "subject": {"reference": "Patient/P1"},
        "payload": [{"contentString": text}],
        **said,
    }


def encounter(status: str = "in-progress", **said: Any) -> Resource:
    return {
        "resourceType": "Encounter",
        "id": str(uuid.uuid4()),
        "identifier": [{"value": "1234567890"}],
        "status": status,
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
        "subject": {"reference": "Patient/P1"},
        "episodeOfCare": [{"identifier": EPISODE}],
        **said,
    }


def message(
    activity: str,
    about: Resource,
    sender: Partner = SENDER,
    *,
    before: Resource | None = None,
    role: str = "revision",
    copies: tuple[str, ...] = (),
) -> Resource:
    """A message that comes after another one (`before`), whose history it has too."""
    header_id = str(uuid.uuid4())
    organizations = [_organization(SENDER), _organization(RECEIVER)]
    own, other = organizations if sender is SENDER else organizations[::-1]
    event = "care-communication" if about["resourceType"] == "Communication" else "hospital-notification"
    header = {
        "resourceType": "MessageHeader",
        "id": header_id,
        "eventCoding": {"system": EVENTS, "code": f"{event}-message"},
        "destination": [*(_destination("cc", code) for code in copies), _destination("primary", other["id"])],
        "sender": {"reference": f"Organization/{own['id']}"},
        "source": {"endpoint": sender.endpoints[0]},
        "focus": [{"reference": f"{about['resourceType']}/{about['id']}"}],
    }
    entity = {"entity": [{"role": role, "what": {"reference": f"MessageHeader/{id_of(before)}"}}]} if before else {}
    done = {
        "resourceType": "Provenance",
        "id": str(uuid.uuid4()),
        "target": [{"reference": f"MessageHeader/{header_id}"}],
        "occurredDateTime": "2026-01-02T03:04:05+01:00",
        "recorded": "2026-01-02T03:04:05+01:00",
        "activity": {"coding": [{"system": ACTIVITIES, "code": activity}]},
        "agent": [{"who": {"reference": f"Organization/{own['id']}"}}],
        **entity,
    }
    patient = {
        "resourceType": "Patient",
        "id": "P1",
        "identifier": [{"system": "urn:oid:1.2.208.176.1.2", "value": "1"}],
    }
    history = [item["resource"] for item in before["entry"]] if before else []
    provenances = [done, *(one for one in history if one["resourceType"] == "Provenance")]
    resources = [header, about, patient, *organizations, *provenances]
    return {
        "resourceType": "Bundle",
        "id": str(uuid.uuid4()),
        "type": "message",
        "timestamp": "2026-01-02T03:04:05Z",
        "entry": [{"fullUrl": f"{one['resourceType']}/{one['id']}", "resource": one} for one in resources],
    }


def id_of(bundle: Resource) -> str:
    found: str = bundle["entry"][0]["resource"]["id"]
    return found


def _organization(partner: Partner) -> Resource:
    names = [name.rpartition("|") for name in partner.identifiers]
    return {
        "resourceType": "Organization",
        "id": names[0][2],
        "identifier": [{"system": system, "value": value} for system, _, value in names],
    }


def _destination(use: str, code: str) -> Resource:
    return {
        "extension": [{"url": _USE, "valueCoding": {"code": use}}],
        "endpoint": f"https://sor2.sum.dsdn.dk/#id={code}",
        "receiver": {"reference": f"Organization/{code}"},
    }
