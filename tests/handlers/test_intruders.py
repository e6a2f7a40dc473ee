"""What a sender tries that is not its to do: by contained resources, identifiers, drafts, and what it leaves out."""

from typing import Any

import pytest

from gateway.fhir.task import lists
from handlers import new_order
from tests.handlers import Gateway, Reply
from tests.orders import HOSPITAL, PARTIES, PHARMACY, Order, Party, Resource, focus_of, organization, sent_by
from tests.senders import Sender, new_id

STRANGER = "NOBODY-9", "urn:demo:nobody"
OTHER = "PHARMACY-8", "urn:demo:other-pharmacy"
EVENT = {"system": "urn:x-fhir-gateway:message-event"}
TASK = "Bundle.entry[1].resource"
AT_WORK = ("accepted", "in-progress")


def send(gateway: Gateway, *bundles: Resource) -> Reply:
    for bundle in bundles:
        reply = gateway.send(bundle)
        assert reply.code == "ok", reply.text
    return reply


def placed(gateway: Gateway, *statuses: str, **elements: Any) -> Order:
    order = Order()
    send(gateway, order.new_order(**elements), *map(order.update, statuses))
    return order


def refused(reply: Reply) -> list[tuple[str, str]]:
    assert reply.code == "fatal-error"
    return [(issue["code"], *issue["expression"]) for issue in reply.issues]


def kept(gateway: Gateway, order: Order) -> Resource:
    return gateway.get("Task", order.identifier).resource


def contained(party: Party) -> Resource:
    return {
        "resourceType": "Organization",
        "id": "party",
        "identifier": [{"system": PARTIES, "value": party[0]}],
    }


def parted(party: Party, element: str) -> dict[str, Any]:
    return {element: {"reference": "#party"}, "contained": [contained(party)]}


def name_of(order: Order) -> Resource:
    system, value = order.identifier
    return {"system": system, "value": value}


@pytest.mark.parametrize("element", ["requester", "owner"])
def test_a_contained_party_is_not_made_another_by_a_message_about_something_else(
    gateway: Gateway, element: str
) -> None:
    party = HOSPITAL if element == "requester" else PHARMACY
    order = placed(gateway, *AT_WORK, **parted(party, element))
    note = {"authorReference": {"reference": "#party"}, "text": "Hello"}

    send(gateway, order.update("in-progress", PHARMACY, note=[note], contained=[contained(STRANGER)]))

    task = kept(gateway, order)
    assert (task[element], task["contained"][0]) == ({"reference": "#party"}, contained(party))
    assert task["note"][0]["authorReference"] == {"reference": f"#{task['contained'][1]['id']}"}
    assert gateway.send(order.update("completed", STRANGER)).code == "fatal-error"


def test_a_contained_requester_does_not_change_and_a_contained_owner_by_handing_over_only(gateway: Gateway) -> None:
    order = placed(gateway, *AT_WORK, **parted(HOSPITAL, "requester"))
    reply = gateway.send(order.update("in-progress", **parted(PHARMACY, "requester")))
    assert refused(reply) == [("business-rule", f"{TASK}.requester")]
    send(gateway, order.update("in-progress", **parted(HOSPITAL, "requester")))

    order = placed(gateway, *AT_WORK, **parted(PHARMACY, "owner"))
    reply = gateway.send(order.update("in-progress", HOSPITAL, **parted(OTHER, "owner")))
    assert refused(reply) == [("forbidden", f"{TASK}.owner")]
    send(gateway, order.update("in-progress", PHARMACY, **parted(OTHER, "owner")))
    assert gateway.send(order.update("completed", PHARMACY)).code == "fatal-error"
    send(gateway, order.update("completed", OTHER))


