"""Client certificates: from the header of a trusted proxy, by fingerprint and by subject."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.partners.model import Authentication
from gateway.settings import SettingsError
from tests.authentication import Gate, gate_in, hospital, pharmacy

PROXY = {"proxy_networks": ("127.0.0.0/8",), "proxy_certificate_header": "X-Client-Cert"}


@dataclass(frozen=True)
class Holder:
    """Somebody with a client certificate."""

    certificate: x509.Certificate

    @property
    def fingerprint(self) -> str:
        return self.certificate.fingerprint(SHA256()).hex(":").upper()

    @property
    def subject(self) -> str:
        return self.certificate.subject.rfc4514_string()

    @property
    def escaped(self) -> str:
        """As nginx writes it."""
        return quote(self.certificate.public_bytes(Encoding.PEM).decode())

    @property
    def structured(self) -> str:
        """As RFC 9440 has it."""
        return f":{base64.b64encode(self.certificate.public_bytes(Encoding.DER)).decode()}:"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def issued(authority: trustme.CA, name: str, **named: Any) -> Holder:
    pem = authority.issue_cert("client.example", common_name=name, **named).cert_chain_pems[0].bytes()
    return Holder(x509.load_pem_x509_certificate(pem))


@contextmanager
def trusting(tmp_path: Path, template: Path, redis_url: str, proof: Authentication, **settings: Any) -> Iterator[Gate]:
    with gate_in(
        tmp_path, template, redis_url, pharmacy(authentication=proof), hospital(), **(PROXY | settings)
    ) as one:
        yield one


def test_a_certificate_is_known_by_its_fingerprint_in_either_header_format(
    tmp_path: Path, sqlite_template: Path, redis_url: str, authority: trustme.CA
) -> None:
    own, other = issued(authority, "pharmacy"), issued(authority, "pharmacy")
    proof = Authentication(certificates=(own.fingerprint,))
    with trusting(tmp_path, sqlite_template, redis_url, proof) as one:
        assert one.ask("GET", "Task", X_Client_Cert=own.escaped).status_code == 200
        assert one.ask("GET", "Task", X_Client_Cert=own.structured).status_code == 200
        for wrong in (other.escaped, own.escaped[:-40], "nonsense", ":AAAA:", f"{own.escaped},{own.escaped}"):
            assert one.ask("GET", "Task", X_Client_Cert=wrong).status_code == 401


def test_a_subject_counts_only_from_an_authority_that_is_trusted(
    tmp_path: Path, sqlite_template: Path, redis_url: str, authority: trustme.CA
) -> None:
    own, forged = issued(authority, "pharmacy"), issued(trustme.CA(), "pharmacy")
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    proof = Authentication(subjects=(own.subject,))
    settings = {"tls_client_authority": str(tmp_path / "authority.pem")}
    with trusting(tmp_path, sqlite_template, redis_url, proof, **settings) as one:
        assert one.ask("GET", "Task", X_Client_Cert=own.escaped).status_code == 200
        assert one.ask("GET", "Task", X_Client_Cert=forged.escaped).status_code == 401
    with trusting(tmp_path, sqlite_template, redis_url, proof) as one:
        assert one.ask("GET", "Task", X_Client_Cert=own.escaped).status_code == 401


def test_a_certificate_outside_its_time_is_refused(
    tmp_path: Path, sqlite_template: Path, redis_url: str, authority: trustme.CA
) -> None:
    yesterday, tomorrow = (datetime.now(UTC) + timedelta(days=days) for days in (-1, 1))
    expired, early = issued(authority, "a", not_after=yesterday), issued(authority, "b", not_before=tomorrow)
    proof = Authentication(certificates=(expired.fingerprint, early.fingerprint))
    with trusting(tmp_path, sqlite_template, redis_url, proof) as one:
        answers = [one.ask("GET", "Task", X_Client_Cert=each.escaped) for each in (expired, early)]
        assert [answer.status_code for answer in answers] == [401, 401]
        assert [answer.json["issue"][0]["code"] for answer in answers] == ["expired", "login"]


def test_a_certificate_and_a_key_of_two_partners_prove_nothing(
    tmp_path: Path, sqlite_template: Path, redis_url: str, authority: trustme.CA
) -> None:
    own, nobodys = issued(authority, "pharmacy"), issued(authority, "proxy")
    proof = Authentication(certificates=(own.fingerprint,))
    with trusting(tmp_path, sqlite_template, redis_url, proof) as one:
        theirs, others = one.key("Pharmacy"), one.key("Hospital")
        assert one.ask("GET", "Task", X_Client_Cert=own.escaped, key=theirs).status_code == 200
        assert one.ask("GET", "Task", X_Client_Cert=own.escaped, key=others).status_code == 401
        assert one.ask("GET", "Task", X_Client_Cert=nobodys.escaped, key=others).status_code == 200
        assert one.ask("GET", "Task", X_Client_Cert="", key=others).status_code == 200, "the proxy has seen none"
        assert one.ask("GET", "Task", X_Client_Cert="").status_code == 401


def test_authorities_that_cannot_be_read_stop_the_start(tmp_path: Path, sqlite_template: Path, redis_url: str) -> None:
    missing = {"tls_client_authority": str(tmp_path / "missing.pem")}
    with (
        pytest.raises(SettingsError, match="tls_client_authority"),
        trusting(tmp_path, sqlite_template, redis_url, Authentication(), **missing),
    ):
        pass
