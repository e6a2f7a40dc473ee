"""The web server speaking TLS itself, with partners that have a client certificate."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import trustme
from cryptography import x509

from gateway.cli import programs
from tests import services, validity
from tests.conftest import ROOT
from tests.services import eventually, free_port

PARTNER = """
[[partner]]
name = "Pharmacy"
identifiers = ["http://registry.example/identifier/organization|PHARMACY-7"]
endpoints = ["https://pharmacy.example/fhir"]
tell = "nothing"

[partner.authentication]
subjects = ["SUBJECT"]
"""

Client = Callable[[trustme.LeafCert | None], httpx.Client]


def subject_of(certificate: trustme.LeafCert) -> str:
    return x509.load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes()).subject.rfc4514_string()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def pharmacy(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("pharmacy.example", common_name="pharmacy")


@pytest.fixture(scope="module")
def client(
    tmp_path_factory: pytest.TempPathFactory,
    sqlite_template: Path,
    redis_server: str,
    authority: trustme.CA,
    pharmacy: trustme.LeafCert,
) -> Iterator[Client]:
    """A client of a gateway, with this certificate or none."""
    directory, port = tmp_path_factory.mktemp("tls"), free_port()
    server = authority.issue_cert("127.0.0.1")
    for name, pem in {
        "server.pem": server.cert_chain_pems[0].bytes(),
        "server.key": server.private_key_pem.bytes(),
        "authority.pem": authority.cert_pem.bytes(),
        "partners.toml": PARTNER.replace("SUBJECT", subject_of(pharmacy)).encode(),
    }.items():
        (directory / name).write_bytes(pem)

    def made(certificate: trustme.LeafCert | None) -> httpx.Client:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        if certificate is not None:
            certificate.configure_cert(context)
        return validity.client(base_url=f"https://127.0.0.1:{port}", verify=context, timeout=30)

    with services.sqlite_database(directory, sqlite_template) as url:
        settings = {
            "PORT": str(port),
            "VAR": str(directory / "var"),
            "DATABASE_URL": url,
            "REDIS_URL": redis_server,
            "AUTHENTICATION": "required",
            "WEB_PROCESSES": "1",
            "PARTNERS": f'["{directory}/partners.toml"]',
            "TLS_CERTIFICATE": str(directory / "server.pem"),
            "TLS_KEY": str(directory / "server.key"),
            "TLS_CLIENT_AUTHORITY": str(directory / "authority.pem"),
        }
        environment = os.environ | {f"GATEWAY_{name}": value for name, value in settings.items()}
        (directory / "var").mkdir()
        process = subprocess.Popen(programs.web(), cwd=ROOT, env=environment, start_new_session=True)
        try:
            eventually(lambda: process.poll() is not None or _answers(made(None)), pause=0.05)
            assert process.poll() is None, "the gateway ended at once"
            yield made
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _answers(client: httpx.Client) -> bool:
    with client, suppress(httpx.HTTPError):
        return client.get("/healthz").status_code == httpx.codes.OK
    return False


def test_a_client_certificate_proves_its_partner_and_none_proves_nobody(
    client: Client, pharmacy: trustme.LeafCert, authority: trustme.CA
) -> None:
    with client(pharmacy) as partner, client(None) as nobody, client(authority.issue_cert("other.example")) as other:
        assert [partner.get("/fhir/Task").status_code for _ in range(2)] == [200, 200]
        assert nobody.get("/fhir/Task").status_code == 401
        assert other.get("/fhir/Task").status_code == 401


def test_a_certificate_of_an_authority_that_is_not_trusted_is_not_let_in(client: Client) -> None:
    stranger = trustme.CA().issue_cert("pharmacy.example", common_name="pharmacy")
    with client(stranger) as forger, pytest.raises(httpx.TransportError):
        forger.get("/fhir/Task")


def test_a_body_of_many_records_comes_whole_and_one_who_does_not_shake_hands_holds_up_nobody(
    client: Client, pharmacy: trustme.LeafCert
) -> None:
    with client(pharmacy) as partner:
        address = (partner.base_url.host, partner.base_url.port or 0)
        with socket.create_connection(address), socket.create_connection(address) as plain:
            plain.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
            body = b'{"resourceType": "Bundle", "id": "' + b"x" * 1_000_000 + b'"}'
            answer = partner.post(
                "/fhir/$process-message", content=body, headers={"Content-Type": "application/fhir+json"}
            )
            assert answer.status_code == 422, answer.text
