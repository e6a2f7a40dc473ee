"""POST /fhir/$process-message as a partner sees it: answers, repeats, refusals, and answers that come late."""

from __future__ import annotations

import gzip
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from httpx import Response

from gateway.fhir import json, xml
from gateway.store import schema
from tests import validity
from tests.journeys.conftest import JSON, XML, Partner
from tests.orders import Order, focus_of, header_of, renewed
from tests.senders import Sender, new_id, task
from tests.services import eventually
from tests.trial_handlers import SYSTEM

ORDER = orjson.dumps(Order().new_order())
NOBODY_THERE = "http://127.0.0.1:9/answers"
LATER = f"?async=true&response-url={NOBODY_THERE}"


def trial(event: str, description: str, number: str | None = None) -> dict[str, Any]:
    """A message to one of the trial handlers."""
    return Sender().write(event, task(number or new_id(), description=description), system=SYSTEM)


def reply_of(answer: Response) -> dict[str, Any]:
    """The response message in JSON."""
    assert answer.status_code == 200, answer.text
    return json.parse(answer.content)


def code_of(answer: Response) -> str:
    code: str = header_of(reply_of(answer))["response"]["code"]
    return code


def issues_of(answer: Response) -> list[dict[str, Any]]:
    """The issues of an answer that is an OperationOutcome, or of the one inside the response message."""
    resource = json.parse(answer.content)
    outcome = resource if resource["resourceType"] == "OperationOutcome" else resource["entry"][-1]["resource"]
    found: list[dict[str, Any]] = outcome["issue"]
    return found


def test_an_order_in_json_is_answered_in_json(partner: Partner) -> None:
    order = Order().new_order()
    answer = partner.send(order)
    reply = reply_of(answer)
    header = header_of(reply)
    assert answer.headers["Content-Type"].startswith(JSON)
    assert header["response"]["identifier"] == header_of(order)["id"]
    assert header["response"]["code"] == "ok"
    assert focus_of(reply)["identifier"] == focus_of(order)["identifier"]
    assert partner.count_effects(header_of(order)["id"]) == 1


def test_an_order_in_xml_is_answered_in_xml(partner: Partner) -> None:
    order = Order().new_order()
    answer = partner.post(xml.serialize(order), XML)
    assert answer.headers["Content-Type"].startswith(XML)
    reply = xml.parse(answer.content)
    assert header_of(reply)["response"] == {"identifier": header_of(order)["id"], "code": "ok"}


def test_what_was_sent_in_xml_may_be_answered_in_json(partner: Partner) -> None:
    answer = partner.post(xml.serialize(Order().new_order()), XML, Accept=JSON)
    assert code_of(answer) == "ok"


def test_the_bytes_received_are_kept(partner: Partner) -> None:
    order = Order().new_order()
    body = orjson.dumps(order, option=orjson.OPT_INDENT_2)
    partner.post(body)
    kept = partner.rows(sa.select(schema.message.c.body).where(schema.message.c.header_id == header_of(order)["id"]))
    assert [row.body for row in kept] == [body]


def test_a_repeat_gets_the_same_bytes_in_either_format_and_takes_no_effect(partner: Partner) -> None:
    order = Order().new_order()
    first, again = partner.send(order), partner.send(order)
    assert first.content == again.content
    in_xml = [partner.post(xml.serialize(order), XML).content for _ in range(2)]
    assert in_xml[0] == in_xml[1]
    assert xml.parse(in_xml[0]) == json.parse(first.content)
    assert partner.count_effects(header_of(order)["id"]) == 1


def test_a_hundred_at_once_have_one_effect_and_one_answer(partner: Partner) -> None:
    order = Order().new_order()
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: partner.send(order), range(100)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert code_of(answers[0]) == "ok"
    assert partner.count_effects(header_of(order)["id"]) == 1


def test_the_same_ids_with_other_content_are_refused(partner: Partner) -> None:
    order = Order().new_order()
    partner.send(order)
    changed = order | {"entry": Order().new_order()["entry"]}
    header_of(changed)["id"] = header_of(order)["id"]
    answer = partner.send(changed)
    assert code_of(answer) == "fatal-error"
    assert issues_of(answer)[0]["code"] == "duplicate"


def test_an_order_sent_again_as_a_new_message_is_refused(partner: Partner) -> None:
    order = Order().new_order()
    partner.send(order)
    answer = partner.send(renewed(order))
    assert code_of(answer) == "fatal-error"
    assert issues_of(answer)[0]["code"] == "duplicate"


def test_an_unknown_event_is_refused_by_a_response_message_that_names_the_known(partner: Partner) -> None:
    answer = partner.send(Sender().write("unheard-of", task("1")))
    assert code_of(answer) == "fatal-error"
    [issue] = issues_of(answer)
    assert issue["code"] == "not-supported"
    assert "new-order" in issue["details"]["text"]


