"""Partners of other versions of FHIR: each is answered in its own, and all speak of the same Task."""

from __future__ import annotations

import copy
import uuid
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from fhir.resources.bundle import Bundle as R5Bundle
from fhir.resources.R4B.bundle import Bundle as R4Bundle
from fhir.resources.STU3.bundle import Bundle as STU3Bundle
from httpx import Response

from gateway.fhir import json, xml
from gateway.fhir.versions.carrying import url_of
from gateway.store import schema
from tests.journeys.conftest import JSON, XML, Partner
from tests.orders import Order, focus_of, header_of
from tests.senders import COW, Sender
from tests.versioned import VERSION_3, VERSION_5, identifier_of, owner_of, r5_order, r5_update, stu3_order

R5_TASK = ("statusReason", "requestedPerformer", "performer", "reason", "requestedPeriod")


def reply_in(version: str, answer: Response) -> dict[str, Any]:
    """The response message, valid in the version."""
    assert answer.status_code == 200, answer.text
    model = {"R5": R5Bundle, "R4": R4Bundle, "STU3": STU3Bundle}[version]
    model.model_validate(orjson.loads(answer.content))
    return json.parse(answer.content)


def refusal_of(answer: Response) -> dict[str, Any]:
    outcome = json.parse(answer.content)
    assert outcome["resourceType"] == "OperationOutcome"
    issue: dict[str, Any] = outcome["issue"][0]
    return issue


def stored_task(partner: Partner, header_id: str) -> dict[str, Any]:
    """The Task as the message left it, as the gateway keeps it."""
    made = (
        sa.select(schema.resource_version.c.content)
        .join(schema.message, schema.message.c.id == schema.resource_version.c.message_id)
        .join(schema.resource, schema.resource.c.id == schema.resource_version.c.resource_id)
        .where(schema.message.c.header_id == header_id, schema.resource.c.type == "Task")
    )
    [row] = partner.rows(made)
    return json.parse_own(row.content)


# --- R5 ---


def test_an_order_in_r5_is_answered_in_r5(partner: Partner) -> None:
    order = r5_order()
    reply = reply_in("R5", partner.send(order))
    header = header_of(reply)
    assert header["response"] == {"identifier": order["identifier"], "code": "ok"}
    assert reply["identifier"]["value"] == f"urn:uuid:{reply['id']}"
    assert header["destination"][0]["endpointUrl"] == header_of(order)["source"]["endpointUrl"]
    task = focus_of(reply)
    assert {name: task[name] for name in ("statusReason", "reason", "requestedPeriod")} == {
        name: focus_of(order)[name] for name in ("statusReason", "reason", "requestedPeriod")
    }
    assert [sorted(one) for one in task["performer"]] == [["actor", "function"]]
    assert [sorted(one) for one in task["requestedPerformer"]] == [["concept"], ["reference"]]


def test_an_order_in_r5_is_kept_in_r4(partner: Partner) -> None:
    order = r5_order()
    partner.send(order)
    task = stored_task(partner, header_of(order)["id"])
    assert task["reasonCode"] == {"text": "Palpitations under a diuretic"}
    assert task["statusReason"] == {"text": "First of the series"}
    assert task["performerType"][0]["coding"][0]["code"] == "159282002"
    urls = [extension["url"] for extension in task["extension"]]
    assert url_of("R5", "Task.performer") in urls
    assert url_of("R5", "Task.requestedPeriod") in urls
    assert not {"performer", "requestedPeriod", "reason"} & task.keys()


def test_an_order_in_r5_and_xml_is_answered_so(partner: Partner) -> None:
    order = r5_order()
    answer = partner.post(xml.serialize(order, "R5"), XML)
    assert answer.headers["Content-Type"].startswith(XML)
    reply = xml.parse(answer.content, "R5")
    assert header_of(reply)["response"] == {"identifier": order["identifier"], "code": "ok"}
    assert set(R5_TASK) < focus_of(reply).keys()
    R5Bundle.model_validate_xml(answer.content)


