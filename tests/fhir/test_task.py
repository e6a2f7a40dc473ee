"""The rules of a Task: its state machine, what never changes, its times, and what a cancellation comes to."""

from typing import Any

import pytest

from gateway.fhir.task import (
    CANCELLATION,
    COW,
    Outcome,
    Resource,
    StateMachine,
    cancellation_of_request,
    cancellation_of_task,
    cancelled,
    check_immutable,
    check_move,
    check_new,
    check_times,
    dated,
    identifiers_of,
    is_cancellation,
    merged,
)

NOW = "2026-03-02T12:00:00.000Z"
STATUSES = [
    *("draft", "requested", "received", "accepted", "rejected", "ready"),
    *("cancelled", "in-progress", "on-hold", "failed", "completed", "entered-in-error"),
]
# The diagram of https://hl7.org/fhir/R4/task.html#statemachine, less what only an accepted request may do.
DIAGRAM = {
    "draft": "requested ready cancelled",
    "requested": "received accepted rejected cancelled",
    "received": "accepted rejected cancelled",
    "accepted": "in-progress cancelled",
    "ready": "in-progress cancelled",
    "in-progress": "on-hold completed failed",
    "on-hold": "in-progress",
}


def task(**elements: Any) -> Resource:
    identifier = [{"system": "http://hospital.example", "value": "1"}]
    return {"resourceType": "Task", "identifier": identifier, "status": "requested", "intent": "order", **elements}


def by_reference(kept: Resource, sent: Resource) -> bool:
    return bool(kept.get("reference") == sent.get("reference"))


@pytest.mark.parametrize("old", STATUSES)
@pytest.mark.parametrize("new", STATUSES)
def test_a_task_moves_as_the_diagram_says_and_can_always_turn_out_an_error(old: str, new: str) -> None:
    is_allowed = new == old or new in DIAGRAM.get(old, "").split()
    is_error = new == "entered-in-error"
    assert (check_move(old, new, "Task") == []) == (is_allowed or is_error)


def test_a_refused_move_names_the_state_the_move_what_is_allowed_and_the_way() -> None:
    [issue] = check_move("requested", "completed", "Bundle.entry[1].resource")
    assert issue.expression == "Bundle.entry[1].resource.status"
    assert issue.code == "business-rule"
    assert issue.text == (
        "The order is requested and cannot become completed. From requested it can go to: received, accepted, "
        "rejected, cancelled, entered-in-error. To get to completed, send one update after the other: accepted, then "
        "in-progress, then completed."
    )


def test_a_direct_cancellation_after_work_has_begun_is_told_to_become_a_request() -> None:
    for status in ("in-progress", "on-hold"):
        [issue] = check_move(status, "cancelled", "Task")
        assert "send a cancellation request" in issue.text
        assert "abort" in issue.text


def test_a_move_from_a_final_status_is_told_so() -> None:
    [issue] = check_move("completed", "in-progress", "Task")
    assert "completed is final" in issue.text


@pytest.mark.parametrize("status", ["", "done", "{}", "CANCELLED"])
def test_what_is_no_status_of_a_task_is_a_wrong_value(status: str) -> None:
    [issue] = check_move("requested", status, "Task")
    assert issue.code == "value"


def test_a_machine_of_other_rules_is_other_data() -> None:
    machine = StateMachine(
        name="two steps",
        moves={"requested": frozenset({"completed"}), "completed": frozenset()},
        initial=frozenset({"requested"}),
        on_request={"requested": frozenset({"cancelled"})},
        unsettled=frozenset(),
    )
    assert check_move("requested", "completed", "Task", machine) == []
    assert check_new(task(), "Task", machine) == []
    assert cancellation_of_task("requested", machine) == Outcome.PENDING
    assert check_move("requested", "accepted", "Task", machine)


@pytest.mark.parametrize("status", STATUSES)
def test_a_new_task_is_drafted_requested_or_ready(status: str) -> None:
    assert (check_new(task(status=status), "Task") == []) == (status in ("draft", "requested", "ready"))


