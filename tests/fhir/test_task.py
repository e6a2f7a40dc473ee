"""The rules of a Task: its state machine, what never changes, its times, and what a cancellation comes to."""

from typing import Any

import pytest

from gateway.errors import Issue
from gateway.fhir import definitions
from gateway.fhir.policy.model import FINAL, STATUSES, Machine, Role
from gateway.fhir.task import merging
from gateway.fhir.task.checks import check_immutable, check_move, check_new, check_times
from gateway.fhir.task.elements import identifiers_of, is_cancellation
from gateway.fhir.task.merging import dated
from gateway.fhir.task.moving import moved
from gateway.fhir.task.outcomes import Outcome, cancellation_of_request, cancellation_of_task
from tests.terms import ORDERS, TERMS

Resource = dict[str, Any]

NOW = "2026-03-02T12:00:00.000Z"
PLACER = frozenset({Role.PLACER, Role.CREATOR})


def task(**elements: Any) -> Resource:
    identifier = [{"system": "http://hospital.example", "value": "1"}]
    return {"resourceType": "Task", "identifier": identifier, "status": "requested", "intent": "order", **elements}


def by_reference(kept: Resource, sent: Resource) -> bool:
    return bool(kept.get("reference") == sent.get("reference"))


def merged(kept: Resource, sent: Resource) -> Resource:
    return merging.merged(kept, sent, NOW, ORDERS)


def faults(kept: Resource, sent: Resource) -> list[Issue]:
    return check_immutable(kept, sent, "Task", by_reference, ORDERS)


def test_a_refused_move_names_the_state_the_move_who_may_make_which_and_the_way() -> None:
    [issue] = check_move("requested", "completed", "Bundle.entry[1].resource", ORDERS)
    assert issue.expression == "Bundle.entry[1].resource.status"
    assert issue.code == "business-rule"
    assert issue.text == (
        "The order is requested and cannot become completed. From requested it can go to received, accepted, rejected "
        "by its fulfiller; to cancelled by its placer; to entered-in-error by the party that created it. To get to "
        "completed, send one update after the other: accepted, then in-progress, then completed."
    )


def test_a_direct_cancellation_after_work_has_begun_is_told_to_become_a_request() -> None:
    for status in ("in-progress", "on-hold"):
        [issue] = check_move(status, "cancelled", "Task", ORDERS, PLACER)
        assert "send a cancellation request" in issue.text
        assert "abort" in issue.text


def test_a_move_from_a_final_status_is_told_so() -> None:
    for status in FINAL:
        [issue] = check_move(status, "in-progress", "Task", ORDERS)
        assert f"{status} is final" in issue.text


@pytest.mark.parametrize("status", ["", "done", "{}", "CANCELLED"])
def test_what_is_no_status_of_a_task_is_a_wrong_value(status: str) -> None:
    [issue] = check_move("requested", status, "Task", ORDERS)
    assert issue.code == "value"


def test_a_machine_of_other_rules_is_other_data() -> None:
    machine = Machine(
        name="two steps",
        states=("requested", "completed"),
        moves={"requested": {"completed": frozenset({Role.FULFILLER})}, "completed": {}},
        initial=frozenset({"requested"}),
        create=frozenset({Role.PLACER}),
        on_request={"requested": frozenset({"cancelled"})},
        unsettled=frozenset(),
        fields={},
    )
    assert check_move("requested", "completed", "Task", machine) == []
    assert check_new(task(), "Task", machine, PLACER) == []
    assert cancellation_of_task("requested", machine) == Outcome.PENDING
    assert check_move("requested", "accepted", "Task", machine)


@pytest.mark.parametrize("status", STATUSES)
def test_a_new_task_is_drafted_requested_or_ready(status: str) -> None:
    issues = check_new(task(status=status), "Task", ORDERS, PLACER)
    assert (issues == []) == (status in ("draft", "requested", "ready"))


def test_all_that_is_wrong_with_a_new_task_is_said_at_once() -> None:
    wrong = task(status="accepted", identifier=[{"system": "s"}], authoredOn="2026-02-01", lastModified="2026-01-01")
    issues = check_new(wrong, "Bundle.entry[1].resource", ORDERS, frozenset({Role.CREATOR, Role.FULFILLER}))
    assert [(issue.code, issue.expression) for issue in issues] == [
        ("invariant", "Bundle.entry[1].resource.lastModified"),
        ("required", "Bundle.entry[1].resource.identifier"),
        ("business-rule", "Bundle.entry[1].resource.status"),
        ("forbidden", "Bundle.entry[1].resource.owner"),
    ]


