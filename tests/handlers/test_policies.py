"""The same messages under other policies: orders move as the pack in force says, and are cancelled so."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway import terms
from gateway.settings import Settings
from tests.handlers import CANCELLATION, ORDER, Gateway, Reply, message

BUSINESS = "http://hl7.org/fhir/us/bser/CodeSystem/TaskBusinessStatusCS"
Governed = Callable[[str], Gateway]


@pytest.fixture
def governed(database_url: str) -> Iterator[Governed]:
    """Opens a gateway with a policy in force."""
    opened: list[Gateway] = []

    def make(policy: str) -> Gateway:
        opened.append(Gateway(database_url, terms.load(Settings(policy=policy))))
        return opened[-1]

    yield make
    for gateway in opened:
        gateway.close()


def placer(gateway: Gateway, status: str, code: str | None = None, **elements: Any) -> Reply:
    return gateway.send(message("order-update__cancelled", **said(status, code), **elements))


def fulfiller(gateway: Gateway, status: str, code: str | None = None, **elements: Any) -> Reply:
    return gateway.send(message("order-update__in-progress", **said(status, code), **elements))


def said(status: str, code: str | None) -> dict[str, Any]:
    return {"status": status, "businessStatus": {"coding": [{"system": BUSINESS, "code": code}]} if code else {}}


def state(gateway: Gateway) -> tuple[str, str | None]:
    """The status of the order as it is kept, and the code of its business status."""
    task = gateway.get("Task", ORDER).resource
    return task["status"], task.get("businessStatus", {}).get("coding", [{}])[0].get("code")


def referred(gateway: Gateway, *states: tuple[str, str]) -> None:
    """A referral, and what its recipient makes of it."""
    assert gateway.send(message("new-order__prescription", **said("received", "2.0"))).code == "ok"
    for status, code in states:
        reply = fulfiller(gateway, status, code)
        assert reply.code == "ok", reply.text


# --- bser -------------------------------------------------------------------------------------------------------------


def test_a_referral_is_scheduled_seen_and_completed(governed: Governed) -> None:
    gateway = governed("bser")
    visits = [("in-progress", "5.1.1"), ("in-progress", "5.1.2"), ("in-progress", "5.1.1"), ("in-progress", "5.1.4")]
    referred(gateway, ("accepted", "3.0"), *visits, ("completed", "7.0"))
    assert state(gateway) == ("completed", "7.0")


def test_a_step_of_a_referral_that_is_left_out_is_refused_with_the_way(governed: Governed) -> None:
    gateway = governed("bser")
    referred(gateway)
    reply = fulfiller(gateway, "in-progress", "5.1.2")
    assert reply.code == "fatal-error"
    assert "The order is received (2.0) and cannot become in-progress (5.1.2)." in reply.text
    assert "accepted (3.0), then in-progress (5.1.1), then in-progress (5.1.2)" in reply.text
    assert state(gateway) == ("received", "2.0")


def test_a_business_status_of_another_status_is_refused(governed: Governed) -> None:
    gateway = governed("bser")
    referred(gateway)
    reply = fulfiller(gateway, "accepted", "7.0")
    assert reply.code == "fatal-error"
    assert "business status 7.0 does not go with the status accepted, which has 3.0" in reply.text
    assert state(gateway) == ("received", "2.0")


def test_who_is_asked_to_cancel_a_referral_by_its_business_status_may_have_completed_it(governed: Governed) -> None:
    gateway = governed("bser")
    referred(gateway, ("accepted", "3.0"), ("in-progress", "5.1.1"))
    assert fulfiller(gateway, "in-progress", "5.2").code == "fatal-error"
    assert placer(gateway, "in-progress", "5.2").code == "ok"
    assert placer(gateway, "cancelled", "6.0").code == "fatal-error"
    assert fulfiller(gateway, "completed", "7.0").code == "ok"
    assert state(gateway) == ("completed", "7.0")


def test_a_referral_is_cancelled_by_a_request_too_and_has_the_business_status_of_that(governed: Governed) -> None:
    gateway = governed("bser")
    referred(gateway, ("accepted", "3.0"), ("in-progress", "5.1.1"))
    assert gateway.send(message("cancellation-request__requested")).outcomes == ["pending"]
    assert gateway.send(message("cancellation-request__accepted")).outcomes == ["accepted"]
    assert state(gateway) == ("cancelled", "6.0")


# --- fhir -------------------------------------------------------------------------------------------------------------


def test_without_roles_either_party_makes_every_move(governed: Governed) -> None:
    gateway = governed("fhir")
    assert gateway.send(message("new-order__prescription")).code == "ok"
    for status in ("accepted", "in-progress", "on-hold", "in-progress"):
        reply = placer(gateway, status)
        assert reply.code == "ok", reply.text
    assert fulfiller(gateway, "cancelled").code == "ok"
    assert state(gateway)[0] == "cancelled"


def test_without_roles_a_cancellation_request_cancels_work_that_has_begun(governed: Governed) -> None:
    gateway = governed("fhir")
    gateway.send_all("new-order__prescription", "order-update__accepted", "order-update__in-progress")
    assert gateway.send(message("cancellation-request__requested")).outcomes == ["cancelled"]
    assert gateway.get("Task", ORDER).resource["status"] == "cancelled"
    assert gateway.get("Task", CANCELLATION).resource["status"] == "completed"


@pytest.mark.parametrize("policy", ["cow", "fhir", "bser"])
def test_a_bystander_changes_nothing_whatever_the_policy(policy: str, governed: Governed) -> None:
    gateway = governed(policy)
    status, code = ("received", "2.0") if policy == "bser" else ("requested", None)
    assert gateway.send(message("new-order__prescription", **said(status, code))).code == "ok"
    before = gateway.get("Task", ORDER)
    for change in ({"status": "accepted"}, {"note": [{"text": "n"}]}, {"status": "entered-in-error"}):
        bundle = message("order-update__accepted", **said(status, code) | change)
        header = bundle["entry"][0]["resource"]
        header["source"]["endpoint"] = "urn:demo:nobody"
        header.pop("sender", None)
        reply = gateway.send(bundle)
        assert reply.code == "fatal-error"
        codes = {issue["code"] for issue in reply.issues if issue["severity"] in ("error", "fatal")}
        assert codes <= {"forbidden", "conflict"}  # the latter, when it looks like a claim that came too late
        assert reply.focus == []
    assert gateway.get("Task", ORDER) == before
