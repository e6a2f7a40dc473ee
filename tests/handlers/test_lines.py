"""Several Tasks in one message: the lines of one order, placed and changed together or not at all; and a notice."""

from typing import Any

from tests.handlers import Gateway
from tests.orders import HOSPITAL, PHARMACY, Resource, organization, sent_by
from tests.senders import Sender, task

GROUP = {"system": "http://hospital.example/prescription", "value": "RX-1"}
SYSTEM = "http://hospital.example/orders"


def lines(event: str, status: str, *numbers: str, sender: Any = HOSPITAL, **elements: Any) -> Resource:
    """A message about the lines with these numbers."""
    parties = {"requester": organization(HOSPITAL[0]), "owner": organization(PHARMACY[0])}
    tasks = [task(number, status, **parties, **({"groupIdentifier": GROUP} | elements)) for number in numbers]
    return sent_by(sender, Sender().write(event, *tasks))


def statuses(gateway: Gateway, *numbers: str) -> list[str | None]:
    found = [gateway.find("Task", (SYSTEM, number)) for number in numbers]
    return [kept.resource["status"] if kept else None for kept in found]


def test_the_lines_of_an_order_are_placed_together_and_each_is_an_order(gateway: Gateway) -> None:
    placed = gateway.send(lines("new-order", "requested", "L1", "L2"))
    assert placed.code == "ok", placed.text
    assert [one["identifier"][0]["value"] for one in placed.focus] == ["L1", "L2"]
    assert gateway.send(lines("order-update", "cancelled", "L1")).code == "ok"
    assert statuses(gateway, "L1", "L2") == ["cancelled", "requested"]


def test_one_line_that_cannot_be_placed_keeps_out_the_others(gateway: Gateway) -> None:
    gateway.send(lines("new-order", "requested", "L1"))
    refused = gateway.send(lines("new-order", "requested", "L2", "L1"))
    assert (refused.code, [issue["code"] for issue in refused.issues]) == ("fatal-error", ["duplicate"])
    assert statuses(gateway, "L2") == [None]


def test_lines_are_changed_together_or_not_at_all(gateway: Gateway) -> None:
    gateway.send(lines("new-order", "requested", "L1", "L2"))
    accepted = gateway.send(lines("order-update", "accepted", "L1", "L2", sender=PHARMACY))
    assert accepted.code == "ok", accepted.text
    refused = gateway.send(lines("order-update", "in-progress", "L1", "L3", sender=PHARMACY))
    assert [issue["code"] for issue in refused.issues] == ["not-found"]
    assert statuses(gateway, "L1", "L2", "L3") == ["accepted", "accepted", None]


def test_tasks_of_no_group_are_not_one_order(gateway: Gateway) -> None:
    for other in ({"groupIdentifier": None}, {"groupIdentifier": {"system": "http://hospital.example/prescription"}}):
        refused = gateway.send(lines("new-order", "requested", "L1", "L2", **other))
        assert refused.code == "fatal-error"
    mixed = lines("new-order", "requested", "L1", "L2")
    mixed["entry"][2]["resource"]["groupIdentifier"] = GROUP | {"value": "RX-2"}
    refused = gateway.send(mixed)
    assert "are not of one group" in refused.text
    assert statuses(gateway, "L1", "L2") == [None, None]


def test_a_notice_is_kept_and_answered_and_changes_nothing(gateway: Gateway) -> None:
    patient = {"resourceType": "Patient", "identifier": [{"system": "http://hospital.example/patient", "value": "1"}]}
    noticed = gateway.send(Sender().write("notice", patient, system="urn:x-fhir-gateway:message-event"))
    assert (noticed.code, noticed.focus, noticed.issues) == ("ok", [], [])
    assert gateway.find("Patient", ("http://hospital.example/patient", "1")) is None