def test_an_r5_reply_may_be_asked_for_in_the_other_format(partner: Partner) -> None:
    order = r5_order()
    in_json, in_xml = partner.send(order), partner.send(order, Accept=XML)
    assert xml.parse(in_xml.content, "R5") == json.parse(in_json.content)


def test_r5_knows_a_message_by_its_identifier(partner: Partner) -> None:
    order = r5_order()
    first = partner.send(order)
    again = copy.deepcopy(order)
    again["id"] = str(uuid.uuid4())
    again["entry"][0]["fullUrl"] = f"urn:uuid:{uuid.uuid4()}"
    again["entry"][0]["resource"]["id"] = again["entry"][0]["fullUrl"].removeprefix("urn:uuid:")
    assert partner.send(again).content == first.content
    assert partner.count_effects(header_of(order)["id"]) == 1
    assert partner.count_effects(header_of(again)["id"]) == 0


def test_an_r5_identifier_is_not_used_for_two_messages(partner: Partner) -> None:
    order, other = r5_order(), r5_order()
    partner.send(order)
    reply = reply_in("R5", partner.send(other | {"identifier": order["identifier"]}))
    assert header_of(reply)["response"]["code"] == "fatal-error"
    outcome = reply["entry"][-1]["resource"]
    assert (outcome["issue"][0]["code"], outcome["issue"][0]["expression"]) == ("duplicate", ["Bundle.identifier"])


def test_an_event_of_r5_by_its_canonical_is_refused_in_r5_when_nobody_handles_it(partner: Partner) -> None:
    order = r5_order()
    header = header_of(order)
    del header["eventCoding"]
    header["eventCanonical"] = "http://hospital.example/EventDefinition/unheard-of"
    reply = header_of(reply_in("R5", partner.send(order)))
    assert reply["response"]["code"] == "fatal-error"
    assert reply["eventCanonical"] == header["eventCanonical"]


def test_what_is_wrong_in_r5_is_said_of_r5(partner: Partner) -> None:
    order = r5_order()
    focus_of(order)["reasonCode"] = {"text": "R4's"}
    reply = reply_in("R5", partner.send(order))
    issue = reply["entry"][-1]["resource"]["issue"][0]
    assert header_of(reply)["response"]["code"] == "fatal-error"
    assert "reasonCode" in issue["details"]["text"]
    assert "Bundle.entry[1].resource" in issue["expression"][0]


def test_what_r4_has_no_place_for_is_told_the_sender(partner: Partner) -> None:
    order = r5_order()
    order["issues"] = {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": "information", "code": "informational"}],
    }
    reply = reply_in("R5", partner.send(order))
    outcome = reply["entry"][-1]["resource"]
    assert header_of(reply)["response"]["code"] == "ok"
    assert outcome["issue"][0]["severity"] == "warning"
    assert outcome["issue"][0]["code"] == "not-supported"
    assert outcome["issue"][0]["expression"] == ["Bundle.issues"]


# --- several versions, one Task ---


def test_a_placer_of_r5_and_a_fulfiller_of_r4_have_one_task(partner: Partner) -> None:
    order = r5_order()
    partner.send(order)
    fulfiller = Sender("http://laboratory.example/fhir")
    told = {"resourceType": "Task", "identifier": [identifier_of(order)], "status": "accepted", "intent": "order"}
    awaited = told | {"businessStatus": {"text": "specimen awaited"}}
    update = fulfiller.write("order-update", awaited, system=COW, sender=owner_of(order))
    seen_by_fulfiller = focus_of(reply_in("R4", partner.send(update)))
    assert seen_by_fulfiller["status"] == "accepted"
    assert seen_by_fulfiller["reasonCode"] == {"text": "Palpitations under a diuretic"}

    seen_by_placer = focus_of(reply_in("R5", partner.send(r5_update(order, "cancelled"))))
    assert seen_by_placer["status"] == "cancelled"
    assert seen_by_placer["businessStatus"] == {"text": "specimen awaited"}
    assert set(R5_TASK) - {"statusReason"} < seen_by_placer.keys()
    assert "statusReason" not in seen_by_placer


