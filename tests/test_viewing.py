"""What a partner that has proved itself may see: its own Tasks, what it has made, and what it is told with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.authentication import Gate, gate_in, hospital, laboratory, partner, pharmacy
from tests.web.served import ORGANIZATIONS, order


class Four:
    """A gateway, its partners' keys, and what the hospital has ordered of the pharmacy."""

    def __init__(self, one: Gate) -> None:
        self.gate = one
        self.keys = {name: one.key(name) for name in ("Hospital", "Pharmacy", "Laboratory", "Ward")}
        self.request = self.post("Hospital", "ServiceRequest", request("SR-1"))
        focus = {"reference": f"ServiceRequest/{self.request}"}
        self.task = self.post("Hospital", "Task", order(focus=focus))

    def post(self, who: str, kind: str, resource: Any) -> str:
        answer = self.gate.ask("POST", kind, resource, key=self.keys[who])
        assert answer.status_code == 201, answer.text
        made: str = answer.json["id"]
        return made

    def patch(self, who: str, address: str, patch: Any) -> None:
        named = {"key": self.keys[who], "Content_Type": "application/json-patch+json"}
        answer = self.gate.ask("PATCH", address, patch, **named)
        assert answer.status_code == 200, answer.text

    def sees(self, who: str, address: str) -> bool:
        return bool(self.gate.ask("GET", address, key=self.keys[who]).status_code == 200)

    def found(self, who: str, query: str) -> list[str]:
        answer = self.gate.ask("GET", query, key=self.keys[who])
        assert answer.status_code == 200, answer.text
        entries = [entry["resource"] for entry in answer.json.get("entry", [])]
        return sorted(resource["id"] for resource in entries if resource["resourceType"] != "OperationOutcome")


def request(number: str) -> dict[str, Any]:
    return {
        "resourceType": "ServiceRequest",
        "identifier": [{"system": "http://hospital.example/requests", "value": number}],
        "status": "active",
        "intent": "order",
        "code": {"text": "Creatinine"},
        "subject": {"display": "Somebody"},
    }


def unowned(number: str, **elements: Any) -> dict[str, Any]:
    """An order of the hospital that is there for whoever takes it."""
    return {name: value for name, value in order(number, **elements).items() if name != "owner"}


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, redis_server: str) -> Iterator[Four]:
    ward = partner("Ward", "WARD-4", "urn:demo:ward", role="placer")
    known = (hospital(), pharmacy(), laboratory(), ward)
    with gate_in(tmp_path_factory.mktemp("viewing"), sqlite_template, redis_server, *known) as one:
        yield Four(one)


def test_what_a_task_is_about_is_seen_by_its_parties_alone(four: Four) -> None:
    address = f"ServiceRequest/{four.request}"
    assert [four.sees(who, address) for who in four.keys] == [True, True, False, False]
    assert four.found("Pharmacy", "Task?_include=Task:focus") == sorted([four.task, four.request])
    assert four.found("Hospital", "ServiceRequest?_revinclude=Task:focus") == sorted([four.task, four.request])
    assert four.found("Laboratory", "ServiceRequest?_revinclude=Task:focus") == []


def test_a_reference_gives_nobody_a_view_of_what_is_anothers(four: Four) -> None:
    own = {
        **order("L-1", focus={"reference": f"ServiceRequest/{four.request}"}),
        "requester": {"identifier": {"system": ORGANIZATIONS, "value": "LABORATORY-3"}},
    }
    task = four.post("Laboratory", "Task", own)
    assert four.sees("Laboratory", f"Task/{task}")
    assert not four.sees("Laboratory", f"ServiceRequest/{four.request}")
    assert four.found("Laboratory", "Task?_include=Task:focus") == [task]