@pytest.mark.parametrize(
    ("authored", "modified", "is_sound"),
    [
        ("2026-03-02T10:00:00Z", "2026-03-02T10:00:00Z", True),
        ("2026-03-02T10:00:00Z", "2026-03-02T11:30:00+02:00", False),
        ("2026-03-02T10:00:00.123456789Z", "2026-03-02T10:00:00.123Z", False),
        ("2026-03-02", "2026-03-02T00:00:00Z", True),
        ("2026-03-02T23:00:00-10:00", "2026-03-02", True),
        ("2026-03", "2026-03-01", True),
        ("2026-03", "2026-01", False),
        ("2026", "2024", False),
        ("2026", "2026", True),
        ("9999", "9999-12-31T23:59:59Z", True),
        ("soon", "2026", True),
        (None, "2026", True),
        (17, "2026", True),
    ],
)
def test_a_task_is_not_modified_before_it_was_authored_as_far_as_one_can_tell(
    authored: Any, modified: Any, is_sound: bool
) -> None:
    assert (check_times({"authoredOn": authored, "lastModified": modified}, "Task") == []) == is_sound


@pytest.mark.parametrize("name", ["for", "requester", "focus"])
def test_a_settled_element_does_not_change_appear_or_become_another(name: str) -> None:
    kept = task(**{name: {"reference": "Patient/1"}})
    other = {"reference": "Patient/2"}
    assert faults(kept, task()) == []
    assert faults(kept, task(**{name: {"reference": "Patient/1", "display": "x"}})) == []
    [issue] = faults(kept, task(**{name: other}))
    assert issue.expression == f"Task.{name}"
    assert "Patient/1" in issue.text
    assert "Patient/2" in issue.text
    assert faults(task(), task(**{name: other}))


def test_a_list_of_references_may_be_sent_in_another_order_but_not_with_others() -> None:
    one, two, three = ({"reference": f"ServiceRequest/{number}"} for number in (1, 2, 3))
    kept = task(basedOn=[one, two])
    assert faults(kept, task(basedOn=[two, one])) == []
    for changed in ([one], [one, three], [one, two, three], [one, one]):
        assert faults(kept, task(basedOn=changed)), changed


def test_the_intent_does_not_change() -> None:
    [issue] = faults(task(), task(intent="plan"))
    assert issue.expression == "Task.intent"


def test_everything_may_change_while_the_task_is_a_draft() -> None:
    kept = task(status="draft", requester={"reference": "Organization/1"})
    sent = task(requester={"reference": "Organization/2"}, intent="plan")
    assert faults(kept, sent) == []
    assert merged(kept, sent)["requester"] == {"reference": "Organization/2"}


def test_an_identifier_may_be_added_or_left_out_but_not_replaced() -> None:
    known, own = (
        {"system": "http://hospital.example", "value": "1"},
        {"system": "http://pharmacy.example", "value": "7"},
    )
    other = {"system": "http://hospital.example", "value": "2"}
    kept = task(identifier=[known, own])
    assert faults(kept, task(identifier=[own])) == []
    assert faults(kept, task(identifier=[known, other])) == []
    [issue] = faults(kept, task(identifier=[own, other]))
    assert "http://hospital.example|1" in issue.text
    assert merged(kept, task(identifier=[own, {"value": "3"}]))["identifier"] == [known, own, {"value": "3"}]


def test_what_a_message_has_replaces_and_what_it_leaves_out_stays() -> None:
    kept = task(id="kept", description="old", note=[{"text": "n"}], _description={"id": "d"}, meta={"versionId": "3"})
    sent = task(id="theirs", status="accepted", description="new", meta={"versionId": "9", "tag": [{"code": "x"}]})
    result = merged(kept, sent)
    assert result == {
        **task(id="kept", status="accepted", description="new", note=[{"text": "n"}], lastModified=NOW),
        "meta": {"versionId": "3", "tag": [{"code": "x"}]},
    }


def test_a_reason_goes_with_its_status() -> None:
    kept = task(status="on-hold", statusReason={"text": "out of stock"})
    assert merged(kept, task(status="on-hold", description="x"))["statusReason"] == {"text": "out of stock"}
    assert "statusReason" not in merged(kept, task(status="in-progress"))


def test_a_narrative_goes_when_what_it_tells_has_changed() -> None:
    kept = task(text={"div": "<div>requested</div>"})
    assert merged(kept, task()) == kept
    assert "text" not in merged(kept, task(status="accepted"))