def test_an_update_in_r5_replaces_what_it_has_and_no_more(partner: Partner) -> None:
    order = r5_order()
    partner.send(order)
    other = [{"reference": {"identifier": {"system": "http://hospital.example/staff", "value": "2"}}}]
    update = r5_update(order, "requested")
    focus_of(update)["requestedPerformer"] = other
    seen = focus_of(reply_in("R5", partner.send(update)))
    assert seen["requestedPerformer"] == other
    assert "extension" not in seen
    assert set(R5_TASK) < seen.keys()
    assert "performerType" not in stored_task(partner, header_of(update)["id"])

    cancelling = r5_update(order, "cancelled")
    focus_of(cancelling)["statusReason"] = other[0]
    assert focus_of(reply_in("R5", partner.send(cancelling)))["statusReason"] == other[0]


def test_a_placer_of_stu3_and_a_fulfiller_of_r5_have_one_task(partner: Partner) -> None:
    order = stu3_order()
    partner.send(order)
    update = r5_update(r5_order(), "received")
    focus_of(update).update(identifier=[identifier_of(order)], performer=[{"actor": {"display": "Nurse"}}])
    seen = focus_of(reply_in("R5", partner.send(update)))
    assert seen["status"] == "received"
    assert seen["performer"] == [{"actor": {"display": "Nurse"}}]
    assert seen["reason"] == [{"concept": {"text": "Palpitations under a diuretic"}}]


# --- STU3 ---


def test_an_order_in_stu3_is_answered_in_stu3(partner: Partner) -> None:
    order = stu3_order()
    reply = reply_in("STU3", partner.send(order))
    header = header_of(reply)
    assert header["response"] == {"identifier": header_of(order)["id"], "code": "ok"}
    assert header["event"] == header_of(order)["event"]
    assert header["timestamp"]
    assert "timestamp" not in reply
    task = focus_of(reply)
    assert task["reason"] == focus_of(order)["reason"]
    assert sorted(task["requester"]) == ["agent", "onBehalfOf"]


def test_an_order_in_stu3_and_xml_is_answered_so_and_repeated_so(partner: Partner) -> None:
    body = xml.serialize(stu3_order(), "STU3")
    first, again = partner.post(body, XML), partner.post(body, XML)
    assert first.content == again.content
    assert header_of(xml.parse(first.content, "STU3"))["response"]["code"] == "ok"


@pytest.mark.parametrize("destination", [True, 1.5, {"endpoint": "urn:b"}])
def test_a_destination_that_is_no_list_is_said_to_be_of_the_wrong_type(partner: Partner, destination: Any) -> None:
    order = stu3_order()
    header_of(order)["destination"] = destination
    answer = partner.send(order)
    assert answer.status_code == 200, answer.text
    reply = json.parse(answer.content)
    assert header_of(reply)["response"]["code"] == "fatal-error"
    issues = reply["entry"][-1]["resource"]["issue"]
    assert ["Bundle.entry[0].resource.destination"] in [issue.get("expression") for issue in issues]


# --- R4B ---


def test_an_order_that_declares_r4b_is_answered_in_it(partner: Partner) -> None:
    answer = partner.post(orjson.dumps(Order().new_order()), f"{JSON}; fhirVersion=4.3")
    assert answer.headers["Content-Type"] == f"{JSON}; fhirVersion=4.3; charset=utf-8"
    assert header_of(reply_in("R4", answer))["response"]["code"] == "ok"


# --- which version ---


def test_the_answer_names_the_version_when_the_request_does(partner: Partner) -> None:
    named = partner.post(orjson.dumps(r5_order()), f"{JSON}; {VERSION_5}")
    assert named.headers["Content-Type"] == f"{JSON}; fhirVersion=5.0; charset=utf-8"
    asked = partner.send(stu3_order(), Accept=f"{JSON}; {VERSION_3}")
    assert asked.headers["Content-Type"] == f"{JSON}; fhirVersion=3.0; charset=utf-8"
    assert partner.send(r5_order()).headers["Content-Type"] == f"{JSON}; charset=utf-8"


