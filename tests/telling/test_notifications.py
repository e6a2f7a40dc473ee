"""The notifications of subscriptions: as the profiles say, their events numbered in order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from gateway.fhir import formats
from gateway.fhir.check import check
from gateway.fhir.check.profiles import load
from gateway.fhir.definitions import Version
from gateway.fhir.message import Message
from gateway.fhir.references import Resource
from gateway.partners import Partner
from gateway.records import Records
from gateway.routing import Reply
from tests import validity
from tests.handlers import OURSELVES
from tests.telling.bundles import focus_of, header_of
from tests.telling.gateways import Make, keeps, refuses
from tests.telling.orders import order, whole_order
from tests.telling.parties import FROM_HOSPITAL, FROM_PHARMACY, HOSPITAL, OTHER, PHARMACY, SUBSCRIPTION, named

PROFILES = load()


@pytest.mark.parametrize("format_", ["json", "xml"])
@pytest.mark.parametrize("content", ["empty", "id-only", "full-resource"])
@pytest.mark.parametrize("version", ["R4", "R4B", "R5"])
def test_a_notification_says_as_much_as_the_subscription_wants(
    make: Make, version: Version, content: Any, format_: Any
) -> None:
    subscription = replace(SUBSCRIPTION, content=content)
    gateway = make(
        HOSPITAL,
        replace(PHARMACY, tell="subscription", subscription=subscription, version=version, format=format_),
    )
    gateway.send(whole_order())
    [row] = gateway.rows
    validity.assert_valid(row.content, version)
    assert (row.kind, row.party, row.destination) == ("notification", "Pharmacy", PHARMACY.endpoints[0])
    told = formats.parse(row.content, format_, version)
    kinds = [entry.get("resource", {}).get("resourceType") for entry in told["entry"]]
    assert kinds[0] == ("Parameters" if version == "R4" else "SubscriptionStatus")
    assert told["type"] == ("subscription-notification" if version == "R5" else "history")
    shown = {"empty": [], "id-only": [None], "full-resource": ["Task", "ServiceRequest", "Patient", "Practitioner"]}
    assert kinds[1:] == shown[content]
    assert SUBSCRIPTION.reference.encode() in row.content
    assert SUBSCRIPTION.topic.encode() in row.content
    assert (f"{OURSELVES.base_url}/Task/".encode() in row.content) is (content != "empty")


@pytest.mark.parametrize("content", ["empty", "id-only", "full-resource"])
def test_a_notification_is_as_the_profiles_of_the_guide_and_the_backport_say(make: Make, content: Any) -> None:
    gateway = make(HOSPITAL, subscribing(content=content))
    gateway.send(whole_order())
    [(_, told)] = gateway.told
    for url in (
        "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-subscription-notification-r4",
        "http://hl7.org/fhir/uv/cow/StructureDefinition/cow-subscription-notification",
    ):
        profile = PROFILES.find(url)
        assert profile is not None
        issues = check(told, profile=profile)
        assert [issue.text for issue in issues if issue.severity == "error" and issue.rule.startswith("profile")] == []


def subscribing(**changes: Any) -> Partner:
    return replace(PHARMACY, tell="subscription", subscription=replace(SUBSCRIPTION, **changes))


def numbers_in(bundle: Resource) -> list[str]:
    """The numbers of a notification's events, after how many there have been."""
    parameters = header_of(bundle)["parameter"]
    since = [one["valueString"] for one in parameters if one["name"] == "events-since-subscription-start"]
    parts = [one["part"][0]["valueString"] for one in parameters if one["name"] == "notification-event"]
    return since + parts


