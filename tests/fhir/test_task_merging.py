"""What a message, or a Task that replaces it, leaves of a kept Task; what may still become of one that has ended."""

from typing import Any

import pytest

from gateway.fhir.task.elements import FOCUS_EXTENSIONS, focuses_of
from gateway.fhir.task.lists import added, raised, values_gone
from gateway.fhir.task.merging import merged, replaced
from gateway.fhir.task.performers import PERFORMER, actor_of, performer, performers_of, with_performers
from gateway.fhir.task.settled import check_ended, check_focuses, check_left_out
from tests.terms import ORDERS

NOW = "2026-03-02T12:00:00.000Z"
TASK = "Bundle.entry[1].resource"
Resource = dict[str, Any]
ODD: list[Any] = [None, "x", 1, [1], [None], [[]], {"coding": "x"}, [{"type": 1, "valueReference": "x"}], [{"url": []}]]


def task(status: str = "requested", **elements: Any) -> Resource:
    return {"resourceType": "Task", "status": status, "intent": "order", "lastModified": NOW, **elements}


def about(kind: str, number: str, **elements: Any) -> Resource:
    return {"type": {"text": kind}, "valueReference": {"reference": f"Observation/{number}"}, **elements}


def value(kind: str, text: str) -> Resource:
    return {"type": {"text": kind}, "valueString": text}


def focus(number: str, form: str = FOCUS_EXTENSIONS[0]) -> Resource:
    return {"url": form, "valueReference": {"reference": f"ServiceRequest/{number}"}}


def former(name: str) -> Resource:
    return performer({"identifier": {"system": "s", "value": name}})


def same(kept: Resource, sent: Resource) -> bool:
    return kept.get("reference") == sent.get("reference")


def test_a_list_grows_and_nothing_of_it_is_lost() -> None:
    assert added([about("a", "1")], [about("a", "2")]) == [about("a", "1"), about("a", "2")]
    assert added([about("a", "1"), about("a", "2")], [about("a", "2")]) == [about("a", "1"), about("a", "2")]
    assert added([about("a", "1")], [about("b", "1")]) == [about("a", "1"), about("b", "1")]
    assert added([], []) == []


def test_what_is_known_by_its_type_and_target_is_amended_where_it_stands() -> None:
    amended = about("a", "1", id="x")
    assert added([about("a", "1"), about("b", "2")], [amended]) == [amended, about("b", "2")]


def test_a_display_or_text_beside_its_codes_makes_no_other_type() -> None:
    coding = {"system": "s", "code": "c"}
    plain = about("a", "1") | {"type": {"coding": [coding]}}
    shown = about("a", "1") | {"type": {"coding": [coding | {"display": "C"}], "text": "See"}}
    assert added([plain], [shown]) == [shown]


def test_a_value_takes_the_place_of_the_earlier_one_of_its_type() -> None:
    kept = [value("progress", "4 of 10"), value("weight", "70 kg"), about("progress", "1")]
    assert added(kept, [value("progress", "5 of 10")]) == [*kept[1:], value("progress", "5 of 10")]


def test_several_values_of_a_type_in_one_message_stay_together() -> None:
    lots = [value("lot", "A"), value("lot", "B")]
    assert added([value("lot", "A")], lots) == lots


def test_the_outputs_of_a_part_are_raised_once_and_values_that_it_takes_back_go() -> None:
    own, now = [about("report", "9")], [about("a", "1"), value("progress", "1")]
    first = raised(own, now, [])
    assert first == [*own, *now]
    assert raised(first, now, []) == first
    assert values_gone(now, [value("progress", "2")]) == [value("progress", "1")]
    assert raised(first, [value("progress", "2")], now[1:]) == [*first[:2], value("progress", "2")]


@pytest.mark.parametrize("odd", ODD)
def test_whatever_a_sender_puts_in_a_list_is_taken_for_what_it_is(odd: Any) -> None:
    sent = task(input=odd, output=odd, note=odd, extension=odd, partOf=odd, focus=odd, meta=odd)
    for combine in (merged, replaced):
        combine(task(output=[about("a", "1")]), sent, NOW, ORDERS)
    check_focuses(task(), sent, TASK, same, ORDERS)
    check_left_out(task(), sent, TASK, ORDERS)
    assert with_performers(task(), performers_of(sent)) == task()
    focuses_of(sent)


def test_a_draft_is_edited_and_its_lists_are_replaced() -> None:
    draft = task("draft", input=[value("a", "1")])
    assert merged(draft, task("draft", input=[value("b", "2")]), NOW, ORDERS)["input"] == [value("b", "2")]


