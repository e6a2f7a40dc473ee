"""Who may change what of a Task, in which version, and how what is refused is put."""

from typing import Any

import pytest

from gateway.errors import Issue
from gateway.fhir.policy.loading import load
from gateway.fhir.policy.model import Role, Roles
from gateway.fhir.task.checks import check_fields, check_immutable, check_move, check_new, check_version

Resource = dict[str, Any]

COW, FHIR, BSER = (load(name).order for name in ("cow", "fhir", "bser"))
PLACER, FULFILLER = frozenset({Role.PLACER, Role.CREATOR}), frozenset({Role.FULFILLER})
CANDIDATE, CREATOR, NOBODY = frozenset({Role.CANDIDATE}), frozenset({Role.CREATOR}), frozenset[Role]()
BUSINESS = "http://hl7.org/fhir/us/bser/CodeSystem/TaskBusinessStatusCS"


def task(status: str = "requested", code: str | None = None, **elements: Any) -> Resource:
    business = {"businessStatus": {"coding": [{"system": BUSINESS, "code": code}]}} if code else {}
    return {"identifier": [{"system": "s", "value": "1"}], "status": status, **business, **elements}


def told(issues: list[Issue]) -> list[tuple[str, str | None]]:
    return [(issue.code, issue.expression) for issue in issues]


# --- moves ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "roles", "text"),
    [
        (
            *("requested", "accepted", PLACER),
            (
                "The order is requested, and to accepted it is taken by its fulfiller; you are its placer. You can "
                "take it to: cancelled or entered-in-error. What you want of the fulfiller, ask for by a Task of "
                "its own, with the code abort, change, suspend or resume."
            ),
        ),
        (
            *("requested", "cancelled", FULFILLER),
            (
                "The order is requested, and to cancelled it is taken by its placer; you are its fulfiller. You can"
                " take it to: received, accepted or rejected."
            ),
        ),
        (
            *("completed", "entered-in-error", FULFILLER),
            (
                "The order is completed, and to entered-in-error it is taken by the party that created it; you are "
                "its fulfiller. You can take it to: nothing."
            ),
        ),
        (
            *("in-progress", "cancelled", FULFILLER),
            (
                "The order is in-progress and cannot become cancelled. From in-progress it can go to on-hold, "
                "failed, completed by its fulfiller; to entered-in-error by the party that created it. It is "
                "cancelled by the placer's cancellation request only, which you accept or reject. Send one of "
                "these; or send a cancellation request to the placer, with the intent proposal and the order's "
                "Request in focus."
            ),
        ),
        (
            *("requested", "accepted", NOBODY),
            (
                "The order is requested, and to accepted it is taken by its fulfiller. You are no party of this "
                "order: neither its Task.requester nor its Task.owner is known by your identifier or endpoint. Send"
                " it as the party that is named there, with your identifier in MessageHeader.sender; or have the "
                "order's placer name you."
            ),
        ),
    ],
)
def test_a_refused_move_is_told_in_full(old: str, new: str, roles: Roles, text: str) -> None:
    [issue] = check_move(old, new, "Task", COW, roles)
    assert issue.text == text
    assert issue.expression == "Task.status"


def test_a_state_with_a_business_status_is_told_with_both() -> None:
    [issue] = check_move("received", "in-progress/5.1.1", "Task", BSER, FULFILLER)
    assert "The order is received (2.0) and cannot become in-progress (5.1.1)." in issue.text
    assert "send one update after the other: accepted (3.0), then in-progress (5.1.1)." in issue.text
    [issue] = check_move("accepted", "in-progress/5.2", "Task", BSER, FULFILLER)
    assert "You can take it to: in-progress, in-progress (5.1.1), in-progress (5.1.4), rejected (4.0)" in issue.text


def test_a_placer_that_may_not_cancel_a_referral_itself_is_told_to_ask() -> None:
    [issue] = check_move("in-progress/5.2", "cancelled", "Task", BSER, PLACER)
    assert issue.code == "forbidden"
    assert "send a cancellation request" in issue.text


