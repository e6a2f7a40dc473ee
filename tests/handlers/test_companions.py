"""What comes with an order: specimens that go with the work, and what refers to the order."""

import pytest

from tests.handlers import HOSPITAL as SYSTEM
from tests.handlers import Gateway, message
from tests.orders import HOSPITAL, PARTIES, Order, Party, Resource, focus_of, organization, sent_by

LABORATORY = "LABORATORY-3", "urn:demo:laboratory"
STRANGER = "NOBODY-9", "urn:demo:nobody"
PATIENTS = "http://registry.example/identifier/patient"
SPECIMEN = f"{SYSTEM}/specimen", "SP-2001"
URL = "urn:uuid:7d3c2b10-5c0e-4d2c-9f43-0f436f6a4f9d"


@pytest.fixture
def laboratory_order(gateway: Gateway) -> Resource:
    """An order that has a specimen among its inputs."""
    order = message("new-order__laboratory")
    assert gateway.send(order).code == "ok"
    return order


def with_specimen(status: str, sender: Party = LABORATORY) -> Resource:
    """An update of the order that brings the specimen as it is now."""
    update = message("order-update__laboratory-report", status="accepted", output=[])
    specimen = {
        "resourceType": "Specimen",
        "identifier": [{"system": SPECIMEN[0], "value": SPECIMEN[1]}, {"system": PARTIES, "value": "ACCESSION-1"}],
        "status": status,
    }
    del update["entry"][2:]
    update["entry"].append({"fullUrl": URL, "resource": specimen})
    return sent_by(sender, update)


def test_the_owner_of_an_order_changes_the_specimen_that_it_got(gateway: Gateway, laboratory_order: Resource) -> None:
    before = gateway.get("Specimen", SPECIMEN).resource
    assert gateway.send(with_specimen("unsatisfactory")).code == "ok"

    kept = gateway.get("Specimen", SPECIMEN)

    assert (kept.version, kept.resource["status"]) == (2, "unsatisfactory")
    assert kept.resource["collection"] == before["collection"]
    assert kept.resource["identifier"] == [*before["identifier"], {"system": PARTIES, "value": "ACCESSION-1"}]
    assert gateway.get("Specimen", (PARTIES, "ACCESSION-1")).reference == kept.reference


def test_nobody_else_changes_it_and_no_specimen_of_another_order(gateway: Gateway, laboratory_order: Resource) -> None:
    assert gateway.send(with_specimen("unsatisfactory", STRANGER)).code == "fatal-error"
    other = message("new-order__prescription", owner=organization(LABORATORY[0]))
    assert gateway.send(other).code == "ok"
    stolen = with_specimen("unsatisfactory")
    focus_of(stolen)["identifier"] = focus_of(other)["identifier"]
    assert gateway.send(stolen).code == "ok"
    assert gateway.get("Specimen", SPECIMEN).version == 1


def test_what_is_known_by_an_identifier_is_linked_and_may_be_repeated_by_either_party(gateway: Gateway) -> None:
    order, patient = Order(), {"type": "Patient", "identifier": {"system": PATIENTS, "value": "9000000017"}}
    given = [{"type": {"text": "Neighbour"}, "valueReference": patient}]
    assert gateway.send(order.new_order(input=given)).focus[0]["input"] == given

    assert gateway.send(message("new-order__laboratory")).code == "ok"
    unchanged = gateway.send(order.update("requested", HOSPITAL, lastModified=None)).focus[0]
    assert (unchanged["meta"]["versionId"], unchanged["input"]) == ("1", given)
    [task] = gateway.send(order.update("accepted", input=given)).focus

    known = gateway.get("Patient", (PATIENTS, "9000000017"))
    assert task["input"] == [
        {"type": {"text": "Neighbour"}, "valueReference": {"reference": known.reference} | patient}
    ]
    assert gateway.send(order.update("accepted", input=given)).focus[0]["meta"]["versionId"] == "2"


def test_what_is_part_of_an_order_is_kept_with_it_and_shown(gateway: Gateway, laboratory_order: Resource) -> None:
    update = with_specimen("available")
    identifier = {"system": "http://laboratory.example/identifier/question", "value": "Q-1"}
    question = {
        "resourceType": "Communication",
        "identifier": [identifier],
        "status": "completed",
        "partOf": [{"reference": update["entry"][1]["fullUrl"]}],
        "payload": [{"contentString": "Is the patient fasting?"}],
    }
    update["entry"][2] = {"fullUrl": URL, "resource": question}

    reply = gateway.send(update)

    assert reply.code == "ok", reply.text
    kept = gateway.get("Communication", (identifier["system"], identifier["value"]))
    assert [resource["id"] for resource in reply.focus] == [reply.focus[0]["id"], kept.id]
    assert kept.resource["partOf"] == [{"reference": f"Task/{reply.focus[0]['id']}"}]