def test_further_focuses_stay_whatever_a_message_has() -> None:
    kept = task(focus={"reference": "ServiceRequest/1"}, extension=[focus("2")])
    own = {"url": "http://example.org/own", "valueString": "x"}
    for sent in (task(), task(focus=kept["focus"]), task(extension=[focus("3")]), task(extension=[own])):
        for left in (merged(kept, sent, NOW, ORDERS), replaced(kept, sent, NOW, ORDERS)):
            assert focuses_of(left) == focuses_of(kept)


def test_other_focuses_than_the_kept_ones_are_refused() -> None:
    kept = task(focus={"reference": "ServiceRequest/1"}, extension=[focus("2"), focus("3")])
    for named in ([focus("2"), focus("4")], [focus("2")]):
        [issue] = check_focuses(kept, task(extension=named), TASK, same, ORDERS)
        assert issue.expression == f"{TASK}.extension"
    other_form = [focus("3", FOCUS_EXTENSIONS[1]), focus("2", FOCUS_EXTENSIONS[1])]
    for extension in (other_form, kept["extension"], []):
        assert check_focuses(kept, task(extension=extension), TASK, same, ORDERS) == []
    assert check_focuses(task("draft"), task("draft", extension=[focus("2")]), TASK, same, ORDERS) == []


def test_performers_are_kept_each_once_in_their_order() -> None:
    first = with_performers(task(), [former("a")])
    second = with_performers(first, [*performers_of(first), former("b"), former("a")])
    assert [actor_of(one)["identifier"]["value"] for one in performers_of(second)] == ["a", "b"]
    assert all(one["url"] == PERFORMER for one in second["extension"])


def test_a_message_adds_performers_and_takes_none_away() -> None:
    kept = with_performers(task(), [former("a")])
    for combine in (merged, replaced):
        left = combine(kept, task(extension=[former("b")]), NOW, ORDERS)
        assert [actor_of(one)["identifier"]["value"] for one in performers_of(left)] == ["a", "b"]
        assert performers_of(combine(kept, task(), NOW, ORDERS)) == [former("a")]


def test_what_replaces_a_task_takes_away_what_it_leaves_out() -> None:
    kept = task(id="1", description="x", note=[{"text": "n"}], output=[about("a", "1")], focus={"reference": "S/1"})
    left = replaced(kept, task(businessStatus={"text": "b"}), "2026-03-03T00:00:00.000Z", ORDERS)
    assert left.keys() == {"resourceType", "status", "intent", "lastModified", "focus", "businessStatus"}
    assert left["lastModified"] == "2026-03-03T00:00:00.000Z"


def test_what_replaces_a_task_by_the_same_changes_nothing() -> None:
    kept = task(id="1", meta={"versionId": "1", "lastUpdated": NOW}, note=[{"text": "n"}])
    assert replaced(kept, kept, "2026-03-03T00:00:00.000Z", ORDERS) is kept
    assert replaced(kept, task(note=[{"text": "n"}], lastModified="2026-03-04"), NOW, ORDERS) is kept
    tagged = kept | {"meta": {"tag": [{"code": "x"}]}}
    assert replaced(kept, tagged, NOW, ORDERS)["meta"] == tagged["meta"]


def test_what_cannot_be_removed_is_named() -> None:
    kept = task(identifier=[{"system": "s", "value": "1"}, {"value": "2"}], focus={"reference": "S/1"}, requester={})
    sent = task(identifier=[{"system": "s", "value": "1"}])
    places = [issue.expression for issue in check_left_out(kept, sent, TASK, ORDERS)]
    assert places == [f"{TASK}.requester", f"{TASK}.focus", f"{TASK}.identifier"]
    assert check_left_out(kept, kept, TASK, ORDERS) == []
    assert check_left_out(task("draft", focus={}), task("draft"), TASK, ORDERS) == []


@pytest.mark.parametrize(
    ("status", "open_to"),
    [
        ("completed", {"note", "output", "businessStatus", "identifier"}),
        *((status, {"note", "identifier"}) for status in ("cancelled", "rejected", "failed", "entered-in-error")),
    ],
)
def test_what_may_still_be_added_to_a_task_that_has_ended(status: str, open_to: set[str]) -> None:
    kept = task(status)
    for name in ("note", "output", "businessStatus", "identifier", "statusReason", "owner", "input", "extension"):
        issues = check_ended(kept, kept | {name: [{"text": "x"}]}, TASK, ORDERS)
        assert [issue.expression for issue in issues] == ([] if name in open_to else [f"{TASK}.{name}"])
    assert check_ended(kept, task("requested", owner={}), TASK, ORDERS) == []
    assert check_ended(task("accepted"), task("accepted", owner={}), TASK, ORDERS) == []