def test_a_party_is_found_by_what_is_kept_of_it_too(four: Four) -> None:
    organization = {
        "resourceType": "Organization",
        "identifier": [{"system": ORGANIZATIONS, "value": "LABORATORY-3"}],
        "name": "Laboratory",
    }
    kept = four.post("Hospital", "Organization", organization)
    task = four.post("Hospital", "Task", order("O-1", owner={"reference": f"Organization/{kept}"}))
    assert four.sees("Laboratory", f"Task/{task}")
    assert task in four.found("Laboratory", "Task?status=requested")
    assert task not in four.found("Pharmacy", "Task?status=requested")


def test_an_order_that_waits_for_somebody_is_seen_by_all_that_may_take_it(four: Four) -> None:
    """With what is told with it, and not the trail of who else has tried."""
    work = four.post("Hospital", "ServiceRequest", request("SR-2"))
    task = four.post("Hospital", "Task", unowned("B-1", focus={"reference": f"ServiceRequest/{work}"}))
    for address in (f"Task/{task}", f"Task/{task}/_history", f"Task/{task}/_history/1", f"ServiceRequest/{work}"):
        assert [four.sees(who, address) for who in four.keys] == [True, True, True, False], address
    assert work in four.found("Laboratory", "Task?status=requested&_include=Task:focus")
    assert [task in four.found(who, "Task?status=requested") for who in four.keys] == [True, True, True, False]
    assert [four.sees(who, f"Provenance/{task}.1") for who in four.keys] == [True, False, False, False]
    trail = "Task?_revinclude=AuditEvent:entity&_revinclude=Provenance:target&_id="
    assert four.found("Laboratory", f"{trail}{task}") == [task]
    assert len(four.found("Hospital", f"{trail}{task}")) == 3
    owner = {"identifier": {"system": ORGANIZATIONS, "value": "PHARMACY-7"}}
    focus = {"reference": f"ServiceRequest/{work}"}
    taken = {**unowned("B-1", focus=focus), "id": task, "status": "accepted", "owner": owner}
    answer = four.gate.ask("PUT", f"Task/{task}", taken, key=four.keys["Pharmacy"])
    assert answer.status_code == 200, answer.text
    for address in (f"Task/{task}", f"Task/{task}/_history/1", f"ServiceRequest/{work}"):
        assert [four.sees(who, address) for who in four.keys] == [True, True, False, False], address
    assert [task in four.found(who, "Task") for who in four.keys] == [True, True, False, False]


def test_who_only_places_orders_does_not_see_those_of_others_that_wait(four: Four) -> None:
    task = four.post("Hospital", "Task", unowned("B-2"))
    assert not four.sees("Ward", f"Task/{task}")
    assert task not in four.found("Ward", "Task")


