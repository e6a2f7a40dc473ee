"""A handshake with a partner: each step of it, and in words what fails; nothing that it does has an effect."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import trustme
from joserfc.jwk import ECKey, RSAKey

from gateway.handshake import Finding, has_failed, shake_hands
from gateway.partners import document
from tests.transport.receivers import Reply, Request, receiver
from tests.transport.test_tls import served_with

NOTHING: Reply = (404, {}, b"")


def hands(said: dict[str, Any], *, loopback: bool = True, has_keys: bool = False) -> dict[str, list[Finding]]:
    """What is found at a partner, by step."""
    wrong: list[str] = []
    partner = document.read({"name": "Lab", "identifiers": ["urn:org|L"], "tell": "message"} | said, "here", wrong)
    assert partner is not None, wrong
    found: dict[str, list[Finding]] = {}
    for finding in shake_hands(partner, name="gateway", loopback=loopback, has_keys=has_keys):
        assert finding.says.endswith((".", "?")), finding
        found.setdefault(finding.step, []).append(finding)
    return found


def called(answer: Callable[[Request], Reply], **said: Any) -> tuple[dict[str, list[Finding]], list[Request]]:
    with receiver(answer) as server:
        url = server.target("/fhir/$process-message").url
        return hands({"endpoints": [url]} | said), server.requests


def outcomes(found: dict[str, list[Finding]]) -> dict[str, str]:
    return {step: "/".join(finding.outcome for finding in findings) for step, findings in found.items()}


def capability(version: str) -> Callable[[Request], Reply]:
    said = {"resourceType": "CapabilityStatement", "fhirVersion": version, "software": {"name": "Blaze\x1b[2J"}}
    return lambda request: (200, {"Content-Type": "application/fhir+json"}, orjson.dumps(said))


def test_a_partner_that_answers_is_well() -> None:
    found, requests = called(capability("4.0.1"))
    assert [(request.method, request.path) for request in requests] == [("GET", "/fhir/metadata")]
    assert outcomes(found) == {
        "configuration": "ok",
        "name": "ok",
        "connection": "note",
        "exchange": "ok",
        "proof": "note",
        "telling": "ok",
    }
    assert found["exchange"][0].says.endswith("It is Blaze[2J, in FHIR R4.")
    assert "in the dialect cow, R4, json" in found["telling"][0].says


def test_another_version_is_noted() -> None:
    found, _ = called(capability("5.0.0"))
    assert outcomes(found)["exchange"] == "ok/note"
    assert "It says that it speaks R5, and is told in R4" in found["exchange"][1].says


@pytest.mark.parametrize(("status", "outcome"), [(405, "ok"), (404, "ok"), (500, "fault")])
def test_without_metadata_its_endpoint_is_asked_for(status: int, outcome: str) -> None:
    found, requests = called(lambda request: NOTHING if "metadata" in request.path else (status, {}, b""))
    assert [(request.method, request.path) for request in requests] == [
        ("GET", "/fhir/metadata"),
        ("GET", "/fhir/$process-message"),
    ]
    assert outcomes(found)["exchange"] == outcome


@pytest.mark.parametrize("status", [401, 403])
def test_credentials_that_are_not_accepted_are_told(status: int, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hush")
    secret.chmod(0o644)
    delivery = {"credentials": {"kind": "bearer", "secret_file": str(secret)}}
    found, requests = called(lambda request: (status, {}, b""), delivery=delivery)
    assert requests[0].headers["authorization"] == "Bearer hush"
    [fault] = found["credentials"]
    assert fault.outcome == "fault"
    assert "does not accept our credentials: it is shown those of kind bearer" in fault.says
    assert outcomes(found)["configuration"] == "note/ok"
    assert not any("hush" in finding.says for findings in found.values() for finding in findings)
    accepted, _ = called(capability("4.0.1"), delivery=delivery)
    assert outcomes(accepted)["credentials"] == "ok"


def test_files_that_are_missing_or_empty_are_told_and_nothing_is_called(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    files = {"secret_file": str(tmp_path / "gone"), "authority_file": str(tmp_path / "empty")}
    found, requests = called(capability("4.0.1"), delivery={"credentials": {"kind": "bearer"} | files})
    assert requests == []
    assert outcomes(found)["configuration"] == "fault/fault"
    assert "cannot be read: No such file or directory" in found["configuration"][0].says
    assert "which is empty" in found["configuration"][1].says


def test_an_address_that_may_not_be_called_is_told() -> None:
    found = hands({"endpoints": ["https://10.3.0.7/fhir"]})
    assert outcomes(found)["configuration"] == "fault"
    assert "name" not in found


def test_a_name_without_an_address_is_told() -> None:
    found = hands({"endpoints": ["https://lab.invalid/fhir"]})
    assert outcomes(found)["name"] == "fault"
    assert "lab.invalid" in found["name"][0].says


def test_a_port_that_nobody_listens_on_is_told() -> None:
    with receiver() as server:
        url = server.target().url
    found = hands({"endpoints": [url]})
    assert outcomes(found)["connection"] == "fault"
    assert "it cannot be connected to: connection refused" in found["connection"][0].says


def test_tls_is_told_with_the_day_that_each_certificate_ends(tmp_path: Path) -> None:
    authority = trustme.CA()
    trusted, own = tmp_path / "authority.pem", tmp_path / "own.pem"
    authority.cert_pem.write_to_path(trusted)
    soon = datetime.now(UTC) + timedelta(days=7, hours=1)
    authority.issue_cert("gateway.example", not_after=soon).private_key_and_cert_chain_pem.write_to_path(own)
    own.chmod(0o600)
    credentials = {"authority_file": str(trusted), "certificate_file": str(own)}
    with receiver(capability("4.0.1"), served_with(authority, "127.0.0.1")) as server:
        said = {"endpoints": [server.target("/fhir").url], "delivery": {"credentials": credentials}}
        found = hands(said)
        distrusted = hands(said | {"delivery": {}})
    assert outcomes(found)["connection"] == "ok"
    assert outcomes(found)["certificate"] == "note/ok"
    assert f"Our certificate expires soon, on {soon:%Y-%m-%d}: in 7 days." in found["certificate"][0].says
    assert "The certificate of 127.0.0.1 is valid until" in found["certificate"][1].says
    assert "TLS failed: its certificate is not accepted" in distrusted["connection"][0].says
    past = datetime.now(UTC) - timedelta(days=1)
    authority.issue_cert("g", not_before=past, not_after=past).private_key_and_cert_chain_pem.write_to_path(own)
    assert "Our certificate expired on" in hands(said)["certificate"][0].says


@pytest.mark.parametrize(
    ("keys", "outcome", "sentence"),
    [
        ([{"kid": "1"} | ECKey.generate_key("P-384").as_dict(private=False)], "ok", "has 1 keys, 1 for RS384 or ES384"),
        ([], "fault", "Of the 0 keys"),
        ([{"kid": "1"} | RSAKey.generate_key(2048).as_dict(private=True)], "fault", "none has a kid and is public"),
        (None, "fault", "A JWK Set is written"),
    ],
)
def test_the_keys_that_a_partner_publishes_are_looked_at(keys: Any, outcome: str, sentence: str) -> None:
    with receiver(lambda request: (200, {}, orjson.dumps({"keys": keys}))) as server:
        proofs = {"client_id": "lab", "jwks_url": server.target("/jwks").url}
        found = hands({"tell": "poll", "authentication": proofs})
    assert outcomes(found)["keys"] == outcome
    assert sentence in found["keys"][0].says
    assert "tokens of ours" in found["proof"][0].says


def test_keys_that_are_not_there_are_told() -> None:
    with receiver(lambda request: NOTHING) as server:
        proofs = {"client_id": "lab", "jwks_url": server.target("/jwks").url}
        found = hands({"tell": "nothing", "authentication": proofs})
    assert "Its jwks_url gives no keys. GET " in found["keys"][0].says
    assert has_failed(found["keys"])


def test_who_is_not_called_is_told_how_it_is_told() -> None:
    found = hands({"endpoints": ["urn:demo:lab"], "state": "paused"}, has_keys=True)
    assert outcomes(found) == {"state": "note", "configuration": "ok", "proof": "ok", "telling": "note"}
    assert "urn:demo:lab cannot be called: what is for it waits" in found["telling"][0].says
    assert "by an API key" in found["proof"][0].says
    assert "fetches what it is told" in hands({"tell": "poll"})["telling"][0].says