# --- business statuses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "state"),
    [
        ("in-progress", "5.2", "in-progress/5.2"),
        ("in-progress", "5.1", "in-progress"),
        ("in-progress", "ours", "in-progress"),
        ("in-progress", None, "in-progress"),
        ("received", "2.0", "received"),
        ("received", None, "received"),
        ("completed", "5.2", "completed"),
    ],
)
def test_a_state_is_a_status_or_a_status_with_a_code(status: str, code: str | None, state: str) -> None:
    assert BSER.state_of(task(status, code)) == state
    assert COW.state_of(task(status, code)) == status


@pytest.mark.parametrize("odd", [None, 3, "x", ["x"], {}, {"coding": 3}, {"coding": [None, {"system": BUSINESS}]}])
def test_a_business_status_of_the_wrong_shape_is_none(odd: Any) -> None:
    of = task("in-progress", businessStatus=odd)
    assert BSER.state_of(of) == "in-progress"
    assert BSER.misfit(of) is None
    assert BSER.misfit({"status": odd, "businessStatus": {"coding": [{"system": BUSINESS, "code": "7.0"}]}}) is None


@pytest.mark.parametrize(
    ("status", "code", "is_sound"),
    [
        *(("received", "2.0", True), ("accepted", "3.0", True), ("in-progress", "5.1.4", True)),
        *(("in-progress", "5.1", True), ("received", "ours", True), ("draft", "7.0", True)),
        *(("accepted", "2.0", False), ("in-progress", "7.0", False), ("completed", "5.2", False)),
    ],
)
def test_a_business_status_goes_with_its_status(status: str, code: str, is_sound: bool) -> None:
    issues = check_fields(task("accepted", "3.0"), task(status, code), "Task", BSER, FULFILLER)
    assert told(issues) == ([] if is_sound else [("business-rule", "Task.businessStatus")])


def test_a_business_status_that_does_not_fit_is_told_with_those_that_do() -> None:
    [issue] = check_new(task("received", "7.0"), "Task", BSER, PLACER)
    assert issue.text == (
        "The business status 7.0 does not go with the status received, which has 2.0. Send both as they belong "
        f"together, of the system {BUSINESS}."
    )


def test_a_business_status_that_the_gateway_has_left_so_is_not_held_against_the_sender() -> None:
    kept = task("cancelled", "5.2")
    assert check_fields(kept, {**kept, "note": [{"text": "n"}]}, "Task", BSER, FULFILLER) == []


# --- elements ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("element", "roles", "may"),
    [
        *(
            ("output", FULFILLER, True),
            ("output", PLACER, False),
            ("output", CANDIDATE, True),
            ("output", CREATOR, False),
        ),
        *(("priority", PLACER, True), ("priority", FULFILLER, False), ("priority", CANDIDATE, False)),
        *(("_priority", FULFILLER, False), ("_priority", PLACER, True)),
        *(("note", FULFILLER, True), ("note", PLACER, True), ("businessStatus", CANDIDATE, True)),
    ],
)
def test_an_element_is_changed_by_those_in_the_pack(element: str, roles: Roles, may: bool) -> None:
    kept = task()
    for before, after in (({}, {element: "x"}), ({element: "x"}, {}), ({element: "x"}, {element: "y"})):
        issues = check_fields(kept | before, kept | after, "Task", COW, roles)
        assert told(issues) == ([] if may else [("forbidden", f"Task.{element.lstrip('_')}")])
        assert check_fields(kept | before, kept | after, "Task", FHIR, roles) == []
    assert check_fields(kept | {element: "x"}, kept | {element: "x"}, "Task", COW, roles) == []


def test_a_refused_change_of_an_element_is_told_in_full() -> None:
    [issue] = check_fields(task(), task(output=[{}]), "Task", COW, PLACER)
    assert issue.text == (
        "The order is requested, and Task.output is changed by its fulfiller; you are its placer. Leave the element "
        "out, or send it as it was; to have it changed, ask for it by a Task of its own, with the code change."
    )


