"""Parts of an order: who makes them, and what they give to the whole."""

from typing import Any

import pytest

from gateway import indexed
from tests.conftest import ON_EACH_DATABASE
from tests.handlers import Gateway, Reply
from tests.orders import HOSPITAL, PHARMACY, Order, Party, Resource, organization

FIRST = "PHARMACY-8", "urn:demo:first-pharmacy"
SECOND = "PHARMACY-9", "urn:demo:second-pharmacy"
PART_OF = "Bundle.entry[1].resource.partOf[0]"
AT_WORK = ("accepted", "in-progress")


def to(order: Order) -> Resource:
    system, value = order.identifier
    return {"type": "Task", "identifier": {"system": system, "value": value}}


def dispense(number: str) -> Resource:
    return {"type": {"text": "Dispense"}, "valueReference": organization(number)}


def placed(gateway: Gateway, *statuses: str) -> Order:
    """An order of the hospital that the pharmacy has taken through these statuses."""
    order = Order()
    send(gateway, order.new_order(), *map(order.update, statuses))
    return order


def part_of(gateway: Gateway, whole: Order, sender: Party, owner: Party) -> Order:
    """A part of an order that one party has made for another, which is at work on it."""
    part = Order()
    send(gateway, new_part(part, whole, sender, owner), *(part.update(status, owner) for status in AT_WORK))
    return part


def new_part(part: Order, whole: Order, sender: Party, owner: Party, **elements: Any) -> Resource:
    said = {"requester": organization(sender[0]), "owner": organization(owner[0]), "partOf": [to(whole)]}
    return part.new_order(sender=sender, **said | elements)


def send(gateway: Gateway, *bundles: Resource) -> Reply:
    for bundle in bundles:
        reply = gateway.send(bundle)
        assert reply.code == "ok", reply.text
    return reply


def refused(reply: Reply) -> list[tuple[str, str]]:
    assert reply.code == "fatal-error"
    return [(issue["code"], *issue["expression"]) for issue in reply.issues]


def outputs(gateway: Gateway, order: Order) -> list[str]:
    task = gateway.get("Task", order.identifier).resource
    return [output["valueReference"]["identifier"]["value"] for output in task.get("output", [])]


@pytest.mark.parametrize("maker", [HOSPITAL, PHARMACY])
def test_the_fulfiller_and_the_placer_of_an_order_make_parts_of_it(gateway: Gateway, maker: Party) -> None:
    whole = placed(gateway, *AT_WORK)
    part = part_of(gateway, whole, maker, FIRST)
    kept = gateway.get("Task", part.identifier).resource
    assert [reference["reference"] for reference in kept["partOf"]] == [gateway.get("Task", whole.identifier).reference]


def test_nobody_else_makes_a_part_of_an_order(gateway: Gateway) -> None:
    whole, part = placed(gateway, *AT_WORK), Order()
    assert refused(gateway.send(new_part(part, whole, FIRST, FIRST))) == [("forbidden", PART_OF)]
    assert refused(gateway.send(new_part(part, whole, FIRST, SECOND))) == [("forbidden", PART_OF)]
    assert gateway.find("Task", part.identifier) is None


def test_what_a_part_is_part_of_must_be_known_and_an_order_and_not_over(gateway: Gateway) -> None:
    unknown, over, asked, part = Order(), placed(gateway, "rejected"), placed(gateway, *AT_WORK), Order()
    assert refused(gateway.send(new_part(part, unknown, PHARMACY, FIRST))) == [("not-found", PART_OF)]
    assert refused(gateway.send(new_part(part, over, PHARMACY, FIRST))) == [("business-rule", PART_OF)]
    request = asked.cancellation_request()
    send(gateway, request)
    named = {"type": "Task", "identifier": request["entry"][1]["resource"]["identifier"][0]}
    assert refused(gateway.send(new_part(part, asked, PHARMACY, FIRST, partOf=[named]))) == [("business-rule", PART_OF)]


def test_outputs_of_parts_become_outputs_of_the_whole_each_once(gateway: Gateway) -> None:
    whole = placed(gateway, *AT_WORK)
    first, second = (part_of(gateway, whole, PHARMACY, owner) for owner in (FIRST, SECOND))

    send(gateway, first.update("in-progress", FIRST, output=[dispense("A")]))
    send(gateway, second.update("in-progress", SECOND, output=[dispense("B")]))
    send(gateway, first.update("completed", FIRST, output=[dispense("A"), dispense("C")]))
    version = gateway.get("Task", whole.identifier).version
    send(gateway, first.update("completed", FIRST, note=[{"text": "Thanks"}]))

    assert outputs(gateway, whole) == ["A", "B", "C"]
    assert outputs(gateway, first) == ["A", "C"]
    assert gateway.get("Task", whole.identifier).version == version
    assert gateway.get("Task", whole.identifier).resource["status"] == "in-progress"


@ON_EACH_DATABASE
def test_parts_that_end_at_once_both_give_their_outputs_to_the_whole(gateway: Gateway) -> None:
    whole = placed(gateway, *AT_WORK)
    parts = [part_of(gateway, whole, PHARMACY, owner) for owner in (FIRST, SECOND)]
    version = gateway.get("Task", whole.identifier).version

    said = zip(parts, (FIRST, SECOND), "AB", strict=True)
    gateway.send_at_once(*(part.update("completed", owner, output=[dispense(n)]) for part, owner, n in said))

    assert sorted(outputs(gateway, whole)) == ["A", "B"]
    assert gateway.get("Task", whole.identifier).version == version + 2


