"""Who may ask for a cancellation, who answers it, who withdraws it; and that nobody answers its own question."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from gateway.partners import Partner, Partners
from tests.handlers import ORDER, Gateway, message, task_of
from tests.orders import HOSPITAL, PARTIES, PHARMACY, Order, Party, focus_of, organization, sent_by
from tests.terms import TERMS

STRANGER = "CLINIC-9", "urn:example:clinic"
BEGUN = ("accepted", "in-progress")


@pytest.fixture
def order(gateway: Gateway) -> Order:
    """An order that the pharmacy works on."""
    return begun(gateway)


def begun(gateway: Gateway, **elements: Any) -> Order:
    order = Order()
    for bundle in (order.new_order(**elements), *(order.update(status) for status in BEGUN)):
        reply = gateway.send(bundle)
        assert reply.code == "ok", reply.text
    return order


def asked(order: Order, sender: Party = HOSPITAL, **elements: Any) -> dict[str, Any]:
    """A cancellation request of the order, with other elements; None takes one away."""
    bundle = order.cancellation_request(sender=sender)
    task = focus_of(bundle)
    task.update(elements)
    for name in [name for name, value in elements.items() if value is None]:
        del task[name]
    return bundle


def statuses(gateway: Gateway, order: Order) -> tuple[str, str]:
    """Of the cancellation request, and of the order."""
    request = gateway.get("Task", (order.identifier[0].replace("/order", "/cancellation"), f"CXL-1001-{order.number}"))
    return request.resource["status"], gateway.get("Task", order.identifier).resource["status"]


@pytest.mark.parametrize("sender", [STRANGER, PHARMACY])
@pytest.mark.parametrize("before", [(), BEGUN, (*BEGUN, "completed")])
def test_nobody_but_the_placer_asks_for_the_order_to_be_cancelled(
    gateway: Gateway, sender: Party, before: tuple[str, ...]
) -> None:
    order = Order()
    for bundle in (order.new_order(), *(order.update(status) for status in before)):
        gateway.send(bundle)
    was = gateway.get("Task", order.identifier)

    reply = gateway.send(asked(order, sender))

    assert (reply.code, reply.outcomes) == ("fatal-error", ["not-the-placer"])
    assert [issue["code"] for issue in reply.issues] == ["forbidden"]
    assert ("order-update with the status rejected" in reply.text) is (sender == PHARMACY)
    assert gateway.get("Task", order.identifier).version == was.version


def test_the_parties_that_a_request_does_not_name_are_those_of_the_order(gateway: Gateway, order: Order) -> None:
    reply = gateway.send(asked(order, requester=None, owner=None))
    request, kept = reply.focus
    assert (request["requester"], request["owner"]) == (kept["requester"], kept["owner"])
    assert gateway.send(order.cancellation_request("accepted")).outcomes == ["accepted"]


def test_a_party_that_is_contained_in_the_order_is_named_by_its_identifier(gateway: Gateway) -> None:
    owner = organization(PHARMACY[0])["identifier"]
    contained = [{"resourceType": "Organization", "id": "o", "identifier": [owner], "name": "The pharmacy"}]
    order = begun(gateway, contained=contained, owner={"reference": "#o"})
    [request, _] = gateway.send(asked(order, owner=None)).focus
    assert request["owner"] == {"identifier": owner}
    assert gateway.send(order.cancellation_request("rejected")).outcomes == ["rejected"]


@pytest.mark.parametrize("owner", [HOSPITAL, STRANGER])
def test_only_the_other_party_is_asked(gateway: Gateway, order: Order, owner: Party) -> None:
    reply = gateway.send(asked(order, owner=organization(owner[0])))
    assert (reply.code, reply.places) == ("fatal-error", ["Bundle.entry[1].resource.owner"])


@pytest.mark.parametrize("status", ["received", "accepted", "rejected"])
@pytest.mark.parametrize("sender", [HOSPITAL, STRANGER])
@pytest.mark.parametrize("left_out", [{}, {"owner": None}])
def test_only_who_is_asked_answers(
    gateway: Gateway, order: Order, status: str, sender: Party, left_out: dict[str, None]
) -> None:
    gateway.send(asked(order, **left_out))
    reply = gateway.send(order.cancellation_request(status, sender))
    assert reply.code == "fatal-error"
    assert [issue["code"] for issue in reply.issues] == ["forbidden"]
    assert statuses(gateway, order) == ("requested", "in-progress")


@pytest.mark.parametrize("status", ["cancelled", "entered-in-error"])
@pytest.mark.parametrize("sender", [PHARMACY, STRANGER])
def test_only_who_asked_takes_the_request_back(gateway: Gateway, order: Order, status: str, sender: Party) -> None:
    gateway.send(order.cancellation_request())
    assert [issue["code"] for issue in gateway.send(order.cancellation_request(status, sender)).issues] == ["forbidden"]
    assert statuses(gateway, order) == ("requested", "in-progress")

    assert gateway.send(order.cancellation_request(status)).outcomes == ["withdrawn"]
    assert statuses(gateway, order) == (status, "in-progress")
    assert gateway.send(order.cancellation_request("accepted")).code == "fatal-error"


def test_nobody_makes_itself_the_one_who_is_asked(gateway: Gateway, order: Order) -> None:
    gateway.send(order.cancellation_request())
    changed = asked(order, owner=organization(HOSPITAL[0]))
    assert gateway.send(changed).places == ["Bundle.entry[1].resource.owner"]
    assert gateway.send(order.cancellation_request("accepted", HOSPITAL)).code == "fatal-error"
    assert gateway.send(order.cancellation_request("accepted")).outcomes == ["accepted"]


def test_who_is_no_party_is_not_told_how_a_request_stands(gateway: Gateway, order: Order) -> None:
    gateway.send(order.cancellation_request())
    reply = gateway.send(order.cancellation_request(sender=STRANGER))
    assert (reply.code, reply.focus, reply.outcomes) == ("fatal-error", [], ["not-the-placer"])


def test_an_order_that_nobody_has_claimed_is_cancelled_by_its_placer(gateway: Gateway) -> None:
    order = Order()
    gateway.send(order.new_order(owner=None))
    assert gateway.send(asked(order, owner=None)).outcomes == ["cancelled"]


def test_a_request_made_by_an_old_version_is_refused_with_both_versions_named(gateway: Gateway, order: Order) -> None:
    [request, _] = gateway.send(order.cancellation_request()).focus
    gateway.send(order.cancellation_request("received"))
    stale = order.cancellation_request("accepted")
    focus_of(stale).update(id=request["id"], meta={"versionId": "1"})
    reply = gateway.send(stale)
    assert [issue["code"] for issue in reply.issues] == ["conflict"]
    assert "version 1 " in reply.text
    assert "version 2." in reply.text


def test_a_fulfiller_proposes_to_cancel_the_request_and_its_placer_revokes_it_in_its_answer(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription", "order-update__rejected")
    [proposal, _] = gateway.send_all("cancellation-request__proposal").focus
    order = gateway.get("Task", ("http://hospital.example/identifier/order", "ORD-1001")).resource
    assert (proposal["requester"], proposal["owner"]) == (order["owner"], order["requester"])

    answer = message("cancellation-request__proposal-accepted")
    new_order = message("new-order__prescription")
    prescription = next(e for e in new_order["entry"] if e["resource"]["resourceType"] == "MedicationRequest")
    others = [e for e in new_order["entry"] if e["resource"]["resourceType"] not in ("MessageHeader", "Task")]
    prescription["resource"]["status"] = "cancelled"
    task_of(answer)["focus"] = {"reference": prescription["fullUrl"]}
    answer["entry"] += others
    reply = gateway.send(answer)

    assert (reply.code, reply.outcomes) == ("ok", ["accepted"])
    assert [resource["status"] for resource in reply.focus] == ["accepted", "cancelled"]
    assert "The MedicationRequest is cancelled." in reply.text
    assert order["status"] == "rejected"


def test_nobody_but_a_fulfiller_proposes_to_cancel_the_request(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription")
    reply = gateway.send(sent_by(STRANGER, message("cancellation-request__proposal")))
    assert (reply.code, reply.outcomes) == ("fatal-error", ["not-the-placer"])
    assert "not known as one who does" in reply.text


def test_the_placer_is_told_to_put_the_order_into_the_focus(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription")
    reply = gateway.send(sent_by(HOSPITAL, message("cancellation-request__proposal")))
    assert (reply.code, reply.outcomes) == ("fatal-error", [])
    assert [issue["code"] for issue in reply.issues] == ["business-rule"]
    assert "with the order's Task in focus" in reply.text


@pytest.mark.parametrize("sender", [PHARMACY, STRANGER])
def test_nobody_but_the_placer_answers_a_proposal(gateway: Gateway, sender: Party) -> None:
    gateway.send_all("new-order__prescription", "cancellation-request__proposal")
    for name in ("proposal-accepted", "proposal"):
        changes = {"status": "rejected"} if name == "proposal" else {}
        reply = gateway.send(sent_by(sender, message(f"cancellation-request__{name}", **changes)))
        assert [issue["code"] for issue in reply.issues] == ["forbidden"]


@pytest.mark.parametrize(
    "requester",
    [
        {"display": "Dr. Example"},
        {"type": "Practitioner", "identifier": {"system": "urn:example:doctors", "value": "DOC-1"}},
    ],
)
def test_who_placed_an_order_for_somebody_who_does_not_speak_here_answers_a_proposal(
    gateway: Gateway, requester: dict[str, Any]
) -> None:
    assert gateway.send(message("new-order__prescription", requester=requester)).code == "ok"
    proposal = message("cancellation-request__proposal")
    task_of(proposal).pop("owner", None)
    [kept, _] = gateway.send(proposal).focus
    assert kept.get("owner") == (requester if "identifier" in requester else None)
    assert gateway.send(sent_by(STRANGER, message("cancellation-request__proposal-accepted"))).code == "fatal-error"
    reply = gateway.send(message("cancellation-request__proposal-accepted"))
    assert (reply.code, reply.outcomes) == ("ok", ["accepted"]), reply.text


def test_a_stranger_with_an_order_about_the_same_request_is_neither_asked_nor_answers(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription")
    other = sent_by(STRANGER, message("new-order__prescription", requester=organization(STRANGER[0])))
    task_of(other)["identifier"] = [{"system": "urn:example:clinic", "value": "1"}]
    task_of(other)["owner"] = organization(PHARMACY[0])
    assert gateway.send(other).code == "ok"
    [kept, _] = gateway.send_all("cancellation-request__proposal").focus
    assert kept["owner"] == gateway.get("Task", ORDER).resource["requester"]


def test_who_an_order_in_work_is_passed_on_to_answers_about_it(gateway: Gateway, order: Order) -> None:
    gateway.send(order.cancellation_request())
    assert gateway.send(order.update("in-progress", PHARMACY, owner=organization(STRANGER[0]))).code == "ok"
    late = gateway.send(order.cancellation_request("accepted", PHARMACY))
    assert [issue["code"] for issue in late.issues] == ["forbidden"]
    assert gateway.send(order.cancellation_request("accepted", STRANGER)).outcomes == ["accepted"]
    assert statuses(gateway, order) == ("completed", "cancelled")


@pytest.fixture
def willing(database_url: str) -> Iterator[Gateway]:
    """A gateway where the pharmacy is registered as accepting every cancellation."""
    pharmacy = Partner("pharmacy", (f"{PARTIES}|{PHARMACY[0]}",), (PHARMACY[1],), accepts_cancellation=True)
    opened = Gateway(database_url, replace(TERMS, partners=Partners((pharmacy,))))
    yield opened
    opened.close()


def test_a_fulfiller_that_is_registered_so_accepts_at_once(willing: Gateway) -> None:
    order = begun(willing)
    reply = willing.send(order.cancellation_request())
    assert (reply.code, reply.outcomes) == ("ok", ["accepted"])
    assert statuses(willing, order) == ("completed", "cancelled")
    assert willing.send(order.cancellation_request()).outcomes == ["accepted"]