def test_an_order_that_nobody_may_take_yet_or_any_more_is_its_placers(four: Four) -> None:
    draft = four.post("Hospital", "Task", unowned("B-3", status="draft"))
    over = four.post("Hospital", "Task", unowned("B-4"))
    ended = {**unowned("B-4"), "id": over, "status": "cancelled"}
    assert four.gate.ask("PUT", f"Task/{over}", ended, key=four.keys["Hospital"]).status_code == 200
    ordered = four.post("Hospital", "Task", order("B-6"))
    abort = {"coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "abort"}]}
    asked = four.post("Hospital", "Task", unowned("B-5", code=abort, focus={"reference": f"Task/{ordered}"}))
    for task in (draft, over, asked):
        assert not four.sees("Laboratory", f"Task/{task}")
        assert task not in four.found("Laboratory", "Task")


def test_who_is_selected_learns_nothing_of_who_else_has_bid(four: Four) -> None:
    work = four.post("Hospital", "ServiceRequest", request("SR-3"))
    focus = {"reference": f"ServiceRequest/{work}"}
    owners = {"Pharmacy": "PHARMACY-7", "Laboratory": "LABORATORY-3"}
    tasks = {}
    for number, (who, value) in enumerate(owners.items()):
        offer = order(f"S-{number}", focus=focus, owner={"identifier": {"system": ORGANIZATIONS, "value": value}})
        tasks[who] = four.post("Hospital", "Task", offer)
        bid = [{"op": "replace", "path": "/status", "value": "accepted"}]
        four.patch(who, f"Task/{tasks[who]}", bid)
    status = {"coding": [{"system": "urn:x-fhir-gateway:business-status", "code": "selected"}]}
    four.patch("Hospital", f"Task/{tasks['Pharmacy']}", [{"op": "add", "path": "/businessStatus", "value": status}])
    rival = four.gate.ask("GET", f"Task/{tasks['Laboratory']}", key=four.keys["Hospital"]).json
    assert rival["status"] == "cancelled"
    events = four.gate.ask("GET", f"AuditEvent?entity=Task/{tasks['Pharmacy']}", key=four.keys["Pharmacy"])
    assert tasks["Pharmacy"] in events.text
    assert tasks["Laboratory"] not in events.text
    for one in events.json["entry"]:
        read = four.gate.ask("GET", f"AuditEvent/{one['resource']['id']}", key=four.keys["Pharmacy"])
        assert read.json == one["resource"]
    found = four.gate.ask("GET", "Task?_revinclude=AuditEvent:entity", key=four.keys["Pharmacy"])
    assert tasks["Laboratory"] not in found.text


def test_who_is_no_longer_the_owner_sees_it_no_more_and_the_new_one_sees_how_it_was(four: Four) -> None:
    task = four.post("Hospital", "Task", order("C-1"))
    assert four.sees("Pharmacy", f"Task/{task}/_history")
    other = {"identifier": {"system": ORGANIZATIONS, "value": "LABORATORY-3"}}
    four.patch("Hospital", f"Task/{task}", [{"op": "replace", "path": "/owner", "value": other}])
    for address in (f"Task/{task}", f"Task/{task}/_history", f"Task/{task}/_history/1", f"Provenance/{task}.1"):
        assert [four.sees(who, address) for who in ("Pharmacy", "Laboratory")] == [False, True], address


def test_pages_and_totals_count_only_what_is_seen(four: Four) -> None:
    for number in range(3):
        four.post("Hospital", "Task", order(f"P-{number}", owner={"display": "Somebody else"}))
        four.post("Hospital", "Task", order(f"Q-{number}"))
    query, pages, ids = "Task?_count=2&_total=accurate", 0, []
    while query:
        page = four.gate.ask("GET", query, key=four.keys["Pharmacy"]).json
        ids += [entry["resource"]["id"] for entry in page.get("entry", [])]
        links = {link["relation"]: link["url"] for link in page["link"]}
        query, pages = links.get("next", "").rpartition("/fhir/")[2], pages + 1
    assert page["total"] == len(ids) == len(set(ids))
    assert ids == [one for one in ids if four.sees("Pharmacy", f"Task/{one}")]
    assert pages > 1


def test_a_conditional_create_does_not_tell_of_anothers(four: Four) -> None:
    condition = "identifier=http://hospital.example/requests|SR-1"
    answer = four.gate.ask(
        "POST", "ServiceRequest", request("SR-9"), key=four.keys["Laboratory"], If_None_Exist=condition
    )
    assert answer.json.get("id") != four.request
    for how in ({}, {"If_None_Exist": condition}):
        answer = four.gate.ask("POST", "ServiceRequest", request("SR-1"), key=four.keys["Laboratory"], **how)
        assert (answer.status_code, answer.json["issue"][0]["code"]) == (409, "duplicate")
        assert four.request not in answer.text
    own = four.gate.ask("POST", "ServiceRequest", request("SR-1"), key=four.keys["Hospital"])
    assert (own.status_code, four.request in own.text) == (409, True)
    known = four.gate.ask("POST", "ServiceRequest", request("SR-9"), key=four.keys["Hospital"], If_None_Exist=condition)
    assert known.json["id"] == four.request
