"""TLS: the certificate must be that of the name, whatever its address; ours is shown where it is asked for."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from gateway.transport import Answer, Credentials, Target, Transport
from tests.transport.receivers import Receiver, receiver

NAME = "partner.example"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def authority_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(path)
    return path


def served_with(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def write(certificate: trustme.LeafCert, certificate_file: Path, key_file: Path) -> None:
    certificate.cert_chain_pems[0].write_to_path(certificate_file)
    certificate.private_key_pem.write_to_path(key_file)


def posted(transport: Transport, server: Receiver, name: str = NAME, **credentials: Path | None) -> Answer:
    target = server.target("/fhir?secret", name=name, credentials=Credentials(**credentials))
    return transport.post(target, b"{}", "application/fhir+json")


def test_the_certificate_is_that_of_the_name_though_its_address_is_called(
    transport: Transport, authority: trustme.CA, authority_file: Path
) -> None:
    shown: list[str | None] = []
    context = served_with(authority, NAME)
    context.sni_callback = lambda connection, name, context: shown.append(name)
    with receiver(context=context) as server:
        assert posted(transport, server, authority_file=authority_file).outcome == "delivered"
        assert posted(transport, server, authority_file=authority_file).outcome == "delivered"
        assert posted(transport, server, "partner.example.", authority_file=authority_file).outcome == "delivered"
    assert shown == [NAME, NAME]


@pytest.mark.parametrize("names", [("other.example",), ("127.0.0.1",)])
def test_a_certificate_of_another_name_is_not_accepted(
    transport: Transport, authority: trustme.CA, authority_file: Path, names: tuple[str, ...]
) -> None:
    with receiver(context=served_with(authority, *names)) as server:
        answer = posted(transport, server, authority_file=authority_file)
        assert server.requests == []
    assert answer.outcome == "unreachable"
    assert "TLS failed: its certificate is not accepted, Hostname mismatch" in answer.detail
    assert "secret" not in answer.detail


def test_a_certificate_of_another_authority_is_not_accepted(
    transport: Transport, authority: trustme.CA, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    with receiver(context=served_with(authority, NAME)) as server:
        for file in (other, None):
            answer = posted(transport, server, authority_file=file)
            assert answer.outcome == "unreachable"
            assert "certificate is not accepted" in answer.detail
        assert server.requests == []


def test_who_speaks_no_tls_is_unreachable(transport: Transport) -> None:
    with receiver() as server:
        answer = transport.get(Target(f"https://{NAME}:{server.server_port}/", loopback=True))
    assert answer.outcome == "unreachable"
    assert "TLS failed" in answer.detail


def test_our_certificate_is_shown_to_who_asks_for_it(
    transport: Transport, authority: trustme.CA, authority_file: Path, tmp_path: Path
) -> None:
    context = served_with(authority, NAME)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    certificate_file, key_file = tmp_path / "ours.pem", tmp_path / "ours.key"
    ours = {"authority_file": authority_file, "certificate_file": certificate_file, "key_file": key_file}
    with receiver(context=context) as server:
        answer = posted(transport, server, authority_file=authority_file)
        assert (answer.outcome, answer.status) == ("unreachable", None)
        write(trustme.CA().issue_cert("gateway.example"), certificate_file, key_file)
        assert posted(transport, server, **ours).outcome == "unreachable"
        certificate_file.unlink()
        write(authority.issue_cert("gateway.example"), certificate_file, key_file)
        assert posted(transport, server, **ours).outcome == "delivered"
        assert len(server.requests) == 1


def test_files_that_cannot_be_used_are_told_by_name(
    transport: Transport, authority: trustme.CA, authority_file: Path, tmp_path: Path
) -> None:
    key_file, encrypted, absent = tmp_path / "ours.key", tmp_path / "encrypted.key", tmp_path / "absent.pem"
    certificate = authority.issue_cert("gateway.example")
    write(certificate, certificate_file := tmp_path / "ours.pem", key_file)
    key = load_pem_private_key(key_file.read_bytes(), None)
    encrypted.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")))
    with receiver(context=served_with(authority, NAME)) as server:
        for credentials, culprit in (
            ({"authority_file": absent}, absent),
            ({"authority_file": key_file}, key_file),
            ({"certificate_file": absent}, absent),
            ({"certificate_file": certificate_file, "key_file": absent}, absent),
            ({"certificate_file": certificate_file, "key_file": encrypted}, encrypted),
            ({"certificate_file": authority_file, "key_file": key_file}, authority_file),
        ):
            answer = posted(transport, server, **credentials)
            assert (answer.outcome, answer.status) == ("failed", None)
            assert str(culprit) in answer.detail
        assert server.requests == []
