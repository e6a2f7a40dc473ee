"""What a Subscription asks for, which are refused and why, and what matches the filters of one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.errors import Refused
from gateway.fhir import json, subscription
from gateway.fhir.check import check
from gateway.fhir.definitions import Version
from gateway.fhir.identity import identifier_key
from gateway.fhir.topic import FILTERS, subscription_topic
from gateway.kept import Kept
from gateway.subscriptions import InForce, matching
from tests import validity
from tests.subscriptions.subscribing import BACKPORT, TOPIC, Resource, r4, r5
from tests.web.served import BASE, ORGANIZATIONS

URL = "https://pharmacy.example/in"
OWNER = {"system": ORGANIZATIONS, "value": "PHARMACY-7"}
CODE = {"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "fulfill"}
TASK = {
    "resourceType": "Task",
    "id": "1",
    "status": "requested",
    "intent": "order",
    "businessStatus": {"coding": [{"system": "urn:b", "code": "waiting"}]},
    "code": {"coding": [CODE]},
    "owner": {"reference": "Organization/7"},
    "for": {"reference": "Patient/3"},
    "basedOn": [{"reference": "ServiceRequest/9"}],
}
EVERYTHING: dict[str, Any] = {
    "heartbeat_period": 60,
    "timeout": 20,
    "max_count": 5,
    "end": "2030-01-01T00:00:00Z",
}


def filtered(**one: str) -> dict[str, Any]:
    return {"filterBy": [{"filterParameter": "status", "value": "requested"} | one]}


def test_what_r4_says_in_extensions_is_what_r5_says_in_elements() -> None:
    in_r4 = subscription.read(r4(URL, "Task?status=requested&owner:identifier=urn:x%7C1", **EVERYTHING), "R4", BASE)
    filters = [
        {
            "resourceType": "http://hl7.org/fhir/StructureDefinition/Task",
            "filterParameter": "status",
            "value": "requested",
        },
        {"filterParameter": "owner", "modifier": "identifier", "value": "urn:x|1"},
    ]
    numbers = {"heartbeatPeriod": 60, "timeout": 20, "maxCount": 5, "end": EVERYTHING["end"]}
    in_r5 = subscription.read(r5(URL, filterBy=filters, **numbers), "R5", BASE)
    assert in_r4.version == "R4"
    assert in_r5.version == "R5"
    for name in ("topic", "endpoint", "format", "content", "filters", "groups", "heartbeat", "timeout", "max_count"):
        assert getattr(in_r4, name) == getattr(in_r5, name)
    assert in_r4.ends_at == datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("version", "asked"), [("R4", "R5"), ("R5", "R4"), ("R4B", "R5"), ("R4", "R4B")])
def test_a_subscription_is_shown_in_each_version_with_all_that_it_asks_for(version: Version, asked: Version) -> None:
    filters = [{"filterParameter": "owner", "modifier": "identifier", "value": "urn:x|1&2"}]
    numbers = {"heartbeatPeriod": 60, "timeout": 20, "maxCount": 5, "end": EVERYTHING["end"]}
    of_r5 = r5(URL, filterBy=filters, **numbers)
    sent = of_r5 if version == "R5" else r4(URL, "owner:identifier=urn:x|1%262", **EVERYTHING)
    wanted = subscription.read(sent, version, BASE)
    shown = subscription.write(sent, wanted, version, asked)
    validity.assert_valid(json.serialize(shown), asked)
    again = subscription.read(shown, asked, BASE)
    assert [getattr(again, name) for name in ("topic", "filters", "endpoint", "heartbeat", "max_count", "ends_at")] == [
        getattr(wanted, name) for name in ("topic", "filters", "endpoint", "heartbeat", "max_count", "ends_at")
    ]


@pytest.mark.parametrize(
    ("resource", "place", "said"),
    [
        (r4(URL, "Task?nonsense=1"), "criteria.extension", "no filter nonsense"),
        (r4(URL, "Patient?status=x"), "criteria.extension", "filters are of Tasks"),
        (r4(URL, "Task?status=nonsense"), "criteria.extension", "Its codes are"),
        (r4(URL, "Task?_count=1"), "criteria.extension", "no filter _count"),
        (r4(URL, heartbeat_period=1), "channel.extension", "too often"),
        (r4(URL, payload="text/plain"), "channel.payload", "application/fhir+json"),
        (r4(URL, payload="application/fhir+json; fhirVersion=3.0"), "channel.payload", "5.0"),
        (r4(URL, content="everything"), "channel.payload.extension", "id-only"),
        (r4(URL) | {"channel": r4(URL)["channel"] | {"header": ["Authorization: x"]}}, "channel.header", "no headers"),
        (r4(URL) | {"channel": r4(URL)["channel"] | {"type": "email"}}, "channel.type", "rest-hook"),
        (r5(URL, parameter=[{"name": "Authorization", "value": "x"}]), "parameter", "no headers"),
        (r5(URL, channelType={"code": "websocket"}), "channelType", "rest-hook"),
        (r5(URL, **filtered(comparator="gt")), "filterBy[0]", "eq"),
        (r5(URL, **filtered(resourceType="Patient")), "filterBy[0]", "of Tasks"),
        (r5(URL, **filtered(modifier="missing")), "filterBy", ":missing"),
        (r5(URL, heartbeatPeriod=9), "heartbeatPeriod", "too often"),
    ],
)
def test_what_the_gateway_cannot_do_is_refused_where_it_is_said(resource: Resource, place: str, said: str) -> None:
    version: Version = "R5" if "topic" in resource else "R4"
    with pytest.raises(Refused) as refused:
        subscription.read(resource, version, BASE)
    [issue] = refused.value.issues
    assert issue.expression == f"Subscription.{place}"
    assert said in issue.text


def test_a_custom_channel_is_refused() -> None:
    custom = {"extension": [{"url": f"{BACKPORT}-channel-type", "valueCoding": {"code": "zulip"}}]}
    with pytest.raises(Refused, match="rest-hook"):
        subscription.read(r4(URL) | {"channel": r4(URL)["channel"] | {"_type": custom}}, "R4", BASE)


def matches(*filters: str, **elements: Any) -> bool:
    """Whether the Task matches, where Organization/7 is known by OWNER."""
    kept = Kept("Task", "1", 1, "sender", json.serialize(TASK | elements))
    wanted = subscription.read(r4(URL, *filters), "R4", BASE)
    known = {identifier_key("Organization", OWNER, ""): "Organization/7"}
    found = matching(
        [InForce("s", "Pharmacy", "Pharmacy", wanted)],
        [kept],
        lambda keys: [known[key] for key in keys if key in known],
    )
    assert all(one.tasks == (kept,) for one in found)
    return bool(found)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ((), True),
        (("Task?status=requested",), True),
        (("Task?status=cancelled,requested",), True),
        (("Task?status=cancelled",), False),
        (("Task?status:not=cancelled",), True),
        (("Task?status:not=requested",), False),
        (("Task?code=fulfill",), True),
        ((f"Task?code={CODE['system']}|fulfill",), True),
        (("Task?code=urn:other|fulfill",), False),
        (("Task?business-status=waiting",), True),
        (("Task?business-status=urn:b|",), True),
        (("Task?owner=Organization/7",), True),
        ((f"Task?owner={BASE}/Organization/7",), True),
        (("Task?owner=Organization/8",), False),
        ((f"Task?owner:identifier={ORGANIZATIONS}|PHARMACY-7",), True),
        ((f"Task?owner:identifier={ORGANIZATIONS}|PHARMACY-8",), False),
        (("Task?patient=3",), True),
        (("Task?patient=Patient/4",), False),
        (("Task?based-on=ServiceRequest/9",), True),
        (("Task?requester=Organization/7",), False),
        (("Task?status=requested&code=abort",), False),
        (("Task?status=requested", "Task?code=fulfill"), True),
        (("Task?status=requested", "Task?code=abort"), False),
    ],
)
def test_a_task_matches_filters_as_a_search_would_find_it(filters: tuple[str, ...], expected: bool) -> None:
    assert matches(*filters) is expected


def test_an_owner_named_by_an_identifier_alone_matches_that() -> None:
    assert matches(f"Task?owner:identifier={ORGANIZATIONS}|PHARMACY-7", owner={"identifier": OWNER})


@pytest.mark.parametrize("version", ["R4B", "R5"])
def test_the_topic_is_valid_and_has_every_filter(version: Version) -> None:
    topic = subscription_topic(BASE, "2026-01-01", version)
    assert [issue.text for issue in check(topic, version) if issue.severity in ("error", "warning")] == []
    assert topic["url"] == TOPIC
    assert tuple(one["filterParameter"] for one in topic["canFilterBy"]) == FILTERS
