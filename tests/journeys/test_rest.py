"""A RESTful fulfiller and a messaging placer share one Task on a real gateway: the fulfiller with `fhirpy`, by HTTP."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest
import requests
from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import MultipleResourcesFound, OperationOutcome, ResourceNotFound
from httpx import Response

from gateway.fhir import xml
from tests import validity
from tests.journeys.conftest import XML, Partner
from tests.orders import Order, focus_of, header_of

PHARMACY = "http://registry.example/identifier/organization|PHARMACY-7"
HOSPITAL = "http://registry.example/identifier/organization|HOSPITAL-1"
ORDERS = "http://hospital.example/identifier/order"

Resource = dict[str, Any]
PreconditionFailed = MultipleResourcesFound
"""What `fhirpy` makes of every 412."""


def judge(answer: requests.Response, *_: Any, **__: Any) -> None:
    request, content_type = answer.request, answer.headers.get("Content-Type", "")
    path, _, _ = request.path_url.partition("?")
    validity.judge_answer(str(request.method), path, answer.status_code, content_type, answer.content)


def client(partner: Partner, party: str = PHARMACY, **headers: str) -> SyncFHIRClient:
    named = {"X-Party": party} | {name.replace("_", "-"): value for name, value in headers.items()}
    config = {"hooks": {"response": judge}, "timeout": 30}
    return SyncFHIRClient(f"{partner.gateway.url}/fhir", extra_headers=named, requests_config=config)


def moved(partner: Partner, task: Any, status: str, party: str = PHARMACY, **elements: Any) -> Any:
    """The Task as it is kept once a client has updated this version of it, and no other."""
    versioned = client(partner, party, If_Match=f'W/"{task["meta"]["versionId"]}"')
    said = {name: value for name, value in task.items() if name != "resourceType"}
    return versioned.resource("Task", **said | {"status": status} | elements).save()


def reply_to(partner: Partner, message: Resource) -> Resource:
    answer = partner.send(message)
    assert answer.status_code == 200, answer.text
    reply: Resource = orjson.loads(answer.content)
    return reply


def place(partner: Partner) -> tuple[Order, Resource]:
    """An order that was placed by message, and its Task as it is kept."""
    one = Order()
    return one, focus_of(reply_to(partner, one.new_order()))


def waiting(partner: Partner, one: Order) -> Any:
    """The order, as the fulfiller finds it among those that wait for it."""
    query = {"owner:identifier": PHARMACY, "status": "requested", "identifier": f"{ORDERS}|ORD-1001-{one.number}"}
    [task] = client(partner).resources("Task").search(**query).fetch_all()
    return task


def test_an_order_from_message_to_result(partner: Partner) -> None:
    one, kept = place(partner)
    task = waiting(partner, one)
    assert task.id == kept["id"]

    task = moved(partner, task, "accepted")
    task = moved(partner, task, "in-progress", businessStatus={"text": "blood drawn"})
    report = client(partner).resource(
        "DiagnosticReport",
        identifier=[{"system": "http://pharmacy.example/reports", "value": one.number}],
        status="final",
        code={"text": "Creatinine"},
        basedOn=[kept["focus"]],
        subject=kept["for"],
    )
    report.save()
    output = [{"type": {"text": "report"}, "valueReference": {"reference": f"DiagnosticReport/{report.id}"}}]
    task = moved(partner, task, "completed", output=output)

    assert task["meta"]["versionId"] == "4"
    found = client(partner).resources("Task").search(_id=task.id).include("Task", "output").fetch_raw()
    assert [entry.resource.resourceType for entry in found.entry] == ["Task", "DiagnosticReport"]
    history = client(partner).execute(f"Task/{task.id}/_history", method="get")
    assert [entry.resource.status for entry in history.entry] == ["completed", "in-progress", "accepted", "requested"]
    by = client(partner).execute("Provenance", method="get", params={"target": f"Task/{task.id}"})
    assert [e.resource.agent[0].who.identifier.value for e in by.entry] == [*["PHARMACY-7"] * 3, "HOSPITAL-1"]
    late = reply_to(partner, one.cancellation_request())
    assert header_of(late)["response"]["code"] == "fatal-error"
    assert "too-late-completed" in orjson.dumps(late).decode()


def test_the_placers_cancellation_by_message_meets_the_fulfillers_work(partner: Partner) -> None:
    one, _ = place(partner)
    task = moved(partner, moved(partner, waiting(partner, one), "accepted"), "in-progress")

    request = focus_of(reply_to(partner, one.cancellation_request()))
    asked = client(partner).resources("Task").search(focus=f"Task/{task.id}").get()
    assert (asked.id, asked.status) == (request["id"], "requested")
    answered = moved(partner, asked, "accepted")

    assert answered.status == "completed"
    assert client(partner).get("Task", task.id)["status"] == "cancelled"


def test_a_restful_placer_withdraws_what_a_message_placed(partner: Partner) -> None:
    _, kept = place(partner)
    task = client(partner, HOSPITAL).resources("Task").search(_id=kept["id"]).get()

    assert moved(partner, task, "cancelled", HOSPITAL, statusReason={"text": "Gone home."}).status == "cancelled"


def test_a_stale_update_is_refused(partner: Partner) -> None:
    one, _ = place(partner)
    task = waiting(partner, one)
    moved(partner, task, "accepted")

    with pytest.raises(PreconditionFailed, match=r"version 1 .* version 2"):
        moved(partner, task, "rejected")


def test_of_two_who_change_the_same_version_one_wins(partner: Partner) -> None:
    one, _ = place(partner)
    task = waiting(partner, one)

    def change(status: str) -> str:
        try:
            return str(moved(partner, task, status).status)
        except PreconditionFailed:
            return "refused"

    with ThreadPoolExecutor(8) as threads:
        outcomes = [*threads.map(change, itertools.islice(itertools.cycle(("accepted", "rejected")), 8))]

    assert outcomes.count("refused") == 7
    kept = client(partner).get("Task", task.id)
    assert (kept["meta"]["versionId"], kept["status"]) == ("2", next(one for one in outcomes if one != "refused"))


def test_what_is_patched_and_what_is_sent_at_once_is_all_kept(partner: Partner) -> None:
    one, kept = place(partner)
    address = f"{partner.gateway.url}/fhir/Task/{kept['id']}"
    headers = {"X-Party": PHARMACY, "Content-Type": "application/json-patch+json"}

    def send(number: int) -> None:
        message = one.update("requested", note=[{"text": f"sent {number}"}])
        assert header_of(reply_to(partner, message))["response"]["code"] == "ok"

    def patch(number: int) -> None:
        while True:
            body = orjson.dumps([{"op": "add", "path": "/note/-", "value": {"text": f"patched {number}"}}])
            answer = partner.client.patch(address, content=body, headers=headers)
            if answer.status_code == 200:
                return
            assert (answer.status_code, "Send it again" in answer.text) == (409, True)

    send(0)
    with ThreadPoolExecutor(8) as threads:
        futures = [threads.submit(act, number) for number in range(1, 5) for act in (send, patch)]
        for future in futures:
            future.result()

    notes = [note["text"] for note in partner.client.get(address).json()["note"]]
    both = [f"{how} {number}" for how in ("sent", "patched") for number in range(1, 5)]
    assert sorted(notes) == sorted(["sent 0", *both])


def test_of_two_fulfillers_who_claim_an_order_one_gets_it(partner: Partner) -> None:
    message = Order().new_order()
    del focus_of(message)["owner"]
    task = focus_of(reply_to(partner, message))
    parties = {name: f"http://registry.example/identifier/organization|{name}" for name in ("CHEMIST-1", "CHEMIST-2")}

    def claim(party: str) -> bool:
        try:
            return moved(partner, task, "accepted", party) is not None
        except PreconditionFailed:
            return False

    with ThreadPoolExecutor(2) as threads:
        won = dict(zip(parties, threads.map(claim, parties.values()), strict=True))

    assert sorted(won.values()) == [False, True]
    owner = client(partner).get("Task", task["id"])["owner"]["identifier"]["value"]
    assert won[owner]


def test_refusals_are_operation_outcomes(partner: Partner) -> None:
    one, _ = place(partner)
    task = waiting(partner, one)

    with pytest.raises(OperationOutcome) as refused:
        moved(partner, task, "completed")
    with pytest.raises(ResourceNotFound):
        client(partner).get("Task", "none")

    assert refused.value.resource["issue"][0]["expression"] == ["Task.status"]


def test_what_is_known_is_not_sent_again(partner: Partner) -> None:
    _, kept = place(partner)
    task = client(partner).resources("Task").search(_id=kept["id"]).get()

    assert task.refresh() == task


def test_the_same_request_again_takes_effect_once(partner: Partner) -> None:
    one, kept = place(partner)
    body = orjson.dumps(kept | {"status": "accepted"})
    headers = {"X-Party": PHARMACY, "X-Request-Id": f"accept-{one.number}", "Content-Type": "application/fhir+json"}
    url = f"{partner.gateway.url}/fhir/Task/{kept['id']}"

    with ThreadPoolExecutor(4) as threads:
        answers = [*threads.map(lambda _: partner.client.put(url, content=body, headers=headers), range(4))]

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1


def test_all_the_way_in_xml(partner: Partner) -> None:
    one, kept = place(partner)

    def call(method: str, address: str, resource: Resource | None = None, **headers: str) -> Response:
        body = None if resource is None else xml.serialize(resource)
        named = {"X-Party": PHARMACY, "Content-Type": XML, "Accept": XML}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        return partner.client.request(method, f"{partner.gateway.url}/fhir/{address}", content=body, headers=named)

    found = xml.parse(call("GET", f"Task?identifier={ORDERS}|ORD-1001-{one.number}").content)
    task = found["entry"][0]["resource"]
    answer = call("PUT", f"Task/{task['id']}", task | {"status": "accepted"}, If_Match='W/"1"')
    stale = call("PUT", f"Task/{task['id']}", task | {"status": "rejected"}, If_Match='W/"1"')

    assert task["id"] == kept["id"]
    assert (answer.status_code, answer.headers["Content-Type"].partition(";")[0]) == (200, XML)
    assert xml.parse(answer.content)["status"] == "accepted"
    assert (stale.status_code, xml.parse(stale.content)["issue"][0]["code"]) == (412, "conflict")
    events = xml.parse(call("GET", f"AuditEvent?entity=Task/{task['id']}").content)
    assert [entry["resource"]["outcome"] for entry in events["entry"]] == ["4", "0", "0"]
