"""What the operator and a partner's developer can ask a running gateway."""

from __future__ import annotations

from gateway.fhir import json, xml
from tests.journeys.conftest import Partner
from tests.orders import Order


def test_the_capability_statement_lists_the_events(partner: Partner) -> None:
    statement = json.parse(partner.get("/fhir/metadata").content)
    [messaging] = statement["messaging"]
    definitions = [supported["definition"] for supported in messaging["supportedMessage"]]
    assert any(definition.endswith("/MessageDefinition/new-order") for definition in definitions)
    assert messaging["reliableCache"] > 0


def test_the_capability_statement_is_there_in_xml(partner: Partner) -> None:
    answer = partner.get("/fhir/metadata?_format=xml")
    assert xml.parse(answer.content)["resourceType"] == "CapabilityStatement"


def test_each_supported_message_has_its_definition(partner: Partner) -> None:
    statement = json.parse(partner.get("/fhir/metadata").content)
    for supported in statement["messaging"][0]["supportedMessage"]:
        path = "/fhir/MessageDefinition/" + supported["definition"].rpartition("/")[2]
        definition = json.parse(partner.get(path).content)
        assert definition["url"] == supported["definition"]
    listed = json.parse(partner.get("/fhir/MessageDefinition").content)
    assert listed["total"] == len(listed["entry"]) == len(statement["messaging"][0]["supportedMessage"])


def test_a_definition_that_is_not_there_is_not_found(partner: Partner) -> None:
    assert partner.get("/fhir/MessageDefinition/none").status_code == 404


def test_a_running_gateway_is_ready(partner: Partner) -> None:
    assert partner.get("/healthz").json() == {"status": "ok"}
    assert partner.get("/readyz").json() == {"status": "ok", "database": True, "broker": True, "worker": True}


def test_messages_are_counted_by_event_and_outcome(partner: Partner) -> None:
    order = Order().new_order()
    for _ in range(2):
        partner.send(order)
    partner.post(b"{")
    exposed = partner.get("/metrics").text
    for sample in (
        'fhir_gateway_messages_received_total{event="new-order",outcome="new"}',
        'fhir_gateway_messages_received_total{event="new-order",outcome="repeat"}',
        'fhir_gateway_messages_processed_total{event="new-order",outcome="ok"}',
        'fhir_gateway_requests_rejected_total{endpoint="process_message",status="400"}',
        'fhir_gateway_processing_seconds_count{event="new-order"}',
        'fhir_gateway_answer_seconds_count{endpoint="process_message"}',
        'fhir_gateway_box_rows{box="inbox",state="waiting"} 0.0',
    ):
        assert sample in exposed