CHANGES: list[Resource] = [{}, {"note": [{"text": "n"}]}, {"output": [{}]}]


def test_a_bystander_changes_nothing_and_learns_nothing() -> None:
    for machine in (COW, FHIR, BSER):
        for status in machine.states:
            kept = task(status.partition("/")[0])
            for change in CHANGES:
                [issue] = check_fields(kept, kept | change, "Task", machine, NOBODY)
                assert (issue.code, issue.expression) == ("forbidden", "Task")
                assert "You are no party of this order" in issue.text


def test_a_draft_is_its_placers_to_change() -> None:
    kept, sent = task("draft", intent="order"), task("draft", intent="plan", output=[{}])
    assert check_fields(kept, sent, "Task", COW, PLACER) == []
    assert check_immutable(kept, sent, "Task", _same, COW, PLACER) == []
    assert told(check_immutable(kept, sent, "Task", _same, COW, FULFILLER)) == [("business-rule", "Task.intent")]
    assert check_fields(kept, task("draft", priority="stat"), "Task", COW, FULFILLER)


def _same(kept: Resource, sent: Resource) -> bool:
    return kept == sent


# --- new ones ---------------------------------------------------------------------------------------------------------


def test_an_order_is_placed_by_its_placer() -> None:
    assert check_new(task(), "Task", COW, PLACER) == []
    [issue] = check_new(task(), "Task", COW, frozenset({Role.CREATOR, Role.FULFILLER}))
    assert (issue.code, issue.expression) == ("forbidden", "Task.owner")
    assert "you are its fulfiller" in issue.text
    [issue] = check_new(task(), "Task", COW, CREATOR)
    assert (issue.code, issue.expression) == ("forbidden", "Task.requester")
    assert "another party than you" in issue.text


def test_where_no_role_places_an_order_whoever_sends_one_does() -> None:
    assert check_new(task(), "Task", FHIR, CREATOR) == []


# --- versions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "is_our_address", "is_stale"),
    [
        ({"meta": {"versionId": "2"}}, True, True),
        ({"meta": {"versionId": "3"}}, True, False),
        ({"meta": {"versionId": "03"}}, True, True),
        ({"id": "ours", "meta": {"versionId": "2"}}, False, True),
        ({"id": "theirs", "meta": {"versionId": "2"}}, False, False),
        ({"meta": {"versionId": "2"}}, False, False),
        ({"id": "ours"}, True, False),
        ({"id": "ours", "meta": {}}, True, False),
        *(({"id": "ours", "meta": odd}, True, False) for odd in (None, 2, "2", ["2"], {"versionId": 2})),
    ],
)
def test_a_stale_version_is_refused_where_it_is_the_gateways(
    sent: Resource, is_our_address: bool, is_stale: bool
) -> None:
    issues = check_version(3, sent, is_our_address, "ours", "Task")
    assert told(issues) == ([("conflict", "Task.meta.versionId")] if is_stale else [])


def test_a_stale_version_is_told_with_the_current_one() -> None:
    [issue] = check_version(3, {"meta": {"versionId": "2"}}, True, "ours", "Task")
    assert issue.text == (
        "This is about version 2 of Task/ours, of which the gateway keeps version 3. Read that one, make the change to "
        "it, and send it with its version; or name none."
    )


def test_a_way_is_made_of_moves_that_a_party_may_make() -> None:
    machine = load("cow").order
    fulfiller, placer = frozenset({Role.FULFILLER}), frozenset({Role.PLACER})
    assert machine.way("requested", "completed", fulfiller) == ["accepted", "in-progress", "completed"]
    assert machine.way("requested", "completed", placer) == []
    assert machine.way("in-progress", "cancelled", placer) == []
    assert machine.way("completed", "failed") == []