def test_all_that_is_wrong_with_a_new_task_is_said_at_once() -> None:
    wrong = task(status="accepted", identifier=[{"system": "s"}], authoredOn="2026-02-01", lastModified="2026-01-01")
    issues = check_new(wrong, "Bundle.entry[1].resource")
    assert [(issue.code, issue.expression) for issue in issues] == [
        ("invariant", "Bundle.entry[1].resource.lastModified"),
        ("required", "Bundle.entry[1].resource.identifier"),
        ("business-rule", "Bundle.entry[1].resource.status"),
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
    assert check_immutable(kept, task(), "Task", by_reference) == []
    assert check_immutable(kept, task(**{name: {"reference": "Patient/1", "display": "x"}}), "Task", by_reference) == []
    [issue] = check_immutable(kept, task(**{name: other}), "Task", by_reference)
    assert issue.expression == f"Task.{name}"
    assert "Patient/1" in issue.text
    assert "Patient/2" in issue.text
    assert check_immutable(task(), task(**{name: other}), "Task", by_reference)


def test_a_list_of_references_may_be_sent_in_another_order_but_not_with_others() -> None:
    one, two, three = ({"reference": f"ServiceRequest/{number}"} for number in (1, 2, 3))
    kept = task(basedOn=[one, two])
    assert check_immutable(kept, task(basedOn=[two, one]), "Task", by_reference) == []
    for changed in ([one], [one, three], [one, two, three], [one, one]):
        assert check_immutable(kept, task(basedOn=changed), "Task", by_reference), changed


def test_the_intent_does_not_change() -> None:
    [issue] = check_immutable(task(), task(intent="plan"), "Task", by_reference)
    assert issue.expression == "Task.intent"


def test_everything_may_change_while_the_task_is_a_draft() -> None:
    kept = task(status="draft", requester={"reference": "Organization/1"})
    sent = task(requester={"reference": "Organization/2"}, intent="plan")
    assert check_immutable(kept, sent, "Task", by_reference) == []
    assert merged(kept, sent, NOW)["requester"] == {"reference": "Organization/2"}


def test_an_identifier_may_be_added_or_left_out_but_not_replaced() -> None:
    known, own = (
        {"system": "http://hospital.example", "value": "1"},
        {"system": "http://pharmacy.example", "value": "7"},
    )
    other = {"system": "http://hospital.example", "value": "2"}
    kept = task(identifier=[known, own])
    assert check_immutable(kept, task(identifier=[own]), "Task", by_reference) == []
    assert check_immutable(kept, task(identifier=[known, other]), "Task", by_reference) == []
    [issue] = check_immutable(kept, task(identifier=[own, other]), "Task", by_reference)
    assert "http://hospital.example|1" in issue.text
    assert merged(kept, task(identifier=[own, {"value": "3"}]), NOW)["identifier"] == [known, own, {"value": "3"}]


def test_what_a_message_has_replaces_and_what_it_leaves_out_stays() -> None:
    kept = task(id="kept", description="old", note=[{"text": "n"}], _description={"id": "d"}, meta={"versionId": "3"})
    sent = task(id="theirs", status="accepted", description="new", meta={"versionId": "9", "tag": [{"code": "x"}]})
    result = merged(kept, sent, NOW)
    assert result == {
        **task(id="kept", status="accepted", description="new", note=[{"text": "n"}], lastModified=NOW),
        "meta": {"versionId": "3", "tag": [{"code": "x"}]},
    }


def test_a_reason_goes_with_its_status() -> None:
    kept = task(status="on-hold", statusReason={"text": "out of stock"})
    assert merged(kept, task(status="on-hold", description="x"), NOW)["statusReason"] == {"text": "out of stock"}
    assert "statusReason" not in merged(kept, task(status="in-progress"), NOW)


def test_a_narrative_goes_when_what_it_tells_has_changed() -> None:
    kept = task(text={"div": "<div>requested</div>"})
    assert merged(kept, task(), NOW) == kept
    assert "text" not in merged(kept, task(status="accepted"), NOW)


def test_a_change_is_dated_by_its_message_else_by_its_arrival() -> None:
    kept = task(lastModified="2026-01-01")
    assert merged(kept, task(status="accepted", lastModified="2026-02-01"), NOW)["lastModified"] == "2026-02-01"
    assert merged(kept, task(status="accepted"), NOW)["lastModified"] == NOW
    assert merged(kept, task(), NOW)["lastModified"] == "2026-01-01"


def test_a_task_authored_in_our_future_is_not_modified_before_that() -> None:
    assert dated(task(authoredOn="2026-03-02T12:00:05Z"), NOW)["lastModified"] == "2026-03-02T12:00:05Z"


def test_contained_resources_come_and_go_with_what_refers_to_them() -> None:
    kept = task(contained=[{"id": "a"}, {"id": "b"}], owner={"reference": "#a"}, location={"reference": "#b"})
    sent = task(contained=[{"id": "a", "new": True}, {"id": "c"}], location={"reference": "#c"})
    assert merged(kept, sent, NOW)["contained"] == [{"id": "a", "new": True}, {"id": "c"}]
    kept_owner = task(contained=[{"id": "d"}], location={"reference": "#d"})
    assert merged(kept, kept_owner, NOW)["contained"] == [{"id": "a"}, {"id": "d"}]


def test_a_cancelled_task_has_the_reason_of_its_cancellation_only() -> None:
    kept = task(status="on-hold", statusReason={"text": "out of stock"}, text={"div": "<div>on hold</div>"})
    assert cancelled(kept, {"text": "wrong patient"}, NOW) == task(
        status="cancelled", statusReason={"text": "wrong patient"}, lastModified=NOW
    )
    assert "statusReason" not in cancelled(kept, None, NOW)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        *((status, "cancelled") for status in ("draft", "requested", "received", "accepted", "ready")),
        *((status, "pending") for status in ("in-progress", "on-hold")),
        ("completed", "too-late-completed"),
        ("cancelled", "already-cancelled"),
        *((status, "already-ended") for status in ("rejected", "failed", "entered-in-error")),
        ("never heard of", "already-ended"),
    ],
)
def test_what_a_cancellation_comes_to_depends_on_how_far_the_order_is(status: str, outcome: str) -> None:
    assert cancellation_of_task(status).value == outcome


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
    for final in ("accepted", "rejected", "cancelled", "completed", "entered-in-error"):
        assert CANCELLATION.is_final(final)
    assert not check_move("requested", "rejected", "Task", CANCELLATION)
    [issue] = check_move("rejected", "accepted", "Task", CANCELLATION, "cancellation request")
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
    assert sorted(COW.moves) == sorted(STATUSES)
