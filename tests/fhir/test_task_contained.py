"""Contained resources of a Task: what one message has under an id is not what another has under it."""

from typing import Any

from gateway.fhir.task.contained import carried, same_contained, set_apart, with_contained
from gateway.fhir.task.merging import merged, replaced
from tests.terms import ORDERS

NOW = "2026-03-02T12:00:00.000Z"


def task(**elements: Any) -> dict[str, Any]:
    return {"resourceType": "Task", "status": "requested", "intent": "order", **elements}


def to(name: str) -> dict[str, Any]:
    return {"reference": f"#{name}"}


def output(name: str) -> dict[str, Any]:
    return {"type": {"text": "Result"}, "valueReference": to(name)}


def test_what_is_contained_under_an_id_that_is_taken_gets_another() -> None:
    kept = task(requester=to("1"), contained=[{"id": "1", "name": "Hospital"}])
    sent = task(output=[output("1")], contained=[{"id": "1", "name": "Report"}])
    for combine in (merged, replaced):
        left = combine(kept, sent, NOW, ORDERS)
        assert left["requester"] == to("1")
        assert left["contained"][0] == kept["contained"][0]
        [found] = left["output"]
        name = left["contained"][1]["id"]
        assert (left["contained"][1]["name"], found["valueReference"]) == ("Report", to(name))
        assert combine(left, sent | {"requester": kept["requester"]}, NOW, ORDERS)["output"] == [found]


def test_what_refers_to_what_gets_another_id_goes_with_it() -> None:
    kept = task(contained=[{"id": "a", "of": to("b")}, {"id": "b", "n": 1}], owner=to("a"))
    sent = task(contained=[{"id": "a", "of": to("b")}, {"id": "b", "n": 2}], location=to("a"))
    apart = set_apart(sent, kept)
    first, second = apart["contained"]
    assert (apart["location"], first["of"]) == (to(first["id"]), to(second["id"]))
    assert {first["id"], second["id"]}.isdisjoint({"a", "b"})
    assert [item["id"] for item in merged(kept, sent, NOW, ORDERS)["contained"]] == [
        "a",
        "b",
        first["id"],
        second["id"],
    ]


def test_the_same_contained_resources_again_keep_their_ids() -> None:
    sent = task(contained=[{"id": "a" * 64, "n": 1}], owner=to("a" * 64))
    assert set_apart(sent, sent) is sent
    apart = set_apart(sent, task(contained=[{"id": "a" * 64, "n": 2}]))
    assert len(apart["contained"][0]["id"]) == 64


def test_a_list_is_carried_with_what_it_refers_to() -> None:
    part = task(
        output=[output("r"), {"type": {}, "valueReference": {"reference": "#"}}, {"type": {}, "valueString": "#r"}],
        contained=[{"id": "r", "subject": to("s")}, {"id": "s"}, {"id": "other"}],
    )
    items, contained = carried(part, "output", "Task/1")
    assert items[1:] == [{"type": {}, "valueReference": {"reference": "Task/1"}}, part["output"][2]]
    report, subject = contained
    assert (items[0]["valueReference"], report["subject"]) == (to(report["id"]), to(subject["id"]))
    assert carried(task(output=[{"type": {}, "valueString": "x"}]), "output", "Task/1")[1] == []


def test_what_nothing_refers_to_goes() -> None:
    there = task(owner=to("a"))
    assert with_contained(there, [{"id": "a"}, {"id": "b"}]) == there | {"contained": [{"id": "a"}]}
    assert with_contained(task(contained=[{"id": "a"}])) == task()
    about_it = [{"id": "p", "target": {"reference": "#"}}]
    assert with_contained(task(), about_it) == task(contained=about_it)
    plan = task(instantiatesCanonical="#plan")
    assert with_contained(plan, [{"id": "plan"}]) == plan | {"contained": [{"id": "plan"}]}


def test_two_contained_resources_are_one_by_a_business_identifier() -> None:
    one = task(contained=[{"id": "a", "identifier": [{"system": "s", "value": "1"}]}])
    other = task(contained=[{"id": "b", "name": "x", "identifier": [{"system": "s", "value": "1"}]}, {"id": "c"}])
    assert same_contained(one, to("a"), other, to("b"))
    assert not same_contained(one, to("a"), other, to("c"))
    assert not same_contained(task(), to("c"), other, to("c"))