def test_outputs_rise_to_the_whole_of_the_whole(gateway: Gateway) -> None:
    whole = placed(gateway, *AT_WORK)
    middle = part_of(gateway, whole, PHARMACY, FIRST)
    inner = part_of(gateway, middle, FIRST, SECOND)
    send(gateway, inner.update("completed", SECOND, output=[dispense("A")]))
    assert [outputs(gateway, order) for order in (inner, middle, whole)] == [["A"], ["A"], ["A"]]


def test_a_value_that_a_part_has_corrected_is_corrected_in_the_whole(gateway: Gateway) -> None:
    whole = placed(gateway, *AT_WORK)
    part = part_of(gateway, whole, PHARMACY, FIRST)
    counts = [{"type": {"text": "tablets"}, "valueInteger": number} for number in (14, 21)]
    for count in counts:
        send(gateway, part.update("in-progress", FIRST, output=[count]))
    assert gateway.get("Task", whole.identifier).resource["output"] == [counts[1]]


def test_a_value_that_another_part_gives_too_is_not_lost_by_a_correction(gateway: Gateway) -> None:
    whole = placed(gateway, *AT_WORK)
    first, second = (part_of(gateway, whole, PHARMACY, owner) for owner in (FIRST, SECOND))
    counts = [{"type": {"text": "tablets"}, "valueInteger": number} for number in (14, 21)]
    send(gateway, first.update("in-progress", FIRST, output=counts[:1]))
    send(gateway, second.update("in-progress", SECOND, output=counts[:1]))
    send(gateway, first.update("in-progress", FIRST, output=counts[1:]))
    assert gateway.get("Task", whole.identifier).resource["output"] == counts


def test_contained_results_of_parts_become_the_wholes_each_its_own(gateway: Gateway) -> None:
    whole = placed(gateway, *AT_WORK)
    output = {"type": {"text": "Result"}, "valueReference": {"reference": "#result"}}
    for owner in (FIRST, SECOND):
        part = part_of(gateway, whole, PHARMACY, owner)
        result = {"resourceType": "Observation", "id": "result", "status": "final", "code": {"text": owner[0]}}
        for _ in range(2):
            send(gateway, part.update("in-progress", owner, output=[output], contained=[result]))
    task = gateway.get("Task", whole.identifier).resource
    assert [f"#{result['id']}" for result in task["contained"]] == [
        output["valueReference"]["reference"] for output in task["output"]
    ]
    assert sorted(result["code"]["text"] for result in task["contained"]) == [FIRST[0], SECOND[0]]


def test_an_order_with_very_many_parts_ends(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexed, "MOST", 1)
    whole = placed(gateway, *AT_WORK)
    for owner in (FIRST, SECOND):
        part_of(gateway, whole, PHARMACY, owner)
    reply = send(gateway, whole.update("completed"))
    assert "more than can be named" in reply.text


def test_the_whole_of_a_part_is_shown_to_its_parties_only(gateway: Gateway) -> None:
    whole = placed(gateway, *AT_WORK)
    part = part_of(gateway, whole, PHARMACY, FIRST)
    reply = send(gateway, part.update("completed", FIRST, output=[dispense("A")]))
    assert [task["identifier"][0]["value"] for task in reply.focus] == [part.identifier[1]]


def test_a_declined_part_gives_nothing_and_neither_does_one_to_a_whole_that_came_to_nothing(gateway: Gateway) -> None:
    whole = placed(gateway, "accepted")
    declined, late = Order(), part_of(gateway, whole, PHARMACY, SECOND)
    send(gateway, new_part(declined, whole, PHARMACY, FIRST))
    send(gateway, declined.update("rejected", FIRST, output=[dispense("A")]))
    send(gateway, whole.update("cancelled"))
    send(gateway, late.update("completed", SECOND, output=[dispense("B")]))
    assert outputs(gateway, whole) == []


def test_a_completed_whole_still_gets_what_its_parts_amend(gateway: Gateway) -> None:
    whole = placed(gateway, *AT_WORK)
    part = part_of(gateway, whole, PHARMACY, FIRST)
    send(gateway, part.update("completed", FIRST), whole.update("completed"))
    send(gateway, part.update("completed", FIRST, output=[dispense("A")]))
    assert outputs(gateway, whole) == ["A"]


@pytest.mark.parametrize(("before", "end"), [(AT_WORK, "completed"), (("accepted",), "cancelled")])
def test_an_order_that_ends_names_its_parts_that_are_open(gateway: Gateway, before: tuple[str, ...], end: str) -> None:
    whole = placed(gateway, *before)
    done, open_ = (part_of(gateway, whole, PHARMACY, owner) for owner in (FIRST, SECOND))
    send(gateway, done.update("completed", FIRST))

    reply = send(gateway, whole.update(end))

    assert [issue["severity"] for issue in reply.issues] == ["warning"]
    assert open_.identifier[1] in reply.text
    assert done.identifier[1] not in reply.text
    assert gateway.get("Task", open_.identifier).resource["status"] == "in-progress"


def test_orders_are_not_parts_of_each_other(gateway: Gateway) -> None:
    outer, inner = Order(), Order()
    draft = {"owner": organization(PHARMACY[0])}
    send(gateway, outer.new_order("draft"), inner.new_order("draft", **draft, partOf=[to(outer)]))
    for whole in (inner, outer):
        reply = gateway.send(outer.update("draft", partOf=[to(whole)]))
        assert refused(reply) == [("business-rule", PART_OF)]
    assert "partOf" not in gateway.get("Task", outer.identifier).resource