def test_a_contained_requester_that_refers_to_the_bundle_may_be_repeated(gateway: Gateway) -> None:
    order = Order()
    messages = [order.new_order(), order.update("accepted")]
    for message in messages:
        patient = {"resourceType": "Patient", "identifier": [{"system": PARTIES, "value": order.number}]}
        message["entry"].append({"fullUrl": f"urn:uuid:{new_id()}", "resource": patient})
        relative = {
            "resourceType": "RelatedPerson",
            "id": "r",
            "patient": {"reference": message["entry"][-1]["fullUrl"]},
        }
        focus_of(message).update(requester={"reference": "#r"}, contained=[relative])
    send(gateway, *messages)
    assert [resource["id"] for resource in kept(gateway, order)["contained"]] == ["r"]


def test_no_party_but_its_creator_gives_an_order_a_number_that_is_the_creators_to_give(gateway: Gateway) -> None:
    order, following = placed(gateway), Order()
    numbers = [name_of(order), name_of(following)]
    assert refused(gateway.send(order.update("accepted", identifier=numbers))) == [("forbidden", f"{TASK}.identifier")]
    send(gateway, order.update("accepted", identifier=[name_of(order), {"system": PARTIES, "value": new_id()}]))
    send(gateway, following.new_order())


def test_a_draft_is_not_made_an_order_of_another_partner(gateway: Gateway) -> None:
    order = Order()
    send(gateway, order.new_order("draft", STRANGER, requester=organization(STRANGER[0])))
    reply = gateway.send(order.update("requested", STRANGER, requester=organization(HOSPITAL[0])))
    assert refused(reply) == [("forbidden", f"{TASK}.requester")]
    send(gateway, order.update("requested", STRANGER, requester=organization(STRANGER[0])))


def test_an_owner_does_not_leave_its_order_to_whoever_claims_it(gateway: Gateway) -> None:
    order = placed(gateway, *AT_WORK)
    without = {name: value for name, value in kept(gateway, order).items() if name != "owner"}
    assert refused(gateway.put(without, PHARMACY)) == [("forbidden", f"{TASK}.owner")]
    assert refused(gateway.put(without, HOSPITAL)) == [("forbidden", f"{TASK}.owner")]
    assert gateway.send(order.update("completed", STRANGER)).code == "fatal-error"


def test_a_placer_offers_an_accepted_order_to_whoever_claims_it(gateway: Gateway) -> None:
    order = placed(gateway, "accepted")
    without = {name: value for name, value in kept(gateway, order).items() if name != "owner"}
    assert gateway.put(without, HOSPITAL).code == "ok"
    assert kept(gateway, order)["status"] == "requested"
    send(gateway, order.update("accepted", OTHER))


def test_who_fulfils_a_draft_takes_nothing_away_of_what_it_is_about(gateway: Gateway) -> None:
    order = Order()
    send(gateway, order.new_order("draft"))
    without = {name: value for name, value in kept(gateway, order).items() if name != "focus"}
    assert refused(gateway.put(without, PHARMACY)) == [("required", f"{TASK}.focus")]
    assert gateway.put(without, HOSPITAL).code == "ok"


@pytest.mark.parametrize("gone", ["note", "output"])
def test_nothing_goes_of_what_was_said_of_an_order_that_is_done(gateway: Gateway, gone: str) -> None:
    order = placed(gateway, *AT_WORK, note=[{"text": "By the placer"}])
    report = {"type": {"text": "Report"}, "valueReference": organization("REPORT")}
    send(gateway, order.update("completed", output=[report]))
    without = {name: value for name, value in kept(gateway, order).items() if name != gone}
    assert ("business-rule", f"{TASK}.{gone}") in refused(gateway.put(without, PHARMACY))


def test_nobody_makes_itself_owner_of_an_order_with_a_specimen_of_another(gateway: Gateway) -> None:
    identifier = {"system": "http://hospital.example/identifier/specimen", "value": new_id()}
    specimen = {"resourceType": "Specimen", "identifier": [identifier], "status": "available"}
    send(gateway, sent_by(HOSPITAL, Sender().write("resource-update", specimen, **EVENT)))
    given = [{"type": {"text": "Specimen"}, "valueReference": {"type": "Specimen", "identifier": identifier}}]
    order = Order()
    itself = {"requester": organization(STRANGER[0]), "owner": organization(STRANGER[0])}
    send(gateway, order.new_order(sender=STRANGER, input=given, **itself))
    update = order.update("accepted", STRANGER)
    update["entry"].append({"fullUrl": f"urn:uuid:{new_id()}", "resource": specimen | {"status": "unsatisfactory"}})

    send(gateway, update)

    assert gateway.get("Specimen", (identifier["system"], identifier["value"])).version == 1