def test_a_change_is_dated_by_its_message_else_by_its_arrival() -> None:
    kept = task(lastModified="2026-01-01")
    assert merged(kept, task(status="accepted", lastModified="2026-02-01"))["lastModified"] == "2026-02-01"
    assert merged(kept, task(status="accepted"))["lastModified"] == NOW
    assert merged(kept, task())["lastModified"] == "2026-01-01"


def test_a_task_authored_in_our_future_is_not_modified_before_that() -> None:
    assert dated(task(authoredOn="2026-03-02T12:00:05Z"), NOW)["lastModified"] == "2026-03-02T12:00:05Z"


def test_contained_resources_come_and_go_with_what_refers_to_them() -> None:
    kept = task(contained=[{"id": "a"}, {"id": "b"}], owner={"reference": "#a"}, location={"reference": "#b"})
    sent = task(contained=[{"id": "a"}, {"id": "c"}], owner={"reference": "#a"}, location={"reference": "#c"})
    assert merged(kept, sent)["contained"] == [{"id": "a"}, {"id": "c"}]
    kept_owner = task(contained=[{"id": "d"}], location={"reference": "#d"})
    assert merged(kept, kept_owner)["contained"] == [{"id": "a"}, {"id": "d"}]


def test_a_task_that_the_gateway_moves_has_the_reason_of_that_only() -> None:
    kept = task(status="on-hold", statusReason={"text": "out of stock"}, text={"div": "<div>on hold</div>"})
    assert moved(kept, "cancelled", {"text": "wrong patient"}, NOW, ORDERS) == task(
        status="cancelled", statusReason={"text": "wrong patient"}, lastModified=NOW
    )
    assert "statusReason" not in moved(kept, "cancelled", None, NOW, ORDERS)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        *((status, "cancelled") for status in ("draft", "requested", "received", "accepted", "ready")),
        *((status, "pending") for status in ("in-progress", "on-hold")),
        ("completed", "too-late-completed"),
        ("cancelled", "already-cancelled"),
        *((status, "already-ended") for status in ("rejected", "failed", "entered-in-error")),
    ],
)
def test_what_a_cancellation_comes_to_depends_on_how_far_the_order_is(status: str, outcome: str) -> None:
    assert cancellation_of_task(status, ORDERS).value == outcome


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("active", "pending"),
        ("on-hold", "pending"),
        ("revoked", "already-cancelled"),
        ("completed", "too-late-completed"),
        ("stopped", "already-ended"),
    ],
)
def test_a_proposal_to_cancel_a_request_waits_unless_the_request_has_ended(status: str, outcome: str) -> None:
    assert cancellation_of_request(status).value == outcome


def test_a_cancellation_request_is_answered_once() -> None:
    machine = TERMS.policy.request
    for final in ("accepted", "rejected", "cancelled", "completed", "entered-in-error"):
        assert machine.is_final(final)
    assert not check_move("requested", "rejected", "Task", machine)
    [issue] = check_move("rejected", "accepted", "Task", machine, what="cancellation request")
    assert issue.text.startswith("The cancellation request is rejected and cannot become accepted.")


TASK_CODES = "http://hl7.org/fhir/CodeSystem/task-code"


@pytest.mark.parametrize(
    ("code", "is_one"),
    [
        ({"coding": [{"system": TASK_CODES, "code": "abort"}]}, True),
        ({"coding": [{"system": "http://x.example", "code": "x"}, {"system": TASK_CODES, "code": "abort"}]}, True),
        ({"coding": [{"system": TASK_CODES, "code": "fulfill"}]}, False),
        ({"coding": [{"code": "abort"}]}, False),
        ({"coding": [None, "abort"]}, False),
        ({"coding": "abort"}, False),
        ({"text": "abort"}, False),
        ("abort", False),
        (None, False),
    ],
)
def test_a_cancellation_request_is_known_by_its_code(code: Any, is_one: bool) -> None:
    assert is_cancellation({"code": code}) == is_one
    assert not is_cancellation({})


def test_identifiers_are_named_by_system_and_value() -> None:
    identifiers = [{"system": "s", "value": "1"}, {"value": "2"}, {"system": "s"}, None, "x", {"value": 3}]
    assert identifiers_of({"identifier": identifiers}) == ["s|1", "2"]
    assert identifiers_of({"identifier": {"value": "1"}}) == []


def test_every_status_of_fhir_is_in_the_machine() -> None:
    status = definitions.get_type("Task", "R4").fields["status"]
    assert status.binding is not None
    assert {code for _, code in status.binding.codes or ()} == {*STATUSES} == {*ORDERS.states}
