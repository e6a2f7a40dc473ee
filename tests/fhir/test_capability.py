"""What the gateway publishes of itself is valid FHIR, and names every handler."""

import re
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.fhir import json, xml
from gateway.fhir.capability import capability_statement, message_definition
from tests.validity import assert_valid

BASE = "http://gateway.example/fhir"


@dataclass(frozen=True)
class Event:
    system: str | None
    code: str


@dataclass(frozen=True)
class Handler:
    event: Event
    name: str = "new_order"
    category: str = "consequence"
    title: str = "New order"
    documentation: str = "An order is placed."
    focus: tuple[str, ...] = ("Task",)


NEW_ORDER = Handler(Event("urn:e", "new-order"))
BY_URI = Handler(Event(None, "urn:e:cancel"), "cancellation_request", "notification", "Cancel", "", ("Task", "Group"))
WITHOUT_SYSTEM = Handler(Event("", "ping"), "_ping_1", focus=())


def statement(*handlers: Handler, name: str = "fhir-gateway") -> dict[str, Any]:
    return capability_statement(
        handlers,
        name=name,
        version="1.2.3",
        base_url=BASE,
        endpoint=f"{BASE}/$process-message",
        published="2024-05-01",
        reliable_cache_minutes=60,
    )


def definition(handler: Handler) -> dict[str, Any]:
    return message_definition(handler, base_url=BASE, published="2024-05-01")


def test_the_statement_says_where_messages_go_and_how_long_answers_are_kept() -> None:
    (messaging,) = statement(NEW_ORDER)["messaging"]

    (endpoint,) = messaging["endpoint"]
    assert endpoint["address"] == f"{BASE}/$process-message"
    assert endpoint["protocol"]["code"] == "http"
    assert messaging["reliableCache"] == 60


def test_the_statement_is_of_an_instance_of_r4_in_json_and_xml() -> None:
    said = statement(NEW_ORDER)

    assert (said["kind"], said["fhirVersion"], said["status"], said["date"]) == (
        "instance",
        "4.0.1",
        "active",
        "2024-05-01",
    )
    assert said["implementation"]["url"] == BASE
    assert said["software"] == {"name": "fhir-gateway", "version": "1.2.3"}
    assert {"application/fhir+json", "application/fhir+xml"} <= {*said["format"]}


def test_every_supported_message_is_defined_under_its_canonical_url() -> None:
    handlers = (NEW_ORDER, BY_URI, WITHOUT_SYSTEM)

    (messaging,) = statement(*handlers)["messaging"]

    supported = [message["definition"] for message in messaging["supportedMessage"]]
    assert supported == [definition(handler)["url"] for handler in handlers]
    assert supported[0] == f"{BASE}/MessageDefinition/new-order"
    assert {message["mode"] for message in messaging["supportedMessage"]} == {"receiver"}


def test_a_gateway_without_handlers_supports_no_message() -> None:
    (messaging,) = statement()["messaging"]

    assert "supportedMessage" not in messaging


def test_a_definition_says_what_its_handler_does() -> None:
    defined = definition(NEW_ORDER)

    assert (defined["title"], defined["description"]) == ("New order", "An order is placed.")
    assert defined["eventCoding"] == {"system": "urn:e", "code": "new-order"}
    assert defined["category"] == "consequence"
    assert defined["focus"] == [{"code": "Task", "min": 1, "max": "*"}]
    assert defined["responseRequired"] == "always"


def test_an_event_may_be_a_uri_or_a_code_without_system() -> None:
    assert definition(BY_URI)["eventUri"] == "urn:e:cancel"
    assert definition(WITHOUT_SYSTEM)["eventCoding"] == {"code": "ping"}


def test_of_several_types_in_focus_none_alone_is_required() -> None:
    assert [focus["min"] for focus in definition(BY_URI)["focus"]] == [0, 0]


def test_a_handler_without_documentation_is_described_by_its_title() -> None:
    assert definition(BY_URI)["description"] == "Cancel"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("new_order", "new-order"), ("_ping_1", "-ping-1"), ("ähnlich", "-hnlich"), ("x" * 80, "x" * 64)],
)
def test_the_id_of_a_definition_is_an_id_made_of_the_name(name: str, expected: str) -> None:
    defined = definition(Handler(Event("urn:e", "e"), name))

    assert defined["id"] == expected
    assert re.fullmatch(r"[A-Za-z0-9\-.]{1,64}", defined["id"])
    assert defined["url"].endswith(f"/{expected}")


@pytest.mark.parametrize(
    ("name", "expected"), [("fhir-gateway", "FhirGateway"), ("7 wards", "The7Wards"), ("Ward", "Ward"), ("-", "The")]
)
def test_a_name_becomes_one_that_programs_can_use(name: str, expected: str) -> None:
    assert statement(name=name)["name"] == expected
    assert re.fullmatch("[A-Z][A-Za-z0-9_]{0,254}", expected)


@pytest.mark.parametrize("handlers", [(), (NEW_ORDER, BY_URI, WITHOUT_SYSTEM)])
def test_what_is_published_is_valid_fhir(handlers: tuple[Handler, ...]) -> None:
    said = statement(*handlers)
    definitions = [definition(handler) for handler in handlers]

    for resource in (said, *definitions):
        assert_valid(resource)
        assert_valid(xml.serialize(resource))
        assert json.canonical(xml.parse(xml.serialize(resource))) == json.canonical(resource)
