"""Where answers go that are sent later: what a sender writes is never called because it is written."""

from __future__ import annotations

from itertools import product

import pytest

from gateway.errors import NotAMessage
from gateway.partners import Partner
from gateway.partners.model import Delivery
from gateway.return_address import find_return_address

HOME = "https://hospital.example/fhir/$process-message"
OTHER = "https://clinic.example:8443/in"
HOSPITAL = Partner("Hospital", ("urn:o|H",), (HOME, OTHER, "urn:demo:hospital"))
REGISTERED = Partner("Hospital", ("urn:o|H",), (HOME,), delivery=Delivery(reply_to="https://answers.example/in"))
URN = Partner("Hospital", ("urn:o|H",), ("urn:demo:hospital",))
POLLS = Partner("Hospital", ("urn:o|H",), tell="poll")

FOUND = [
    (HOSPITAL, None, None, HOME),
    (HOSPITAL, None, OTHER, OTHER),
    (HOSPITAL, None, "http://169.254.169.254/latest", HOME),
    (HOSPITAL, None, "urn:demo:hospital", HOME),
    (HOSPITAL, "https://hospital.example/answers?for=1", None, "https://hospital.example/answers?for=1"),
    (HOSPITAL, "https://HOSPITAL.example:443/answers", None, "https://HOSPITAL.example:443/answers"),
    (HOSPITAL, "https://clinic.example:8443/out", HOME, "https://clinic.example:8443/out"),
    (REGISTERED, "https://elsewhere.example/", HOME, "https://answers.example/in"),
    (POLLS, None, "https://elsewhere.example/", None),
    (None, None, "http://localhost:8080/in", "http://localhost:8080/in"),
    (None, "http://127.0.0.1/in", "https://elsewhere.example", "http://127.0.0.1/in"),
    (None, "http://[::1]:8080/in", None, "http://[::1]:8080/in"),
]


def test_an_answer_goes_to_what_is_registered() -> None:
    for partner, response_url, source, address in FOUND:
        assert find_return_address(partner, response_url, source) == address, (partner, response_url, source)


ATTACKS = [
    "http://127.0.0.1:5432/",
    "http://localhost/",
    "http://[::1]/",
    "http://169.254.169.254/latest/meta-data",
    "http://10.0.0.1/",
    "https://192.168.1.1/fhir/$process-message",
    "https://evil.example/",
    "http://hospital.example/fhir",  # without TLS
    "https://hospital.example:8443/fhir",
    "https://hospital.example.evil.example/",
    "https://evil.example/https://hospital.example/",
    "https://evil.example#@hospital.example/",
    "https://evil.example?@hospital.example/",
    "https://hospital.example@evil.example/",
    "https://user:secret@hospital.example/",
    "https://hospital.example\\@evil.example/",
    "https://evil.example\\@hospital.example/",
    "https://hospital.example%2f@evil.example/",
    "https://hospital.example%00.evil.example/",
    "https:hospital.example/",
    "https:///hospital.example/",
    "//hospital.example/",
    "https://hospital。example/",
    "https://xn--hospital.example/",
    "https://2130706433/",
    "https://0x7f.1/",
    "javascript:alert(1)",
    "file:///etc/passwd",
    "gopher://hospital.example/",
    "ftp://hospital.example/",
    "urn:demo:hospital",
    "urn:oid:1.2.3",
]


def refusal(partner: Partner | None, response_url: str | None, source: str | None) -> str:
    """What is said of an address that is refused; empty where it is not."""
    try:
        find_return_address(partner, response_url, source)
    except NotAMessage as refused:
        [issue] = refused.issues
        assert issue.code == "forbidden"
        return issue.text
    return ""


def test_nothing_else_is_called_because_a_message_says_so() -> None:
    for partner, url in product((HOSPITAL, URN, POLLS), ATTACKS):
        text = refusal(partner, url, HOME)
        assert text, (partner.name, url)
        assert "secret" not in text, url
        if partner is HOSPITAL:
            assert "https://hospital.example, https://clinic.example:8443" in text, url


def test_who_is_not_registered_is_answered_on_this_machine_alone() -> None:
    elsewhere = [each for each in ATTACKS if not each.startswith(("http://127", "http://l", "http://["))]
    only_looks_like_it = ["http://127.0.0.1.evil.example/", "http://localhost@evil.example/", "http://127.1/"]
    for url in (*elsewhere, *only_looks_like_it):
        for response_url, source in ((url, None), (None, url), (url, "http://localhost/")):
            assert "on this machine" in refusal(None, response_url, source), (response_url, source)


def test_in_a_sandbox_a_partner_may_be_on_this_machine_too() -> None:
    here = "http://localhost:8080/in"
    assert find_return_address(URN, here, None, loopback=True) == here
    with pytest.raises(NotAMessage, match="not an address of"):
        find_return_address(URN, "https://evil.example/", None, loopback=True)


def test_who_has_no_address_at_all_is_told_so() -> None:
    with pytest.raises(NotAMessage, match="no registered address"):
        find_return_address(URN, None, "urn:demo:hospital")
    with pytest.raises(NotAMessage, match="names none"):
        find_return_address(None, None, None)