@pytest.mark.parametrize(
    ("declared", "message"), [("4.0", r5_order), ("3.0", r5_order), ("5.0", stu3_order), ("5.0.0", Order().new_order)]
)
def test_a_version_that_the_content_contradicts_is_refused(partner: Partner, declared: str, message: Any) -> None:
    answer = partner.post(orjson.dumps(message()), f"{JSON}; fhirVersion={declared}")
    assert answer.status_code == 400
    text = refusal_of(answer)["details"]["text"]
    assert f"declares fhirVersion={declared[:3]}" in text
    assert "Declare the version that the message is written in" in text


@pytest.mark.parametrize("declared", ["1.0", "2.0", "4.1", "6.0", "R4"])
def test_a_version_that_nobody_speaks_is_refused(partner: Partner, declared: str) -> None:
    answer = partner.post(orjson.dumps(r5_order()), f"{JSON}; fhirVersion={declared}")
    assert answer.status_code == 415
    assert "fhirVersion 3.0, 4.0, 4.3 or 5.0" in refusal_of(answer)["details"]["text"]


def test_a_reply_is_not_had_in_another_version(partner: Partner) -> None:
    order = r5_order()
    answer = partner.send(order, Accept=f"{JSON}; fhirVersion=4.0")
    assert answer.status_code == 406
    assert "A reply is in the version of the request" in refusal_of(answer)["details"]["text"]
    assert partner.count_effects(header_of(order)["id"]) == 0


def test_the_capabilities_are_told_in_r4_only(partner: Partner) -> None:
    assert partner.get("/fhir/metadata", Accept=f"{JSON}; fhirVersion=4.3").status_code == 200
    answer = partner.get("/fhir/metadata", Accept=f"{JSON}; {VERSION_5}")
    assert answer.status_code == 406
    assert "fhirVersion 4.0 or 4.3" in refusal_of(answer)["details"]["text"]


# --- what others send ---


ITK3 = "nhs-gpconnect-itk3/ITK007C-request"


def test_a_message_of_itk3_is_understood_and_answered_in_stu3_that_nobody_handles_it(
    partner: Partner, corpus: Path
) -> None:
    answer = partner.post((corpus / f"{ITK3}-cf8e1890.xml").read_bytes(), XML)
    reply = xml.parse(answer.content, "STU3")
    assert header_of(reply)["event"]["code"] == "ITK007C"
    assert header_of(reply)["response"]["code"] == "fatal-error"
    assert reply["entry"][-1]["resource"]["issue"][0]["code"] == "not-supported"
    kept = sa.select(schema.message.c.event_code).where(
        schema.message.c.header_id == header_of(reply)["response"]["identifier"]
    )
    assert [row.event_code for row in partner.rows(kept)] == ["ITK007C"]


def test_itk3_examples_that_all_have_the_same_ids_are_refused_as_repeats_with_other_content(
    partner: Partner, corpus: Path
) -> None:
    partner.post((corpus / f"{ITK3}-cf8e1890.xml").read_bytes(), XML)
    for name in ("d48da9fe", "f2d3924f", "f503f92d"):
        reply = xml.parse(partner.post((corpus / f"{ITK3}-{name}.xml").read_bytes(), XML).content, "STU3")
        assert reply["entry"][-1]["resource"]["issue"][0]["code"] == "duplicate"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (f"{ITK3}-a6249791.xml", "Encounter has no element 'performer' in FHIR STU3"),
        ("fhir-test-cases/ITK003D-request-854d02d9.xml", "Extension has no element 'coding' in FHIR STU3"),
    ],
)
def test_a_message_of_itk3_that_is_no_stu3_is_refused_with_the_place(
    partner: Partner, corpus: Path, path: str, reason: str
) -> None:
    answer = partner.post((corpus / path).read_bytes(), XML, Accept=JSON)
    assert answer.status_code == 422
    assert reason in refusal_of(answer)["details"]["text"]