def test_a_specimen_that_was_passed_on_is_changed_by_who_has_the_part(gateway: Gateway) -> None:
    identifier = {"system": "http://hospital.example/identifier/specimen", "value": new_id()}
    specimen = {"resourceType": "Specimen", "identifier": [identifier], "status": "available"}
    send(gateway, sent_by(HOSPITAL, Sender().write("resource-update", specimen, **EVENT)))
    given = [{"type": {"text": "Specimen"}, "valueReference": {"type": "Specimen", "identifier": identifier}}]
    whole, part = placed(gateway, *AT_WORK, input=given), Order()
    parties = {"requester": organization(PHARMACY[0]), "owner": organization(OTHER[0])}
    of_it = [{"type": "Task", "identifier": name_of(whole)}]
    send(gateway, part.new_order(sender=PHARMACY, input=given, partOf=of_it, **parties))
    update = part.update("accepted", OTHER)
    update["entry"].append({"fullUrl": f"urn:uuid:{new_id()}", "resource": specimen | {"status": "unsatisfactory"}})

    send(gateway, update)

    assert gateway.get("Specimen", (identifier["system"], identifier["value"])).resource["status"] == "unsatisfactory"


def test_who_an_order_names_is_not_made_another_by_its_organization(gateway: Gateway) -> None:
    order = placed(gateway, *AT_WORK)
    known = gateway.get("Organization", (PARTIES, PHARMACY[0]))
    other = contained(OTHER) | {"id": known.id}
    url = f"http://gateway.example/fhir/Organization/{known.id}"

    reply = gateway.send(sent_by(HOSPITAL, Sender().write("resource-update", other | {"_url": url}, **EVENT)))
    assert refused(reply) == [("business-rule", f"{TASK}.identifier")]
    update = order.update("in-progress", HOSPITAL, location={"reference": url})
    update["entry"].append({"fullUrl": url, "resource": other})
    gateway.send(update)

    assert gateway.get("Organization", (PARTIES, PHARMACY[0])).version == 1
    assert gateway.send(order.update("completed", OTHER)).code == "fatal-error"
    renamed = contained(PHARMACY) | {"id": known.id, "name": "Another name", "_url": url}
    send(gateway, sent_by(HOSPITAL, Sender().write("resource-update", renamed, **EVENT)))


def test_a_list_of_an_order_has_its_bound(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "MOST", 2)
    order = placed(gateway, *AT_WORK)
    notes = [{"text": str(number)} for number in range(3)]
    send(gateway, order.update("in-progress", note=notes[:2]))
    assert refused(gateway.send(order.update("in-progress", note=notes))) == [("too-costly", f"{TASK}.note")]
    assert refused(gateway.send(Order().new_order(note=notes))) == [("too-costly", f"{TASK}.note")]
    send(gateway, order.update("completed"))


def test_others_place_only_so_many_orders_about_a_request(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_order, "_MOST_ABOUT", 2)
    order = placed(gateway)
    request = gateway.get("Task", order.identifier).resource["focus"]["reference"].partition("/")[0]
    identifier = {"system": "http://hospital.example/identifier/prescription", "value": f"RX-1001-1-{order.number}"}

    def about_it(sender: Party) -> Resource:
        parties = {"requester": organization(sender[0]), "owner": organization(OTHER[0])}
        message = Order().new_order(sender=sender, **parties, **{"for": None})
        focus_of(message).update(focus={"type": request, "identifier": identifier})
        del message["entry"][2:]
        return message

    send(gateway, about_it(STRANGER))
    assert refused(gateway.send(about_it(STRANGER))) == [("too-costly", f"{TASK}.focus")]
    send(gateway, about_it(HOSPITAL), order.update("accepted"))
