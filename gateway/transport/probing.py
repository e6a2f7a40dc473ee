"""What a call would meet on its way, step by step and without a request: addresses, and TLS with its certificate."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import httpcore

from gateway.transport.addresses import Guard, Resolver, parse_address, read_networks, resolve
from gateway.transport.calls import NoAnswerError, Target
from gateway.transport.connecting import Backend, tls_context

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Secured:
    """A connection with TLS as it was: its version, and when the other side's certificate expires."""

    version: str
    expires_at: datetime


def look_up(target: Target, resolver: Resolver = resolve) -> list[str]:
    """The addresses that the target's host has. Raises NoAnswerError, as a call does that goes there."""
    url = parse_address(target.url)
    port = url.port or _PORTS[url.scheme]
    networks = read_networks(target.networks)
    found = Guard(resolver).addresses(url.host, port, target.timeout, url.scheme, networks, target.loopback)
    return [str(address) for address in found]


def connect(target: Target, resolver: Resolver = resolve) -> Secured | None:
    """Connects, with TLS and our certificate where the address says so, and ends it; None without TLS.

    Raises NoAnswerError.
    """
    url = parse_address(target.url)
    deadline = time.monotonic() + target.timeout
    backend = Backend(Guard(resolver), url.scheme, read_networks(target.networks), target.loopback)
    try:
        stream = backend.connect_tcp(url.host, url.port or _PORTS[url.scheme], deadline)
        if url.scheme == "https":
            stream = stream.start_tls(tls_context(target.credentials), url.host.rstrip("."), deadline)
        try:
            return _seen(stream.get_extra_info("ssl_object"))
        finally:
            stream.close()
    except httpcore.ConnectTimeout:
        raise NoAnswerError("unreachable", f"it does not answer within {target.timeout:g} s") from None
    except httpcore.ConnectError as error:
        raise NoAnswerError("unreachable", str(error)) from None


def _seen(secured: ssl.SSLSocket | None) -> Secured | None:
    certificate = secured.getpeercert() if secured is not None else None
    if secured is None or not certificate:
        return None
    seconds = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    return Secured(secured.version() or "TLS", datetime.fromtimestamp(seconds, UTC))