def test_structural_faults_are_all_told_with_their_places(partner: Partner) -> None:
    order = Order().new_order()
    focus_of(order)["priority"] = ["stat"]
    focus_of(order)["intention"] = "order"
    answer = partner.send(order)
    assert code_of(answer) == "fatal-error"
    told = {issue["expression"][0]: issue["details"]["text"] for issue in issues_of(answer)}
    task_at = "Bundle.entry[1].resource"
    assert told.keys() == {f"{task_at}.priority", f"{task_at}.intention"}
    assert "intention" in told[f"{task_at}.intention"]


@pytest.mark.parametrize(
    ("body", "content_type", "query", "headers", "status"),
    [
        (b"", JSON, "", {}, 400),
        (b"{", JSON, "", {}, 400),
        (b"\xff\xfe", JSON, "", {}, 400),
        (b"<Bundle", XML, "", {}, 400),
        (b'{"a":1,"a":2}', JSON, "", {}, 400),
        (b"{}", JSON, "", {}, 422),
        (b"[]", JSON, "", {}, 422),
        (b'{"resourceType":"Patient"}', JSON, "", {}, 422),
        (b'{"resourceType":"Bundle","type":"message"}', JSON, "", {}, 422),
        (b'<Patient xmlns="http://hl7.org/fhir"/>', XML, "", {}, 422),
        (b"{}", None, "", {}, 415),
        (b"{}", "text/plain", "", {}, 415),
        (b"{}", f"{JSON}; fhirVersion=2.0", "", {}, 415),
        (b"{}", JSON, "", {"Content_Encoding": "br"}, 415),
        (b"{}", JSON, "", {"Accept": "text/html"}, 406),
        (b"{}", JSON, "?_format=html", {}, 406),
        (b" " * 200_001, JSON, "", {}, 413),
        (gzip.compress(b" " * 5_000_000), JSON, "", {"Content_Encoding": "gzip"}, 413),
        (b"no gzip", JSON, "", {"Content_Encoding": "gzip"}, 400),
        (b"{}", JSON, "?async=perhaps", {}, 422),
        (b"{}", JSON, "?async=%01", {"Accept": XML}, 422),
        (b"{}", XML, "?_format=%01", {}, 406),
        (ORDER, JSON, "?async=true&response-url=%00", {}, 422),
        (ORDER, JSON, "?response-url=http://a.example/%0a", {}, 422),
        (ORDER, JSON, "?async=true&response-url=nowhere", {}, 422),
        (ORDER, JSON, "?async=true&response-url=http://", {}, 422),
        (ORDER, JSON, f"?async=true&response-url=http://{'a' * 2042}", {}, 422),
        (orjson.dumps(Sender().write("new-order", task("1"), response=None)), JSON, "", {}, 422),
    ],
)
def test_what_is_no_message_gets_an_http_error_with_an_operation_outcome(
    partner: Partner, body: bytes, content_type: str | None, query: str, headers: dict[str, str], status: int
) -> None:
    answer = partner.post(body, content_type, query, **headers)
    assert answer.status_code == status
    resource = (xml if "xml" in answer.headers["Content-Type"] else json).parse(answer.content)
    assert resource["resourceType"] == "OperationOutcome"
    assert all(issue["details"]["text"] for issue in resource["issue"])


def test_an_error_is_told_in_the_format_the_caller_asks_for(partner: Partner) -> None:
    answer = partner.post(b"{", JSON, Accept="application/xml")
    assert answer.headers["Content-Type"].startswith("application/xml")
    assert xml.parse(answer.content)["resourceType"] == "OperationOutcome"


def test_a_gzip_body_is_read(partner: Partner) -> None:
    body = gzip.compress(orjson.dumps(Order().new_order()))
    assert code_of(partner.post(body, Content_Encoding="gzip")) == "ok"


def test_a_bundle_wrapped_in_parameters_is_read(partner: Partner) -> None:
    wrapped = {"resourceType": "Parameters", "parameter": [{"name": "content", "resource": Order().new_order()}]}
    assert code_of(partner.send(wrapped)) == "ok"


def test_every_answer_is_judged(partner: Partner) -> None:
    before = validity.judged.copy()
    order = Order().new_order()
    partner.send(order)
    partner.post(xml.serialize(order), XML)
    partner.post(b"{")
    partner.get("/fhir/metadata")
    partner.get("/healthz")
    assert validity.judged["answer"] - before["answer"] == 4


def test_only_post_is_taken(partner: Partner) -> None:
    answer = partner.get("/fhir/$process-message")
    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]
    assert issues_of(answer)


def test_what_is_not_there_is_told_by_an_operation_outcome(partner: Partner) -> None:
    answer = partner.get("/fhir/Nothing/1")
    assert answer.status_code == 404
    assert issues_of(answer)


def test_an_address_that_xml_cannot_hold_is_not_there_either(partner: Partner) -> None:
    answer = partner.get("/fhir/%01", Accept=XML)
    assert answer.status_code == 404
    assert xml.parse(answer.content)["resourceType"] == "OperationOutcome"


