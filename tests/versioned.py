"""Orders of partners who speak another version of FHIR, each new: with ids and an order number never used before."""

import copy
import uuid
from typing import Any

import orjson

from tests.orders import MESSAGES, focus_of, header_of

Resource = dict[str, Any]

VERSION_5, VERSION_3 = "fhirVersion=5.0", "fhirVersion=3.0"


def r5_order() -> Resource:
    """A new-order in R5, known by its Bundle.identifier."""
    message = _fresh("r5")
    message["identifier"]["value"] = f"urn:uuid:{uuid.uuid4()}"
    return message


def stu3_order() -> Resource:
    """A new-order in STU3."""
    return _fresh("stu3")


def r5_update(order: Resource, status: str) -> Resource:
    """The placer's order-update of its order, in R5."""
    message = copy.deepcopy(order)
    message["id"] = str(uuid.uuid4())
    message["identifier"]["value"] = f"urn:uuid:{uuid.uuid4()}"
    _name_header(message)
    header_of(message)["eventCoding"]["code"] = "order-update"
    task = focus_of(message)
    kept = ("resourceType", "identifier", "intent")
    focus = {name: task[name] for name in kept} | {"status": status}
    message["entry"] = [message["entry"][0], {**message["entry"][1], "resource": focus}]
    return message


def identifier_of(message: Resource) -> Resource:
    """The first identifier of the Task in focus."""
    identifier: Resource = focus_of(message)["identifier"][0]
    return identifier


def owner_of(message: Resource) -> Resource:
    """The party that the Task in focus is for, by its identifier."""
    wanted = focus_of(message)["owner"]["reference"]
    owner = next(entry["resource"] for entry in message["entry"] if entry["fullUrl"] == wanted)
    return {"type": owner["resourceType"], "identifier": owner["identifier"][0]}


def _fresh(directory: str) -> Resource:
    message: Resource = orjson.loads((MESSAGES / directory / "new-order.json").read_bytes())
    message["id"] = str(uuid.uuid4())
    _name_header(message)
    number = uuid.uuid4().hex[:12]
    for entry in message["entry"][1:]:
        if entry["resource"]["resourceType"] in ("Task", "ServiceRequest", "ProcedureRequest"):
            entry["resource"]["identifier"][0]["value"] += f"-{number}"
    return message


def _name_header(message: Resource) -> None:
    header_id = str(uuid.uuid4())
    message["entry"][0]["fullUrl"] = f"urn:uuid:{header_id}"
    header_of(message)["id"] = header_id
