"""Connections: to an address that was judged, under the name that was asked for, and never longer than until a moment.

httpcore hands a timeout on to its network backend as it is. Here it is no length but a moment of `time.monotonic()`, so
that a receiver which takes or gives a byte at a time gains nothing by it.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import httpcore

from gateway.transport.addresses import Address, Guard, Network
from gateway.transport.calls import Credentials, NoAnswerError, seconds_left


def tls_context(credentials: Credentials) -> ssl.SSLContext:
    """Raises NoAnswerError, failed, for files that cannot be used."""
    try:
        context = ssl.create_default_context(cafile=credentials.authority_file)
    except (OSError, ValueError):
        raise NoAnswerError("failed", f"{credentials.authority_file} has no certificate of an authority") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if credentials.certificate_file:
        try:  # a password, though empty, lest the one of an encrypted key is asked for at the terminal
            context.load_cert_chain(credentials.certificate_file, credentials.key_file, password="")
        except (OSError, ValueError):
            files = " and ".join(str(file) for file in (credentials.certificate_file, credentials.key_file) if file)
            raise NoAnswerError("failed", f"our certificate and its key cannot be read from {files}") from None
    return context


class Backend(httpcore.NetworkBackend):
    """Connects to the addresses of a host that the guard lets pass."""

    def __init__(self, guard: Guard, scheme: str, networks: Sequence[Network], loopback: bool) -> None:
        self._guard = guard
        self._scheme = scheme
        self._networks = networks
        self._loopback = loopback

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        """Each address has its share of the time; what is raised tells of the last."""
        assert timeout is not None
        try:
            seconds = seconds_left(timeout)
            found = self._guard.addresses(host, port, seconds, self._scheme, self._networks, self._loopback)
            for tried, address in enumerate(found, 1):
                try:
                    return Stream(_connect(address, port, seconds_left(timeout) / (len(found) - tried + 1)))
                except OSError as error:
                    if tried == len(found):
                        raise httpcore.ConnectError(f"it cannot be connected to: {_reason(error)}") from None
        except TimeoutError:
            pass
        raise httpcore.ConnectTimeout


class Stream(httpcore.NetworkStream):
    """A connected socket, with TLS or without."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._is_silent = True
        """Whether nothing has come since something was sent."""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        assert timeout is not None
        try:
            self._socket.settimeout(seconds_left(timeout))
            data = self._socket.recv(max_bytes)
        except TimeoutError:
            raise httpcore.ReadTimeout from None
        except OSError as error:
            raise httpcore.ReadError(f"the connection broke: {_reason(error)}") from None
        if not data and self._is_silent:
            raise httpcore.ReadError("the connection was closed without an answer")
        self._is_silent = False
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        assert timeout is not None
        self._is_silent = True
        rest = memoryview(buffer)
        try:
            while rest:
                self._socket.settimeout(seconds_left(timeout))
                rest = rest[self._socket.send(rest) :]
        except TimeoutError:
            raise httpcore.WriteTimeout from None
        except OSError as error:
            raise httpcore.WriteError(f"the connection broke: {_reason(error)}") from None

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        assert timeout is not None
        try:
            self._socket.settimeout(seconds_left(timeout))
            return Stream(ssl_context.wrap_socket(self._socket, server_hostname=server_hostname))
        except TimeoutError:
            self.close()
            raise httpcore.ConnectTimeout from None
        except (OSError, ValueError) as error:
            self.close()
            raise httpcore.ConnectError(f"TLS failed: {_reason(error)}") from None

    def get_extra_info(self, info: str) -> Any:
        """httpcore asks whether an idle connection can be read, which is to say that it was closed."""
        if info == "is_readable":
            poll = select.poll()
            with suppress(ValueError):
                poll.register(self._socket, select.POLLIN)
                return bool(poll.poll(0))
            return True
        if info == "ssl_object" and isinstance(self._socket, ssl.SSLSocket):
            return self._socket
        return None


def _connect(address: Address, port: int, seconds: float) -> socket.socket:
    connected = socket.create_connection((str(address), port), seconds)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connected


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted, {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no TLS is spoken there").lower().replace("_", " ")
    if isinstance(error, TimeoutError):
        return "it does not answer"
    return os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else type(error).__name__