def test_a_later_reply_to_who_is_not_registered_goes_nowhere_but_this_machine(partner: Partner) -> None:
    order = Order().new_order()
    for address in ("urn:oid:1.2.3", "https://elsewhere.example/in", "http://169.254.169.254/"):
        answer = partner.send(order, f"?async=true&response-url={address}")
        assert (answer.status_code, issues_of(answer)[0]["code"]) == (422, "forbidden")
    wanted = sa.select(schema.message.c.reply_to).where(schema.message.c.header_id == header_of(order)["id"])
    assert partner.send(order, f"?async=true&response-url={NOBODY_THERE}").status_code == 202
    assert partner.rows(wanted) == [(NOBODY_THERE,)]


def test_request_ids_are_echoed_and_made_when_absent(partner: Partner) -> None:
    given = partner.send(Order().new_order(), X_Request_Id="r-1", X_Correlation_Id="c-1").headers
    assert (given["X-Request-Id"], given["X-Correlation-Id"]) == ("r-1", "c-1")
    made = partner.post(b"{").headers
    assert made["X-Request-Id"]
    assert made["X-Correlation-Id"]


def test_an_asynchronous_message_is_acknowledged_and_its_reply_kept(partner: Partner) -> None:
    order = Order().new_order()
    answer = partner.send(order, LATER)
    assert answer.status_code == 202
    assert issues_of(answer)[0]["severity"] == "information"
    replies = (
        sa.select(schema.outbox.c.state, schema.outbox.c.destination)
        .join(schema.message, schema.message.c.id == schema.outbox.c.message_id)
        .where(schema.message.c.header_id == header_of(order)["id"], schema.outbox.c.kind == "reply")
    )
    eventually(lambda: partner.rows(replies), 10)
    assert partner.rows(replies) == [("due", NOBODY_THERE)]


def test_a_sender_that_wants_no_response_gets_none(partner: Partner) -> None:
    order = Order().new_order()
    url = "http://hl7.org/fhir/StructureDefinition/messageheader-response-request"
    header_of(order)["extension"] = [{"url": url, "valueCode": "on-error"}]
    assert (partner.send(order).status_code, partner.send(order).content) == (204, b"")
    assert code_of(partner.send(renewed(order))) == "fatal-error"


def test_a_response_is_kept_and_not_answered_by_a_response(partner: Partner) -> None:
    response = Sender().write("new-order", task("1"), response={"identifier": new_id(), "code": "ok"})
    answers = [partner.send(response) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]


def test_a_crash_is_answered_transiently_and_later_by_what_the_retries_came_to(
    partner: Partner, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.touch()
    message = trial("crash", str(broken))
    answer = partner.send(message)
    assert code_of(answer) == "transient-error"
    assert issues_of(answer)[0]["code"] == "transient"
    broken.unlink()
    eventually(lambda: code_of(partner.send(message)) == "ok", 10)
    assert partner.send(message).content == partner.send(message).content


def test_a_message_is_set_aside_after_its_last_try_and_the_lane_goes_on(partner: Partner, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.touch()
    number = new_id()
    poisoned = trial("crash", str(broken), number)
    partner.send(poisoned)
    behind = trial("count", "0", number)
    eventually(lambda: partner.send(behind).status_code == 200, 20)
    answer = partner.send(poisoned)
    assert code_of(answer) == "transient-error"
    assert "operator" in issues_of(answer)[0]["details"]["text"]


def test_a_handler_that_ends_its_process_harms_no_other_task(partner: Partner, tmp_path: Path) -> None:
    deadly = tmp_path / "deadly"
    deadly.touch()
    message = trial("die", str(deadly))
    partner.send(message, LATER)
    assert code_of(partner.send(Order().new_order())) == "ok"
    deadly.unlink()
    eventually(lambda: partner.send(message).status_code == 200 and code_of(partner.send(message)) == "ok", 40)
    assert partner.count_effects(header_of(message)["id"]) == 1


def test_past_the_deadline_the_caller_is_told_to_ask_again(partner: Partner) -> None:
    message = trial("sleep", "3")
    answer = partner.send(message)
    assert answer.status_code == 504
    assert issues_of(answer)[0]["code"] == "timeout"
    eventually(lambda: partner.send(message).status_code == 200, 10)
    assert partner.count_effects(header_of(message)["id"]) == 1


def test_messages_about_one_task_take_effect_in_the_order_received(partner: Partner) -> None:
    number = new_id()
    messages = [trial("count", "0", number) for _ in range(30)]
    assert {partner.send(message, LATER).status_code for message in messages} == {202}
    counted = [focus_of(reply_of(partner.send(message)))["description"] for message in messages]
    assert counted == [str(n + 1) for n in range(30)]


def test_an_order_lives_from_placing_to_cancellation(partner: Partner) -> None:
    order = Order()
    walk = [order.new_order(), order.update("accepted"), order.update("in-progress")]
    assert [code_of(partner.send(message)) for message in walk] == ["ok", "ok", "ok"]
    refused = partner.send(order.update("requested"))
    assert code_of(refused) == "fatal-error"
    assert "in-progress" in issues_of(refused)[0]["details"]["text"]
    assert code_of(partner.send(order.cancellation_request())) == "ok"
    assert code_of(partner.send(order.cancellation_request("accepted"))) == "ok"
    late = partner.send(order.update("completed"))
    assert code_of(late) == "fatal-error"
    assert "cancelled" in issues_of(late)[0]["details"]["text"]