def test_events_are_numbered_for_each_partner_without_a_gap(make: Make) -> None:
    gateway = make(replace(HOSPITAL, tell="subscription", subscription=SUBSCRIPTION), subscribing())
    gateway.send(FROM_HOSPITAL.write("x", order("1")))
    make(replace(HOSPITAL, tell="subscription", subscription=SUBSCRIPTION), subscribing(), handler=refuses).send(
        FROM_HOSPITAL.write("x", order("9"))
    )
    gateway.send(FROM_HOSPITAL.write("x", order("2"), order("3")))
    gateway.send(FROM_PHARMACY.write("x", order("2", "accepted")))
    gateway.send(FROM_HOSPITAL.write("x", order("3", "cancelled")))
    assert [(party, numbers_in(told)) for party, told in gateway.told] == [
        ("Pharmacy", ["1", "1"]),
        ("Pharmacy", ["3", "2", "3"]),
        ("Hospital", ["1", "1"]),
        ("Pharmacy", ["4", "4"]),
    ]


def test_a_subscription_on_this_gateway_is_named_by_its_address(make: Make) -> None:
    gateway = make(HOSPITAL, subscribing(reference="7"))
    gateway.send(FROM_HOSPITAL.write("x", order()))
    [(_, told)] = gateway.told
    assert header_of(told)["parameter"][0]["valueReference"]["reference"] == f"{OURSELVES.base_url}/Subscription/7"


def test_messages_that_are_processed_together_are_each_told_for_themselves(make: Make) -> None:
    def refuses_some(message: Message, records: Records) -> Reply:
        number = int(message.focus()[0].resource["identifier"][0]["value"])
        return (refuses if number % 3 == 2 else keeps)(message, records)

    notified = replace(OTHER, tell="subscription", subscription=SUBSCRIPTION)
    gateway = make(HOSPITAL, PHARMACY, notified, handler=refuses_some)
    owners = [named(PHARMACY if n % 2 else OTHER) for n in range(6)]
    bundles = [FROM_HOSPITAL.write("x", order(str(n), owner=owner)) for n, owner in enumerate(owners)]
    assert gateway.send(*bundles) == ["ok", "ok", "fatal-error"] * 2
    told = [(party, bundle) for party, bundle in gateway.told]
    assert sorted(party for party, _ in told) == ["Other pharmacy"] * 2 + ["Pharmacy"] * 2
    assert [numbers_in(bundle)[0] for party, bundle in told if party == "Other pharmacy"] == ["1", "2"]
    messages = [focus_of(bundle)[0] for party, bundle in told if party == "Pharmacy"]
    assert [one["identifier"][0]["value"] for one in messages] == ["1", "3"]


def test_what_clashes_with_another_transaction_is_told_once(make: Make) -> None:
    overtaken: list[str] = []

    def is_overtaken_once(message: Message, records: Records) -> Reply:
        reply = keeps(message, records)
        if not overtaken:
            overtaken.append("once")
            assert make(HOSPITAL, subscribing()).send(whole_order("2")) == ["ok"]
        return reply

    gateway = make(HOSPITAL, subscribing(), handler=is_overtaken_once)
    assert gateway.send(whole_order("1")) == ["ok"]
    assert [numbers_in(told)[0] for _, told in gateway.told] == ["1", "2"]


def test_events_are_numbered_in_order_by_workers_that_tell_the_same_partners(make: Make) -> None:
    both = replace(HOSPITAL, tell="subscription", subscription=SUBSCRIPTION), subscribing()
    gateway, jobs = make(*both), []
    for first, second in ((FROM_HOSPITAL, FROM_PHARMACY), (FROM_PHARMACY, FROM_HOSPITAL)) * 6:
        bundles = [sender.write("x", order(f"{len(jobs)}-{n}")) for n, sender in enumerate((first, second))]
        jobs.append([gateway.receive(bundle).lane for bundle in bundles])
    with ThreadPoolExecutor(4) as pool:
        done = pool.map(lambda lanes: gateway.processor.process(gateway.processor.find_due(lanes)), jobs)
        assert [one.outcome for many in done for one in many] == ["ok"] * 24
    for partner in ("Hospital", "Pharmacy"):
        told = [numbers_in(bundle)[0] for party, bundle in gateway.told if party == partner]
        assert told == [str(number) for number in range(1, 13)]
