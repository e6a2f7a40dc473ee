"""What a cancellation comes to under other policies: other effects of an acceptance, other machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from gateway.fhir.policy import loading
from gateway.fhir.policy.model import Policy
from tests.handlers import Gateway
from tests.orders import HOSPITAL, PHARMACY, Order, focus_of
from tests.terms import TERMS

BUSINESS = "http://hl7.org/fhir/us/bser/CodeSystem/TaskBusinessStatusCS"
Open = Callable[[Policy], Gateway]


@pytest.fixture
def open_under(database_url: str) -> Iterator[Open]:
    opened: list[Gateway] = []

    def open_one(policy: Policy) -> Gateway:
        opened.append(Gateway(database_url, replace(TERMS, policy=policy)))
        return opened[-1]

    yield open_one
    for gateway in opened:
        gateway.close()


def sent(gateway: Gateway, *bundles: dict[str, Any]) -> None:
    for bundle in bundles:
        reply = gateway.send(bundle)
        assert reply.code == "ok", reply.text


def business(code: str) -> dict[str, Any]:
    return {"coding": [{"system": BUSINESS, "code": code}]}


@pytest.mark.parametrize("effect", ["cancelled", "on-hold", "failed"])
@pytest.mark.parametrize("before", ["in-progress", "on-hold"])
def test_an_acceptance_has_the_effect_of_the_policy(open_under: Open, effect: Any, before: str) -> None:
    gateway, order = open_under(replace(TERMS.policy, accepted=effect)), Order()
    sent(gateway, order.new_order(), order.update("accepted"), order.update("in-progress"))
    sent(gateway, order.update(before), order.cancellation_request())

    reply = gateway.send(order.cancellation_request("accepted"))

    assert (reply.code, reply.outcomes) == ("ok", ["accepted"])
    request, task = reply.focus
    assert (request["status"], task["status"]) == ("completed", effect)
    assert task["statusReason"] == {"text": "The patient is allergic to penicillin"}
    assert f"The order is {effect}." in reply.text


def test_an_order_that_is_left_to_its_fulfiller_is_ended_by_it(open_under: Open) -> None:
    gateway, order = open_under(replace(TERMS.policy, accepted="left")), Order()
    sent(gateway, order.new_order(), order.update("accepted"), order.update("in-progress"))
    sent(gateway, order.cancellation_request())
    was = gateway.get("Task", order.identifier)

    reply = gateway.send(order.cancellation_request("accepted"))

    assert reply.outcomes == ["accepted"]
    assert [task["status"] for task in reply.focus] == ["accepted", "in-progress"]
    assert gateway.get("Task", order.identifier).version == was.version
    [ended] = gateway.send(order.update("failed")).focus
    assert ended["status"] == "failed"
    assert gateway.send(order.cancellation_request()).outcomes == ["accepted"]


@pytest.mark.parametrize("before", ["requested", "accepted", "in-progress", "on-hold"])
def test_by_the_diagram_alone_a_placer_cancels_at_once_whatever_the_work(open_under: Open, before: str) -> None:
    gateway, order = open_under(loading.load("fhir")), Order()
    statuses = ["requested", "accepted", "in-progress", "on-hold"]
    way = statuses[1 : statuses.index(before) + 1]
    sent(gateway, order.new_order(), *(order.update(status) for status in way))
    reply = gateway.send(order.cancellation_request())
    assert reply.outcomes == ["cancelled"]
    assert [task["status"] for task in reply.focus] == ["completed", "cancelled"]


def test_a_referral_is_cancelled_with_the_business_status_that_goes_with_it(open_under: Open) -> None:
    gateway, order = open_under(loading.load("bser")), Order()
    sent(gateway, order.new_order("received", businessStatus=business("2.0")))
    sent(gateway, order.update("accepted", businessStatus=business("3.0")))
    assert gateway.send(order.cancellation_request()).outcomes == ["pending"]

    reply = gateway.send(order.cancellation_request("accepted"))

    assert reply.outcomes == ["accepted"]
    request, task = reply.focus
    assert (request["status"], task["status"]) == ("completed", "cancelled")
    assert task["businessStatus"] == business("6.0")


def test_a_referral_that_is_cancelled_in_its_own_way_answers_the_open_request(open_under: Open) -> None:
    gateway, order = open_under(loading.load("bser")), Order()
    sent(gateway, order.new_order("received", businessStatus=business("2.0")))
    sent(gateway, order.update("accepted", businessStatus=business("3.0")), order.cancellation_request())
    sent(gateway, order.update("in-progress", HOSPITAL, businessStatus=business("5.2")))

    ended = gateway.send(order.update("cancelled", PHARMACY, businessStatus=business("6.0")))

    assert (ended.code, ended.outcomes) == ("ok", ["cancelled"])
    assert [task["status"] for task in ended.focus] == ["cancelled", "completed"]
    late = gateway.send(order.cancellation_request("rejected"))
    assert (late.code, late.outcomes) == ("fatal-error", ["cancelled"])


def test_a_referral_that_is_completed_all_the_same_is_too_late_to_cancel(open_under: Open) -> None:
    gateway, order = open_under(loading.load("bser")), Order()
    sent(gateway, order.new_order("received", businessStatus=business("2.0")))
    sent(gateway, order.update("accepted", businessStatus=business("3.0")), order.cancellation_request())
    sent(gateway, order.update("in-progress", HOSPITAL, businessStatus=business("5.2")))
    ended = gateway.send(order.update("completed", businessStatus=business("7.0")))
    assert ended.outcomes == ["too-late-completed"]
    assert [task["status"] for task in ended.focus] == ["completed", "rejected"]


def test_a_cancellation_that_has_overtaken_a_referral_is_pending_when_it_comes(open_under: Open) -> None:
    gateway, order = open_under(loading.load("bser")), Order()
    assert gateway.send(order.cancellation_request()).outcomes == ["held"]
    placed = gateway.send(order.new_order("received", businessStatus=business("2.0")))
    assert placed.outcomes == ["pending"]
    assert [task["status"] for task in placed.focus] == ["received", "requested"]
    assert gateway.send(order.cancellation_request("accepted")).outcomes == ["accepted"]


def test_other_requests_about_an_order_end_with_its_cancellation(open_under: Open) -> None:
    gateway, order = open_under(TERMS.policy), Order()
    sent(gateway, order.new_order(), order.update("accepted"), order.update("in-progress"))
    suspend = order.cancellation_request()
    task = focus_of(suspend)
    task["identifier"][0]["value"] += "-S"
    task["code"]["coding"][0]["code"] = "suspend"
    del task["code"]["coding"][0]["display"]
    sent(gateway, suspend, order.cancellation_request())

    reply = gateway.send(order.cancellation_request("accepted"))

    assert [task["status"] for task in reply.focus] == ["completed", "cancelled", "rejected"]
