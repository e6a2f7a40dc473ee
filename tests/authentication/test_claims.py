"""What a message says of its sender, held against who has proved to be."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.authentication.claims import hold_to
from gateway.authentication.model import Identity
from gateway.errors import Refused
from gateway.fhir.message import Message, read_message
from gateway.partners import Partners
from gateway.partners.model import Authentication
from tests.authentication import hospital, laboratory, pharmacy
from tests.web.served import ORGANIZATIONS

FLAGGED = Authentication(mismatch="flag")
PARTNERS = Partners((hospital(), pharmacy(), laboratory(authentication=FLAGGED)))
OTHER = {"identifier": {"system": ORGANIZATIONS, "value": "PHARMACY-7"}}


def message(endpoint: str | None, sender: Any = None, *beside: Any) -> Message:
    header: dict[str, Any] = {"resourceType": "MessageHeader", "id": "1", "eventCoding": {"code": "any"}}
    header |= {"source": {"endpoint": endpoint}} if endpoint else {}
    header |= {"sender": sender} if sender else {}
    entries = [{"fullUrl": "urn:uuid:1", "resource": header}, *beside]
    return read_message({"resourceType": "Bundle", "type": "message", "entry": entries}, datetime.now(UTC))


def proved(name: str) -> Identity:
    return Identity(PARTNERS.called(name), "api-key", frozenset())


WARD = {"identifier": {"system": "http://hospital.example/wards", "value": "3"}}
AT_REST = {"fullUrl": "urn:uuid:2", "resource": {"resourceType": "Organization", "identifier": [OTHER["identifier"]]}}
OWN = [
    message("urn:demo:hospital"),
    message("urn:demo:hospital", {"identifier": {"system": ORGANIZATIONS, "value": "HOSPITAL-1"}}),
    message("urn:demo:hospital", WARD),
    message("urn:nobody:knows", WARD),
    message(None, WARD),
]
OTHERS = [
    (message("urn:demo:pharmacy"), "source.endpoint"),
    (message("urn:demo:pharmacy", WARD), "source.endpoint"),
    (message("urn:demo:hospital", OTHER), "sender"),
    (message("urn:nobody:knows", OTHER), "sender"),
    (message("urn:demo:hospital", {"reference": "urn:uuid:2"}, AT_REST), "sender"),
]


@pytest.mark.parametrize("sent", OWN)
def test_who_has_proved_to_be_a_partner_is_that_one_whatever_its_message_calls_it(sent: Message) -> None:
    held, warnings = hold_to(sent, proved("Hospital"), PARTNERS)
    assert (held.partner, held.sender, warnings) == ("Hospital", hospital().sender, ())


@pytest.mark.parametrize(("sent", "place"), OTHERS)
def test_who_names_another_partner_is_refused_or_flagged_as_is_registered(sent: Message, place: str) -> None:
    with pytest.raises(Refused) as refused:
        hold_to(sent, proved("Hospital"), PARTNERS)
    [issue] = refused.value.issues
    assert (issue.code, issue.expression) == ("forbidden", f"Bundle.entry[0].resource.{place}")
    assert "Pharmacy" in issue.text
    if place == "source.endpoint":
        held, [warning] = hold_to(sent, proved("Laboratory"), PARTNERS)
        assert (held.partner, held.sender, warning.severity) == ("Laboratory", laboratory().sender, "warning")


def test_who_has_proved_nothing_is_whom_its_message_says() -> None:
    sent = message("urn:demo:pharmacy")
    assert hold_to(sent, Identity(None, "none", frozenset()), PARTNERS) == (sent, ())
