"""Client certificates: what one is known by, from the socket or from the header in which a proxy hands it on.

https://www.rfc-editor.org/rfc/rfc9440, https://www.rfc-editor.org/rfc/rfc4514
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.hashes import SHA256

from gateway.authentication.model import NotProven

LONGEST_HEADER = 16 * 1024
_PEM = re.compile(r"\s*-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END CERTIFICATE-----\s*")


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate whose key the caller has: `fingerprint` is the SHA-256 of it in hexadecimal.

    `subject` is its distinguished name as RFC 4514 writes it; None unless it comes from an authority that is trusted.
    """

    fingerprint: str
    subject: str | None
    begins_at: datetime
    ends_at: datetime

    def check(self, now: datetime) -> None:
        """Raises NotProven before and after its time."""
        if now < self.begins_at:
            raise NotProven("the certificate is not valid yet")
        if now > self.ends_at:
            raise NotProven("the certificate has expired", expired=True)


def read_der(der: bytes, authorities: Sequence[x509.Certificate] | None = None) -> Certificate:
    """`authorities` None: whoever took it in has made sure that it comes from one that is trusted. Raises NotProven."""
    try:
        found = x509.load_der_x509_certificate(der)
        fingerprint, subject = found.fingerprint(SHA256()).hex(), found.subject.rfc4514_string()
        begins_at, ends_at = found.not_valid_before_utc, found.not_valid_after_utc
    except ValueError:
        raise NotProven("the certificate cannot be read") from None
    is_trusted = authorities is None or any(_has_issued(one, found) for one in authorities)
    return Certificate(fingerprint, subject if is_trusted else None, begins_at, ends_at)


def read_header(text: str, authorities: Sequence[x509.Certificate]) -> Certificate:
    """A certificate as nginx writes it (PEM, URL-encoded) or as RFC 9440 does. Raises NotProven.

    There is one, and nothing beside it: what a caller has put before the proxy's own must not count.
    """
    try:
        if len(text) > LONGEST_HEADER:
            raise ValueError
        if text.startswith(":") and text.endswith(":"):
            return read_der(base64.b64decode(text[1:-1], validate=True), authorities)
        match = _PEM.fullmatch(unquote(text))
        if match is None:
            raise ValueError
        return read_der(base64.b64decode("".join(match[1].split()), validate=True), authorities)
    except (ValueError, binascii.Error):
        raise NotProven("the header holds no certificate") from None


def load_authorities(file: str) -> list[x509.Certificate]:
    """The certificates in a PEM file; none for want of one. Raises ValueError and OSError."""
    return x509.load_pem_x509_certificates(Path(file).read_bytes()) if file else []


def fingerprint_of(text: str) -> str:
    """A fingerprint as it is compared: `AB:CD:…` and `abcd…` are one."""
    return text.replace(":", "").replace(" ", "").lower()


def subject_of(text: str) -> str:
    """A distinguished name as it is compared. Raises ValueError where it is none."""
    return x509.Name.from_rfc4514_string(text).rfc4514_string()


def _has_issued(authority: x509.Certificate, found: x509.Certificate) -> bool:
    try:
        found.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
