"""Who may administer the gateway: whoever has the token; in a sandbox without one, programs of this machine.

A browser that shows a page from elsewhere runs on this machine too. So in a sandbox the Host must be of this machine
(else a name that its owner lets point here, "DNS rebinding", would do) and the page the gateway's own.
"""

from __future__ import annotations

import hmac
import ipaddress
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from flask import request

from gateway.settings import Settings

log = structlog.get_logger()

_LEAST = 16
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")
_OWN_SITE = ("same-origin", "none")


class NotAnAdministratorError(Exception):
    """The caller may not administer: `status` 401, 403 or 503, and what to do."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def admit(in_force: Settings) -> str:
    """Whom the audit names for the current request. Raises NotAnAdministratorError."""
    if in_force.admin_token_file:
        _check_token(in_force)
        return "administrator (API)"
    if not in_force.is_sandbox:
        raise NotAnAdministratorError(403, "The API is closed: no token is set. Let admin_token_file name its file.")
    if not _is_of_this_machine():
        log.warning("refused", cause="not of this machine")
        text = (
            "Without admin_token_file the API of a sandbox is for programs of this machine: call it directly, at "
            "127.0.0.1 or localhost, and not from a page of another site."
        )
        raise NotAnAdministratorError(403, text)
    return "sandbox (API)"


def _check_token(in_force: Settings) -> None:
    file = Path(in_force.admin_token_file)
    try:
        token = next(iter(file.read_text(encoding="utf-8").splitlines()), "").strip()
    except (OSError, UnicodeDecodeError):
        token = ""
    if len(token) < _LEAST:
        log.error("no administrator's token", file=str(file), least=_LEAST)
        text = f"The file of admin_token_file has no token of {_LEAST} characters or more on its first line."
        raise NotAnAdministratorError(503, text)
    _warn(file, file.stat().st_mode)
    if not (request.is_secure or in_force.base_url.startswith("https://") or is_loopback(request.remote_addr)):
        log.warning("administered without TLS", address=request.remote_addr)
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    is_right = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), token.encode())
    if scheme.lower() != "bearer" or not is_right:
        log.warning("refused", cause="no administrator")
        text = "This is for administrators: send the token of admin_token_file as `Authorization: Bearer …`."
        raise NotAnAdministratorError(401, text)


@lru_cache(16)
def _warn(file: Path, mode: int) -> None:
    """Once for each mode that the file has."""
    if mode & 0o007:
        log.warning("the administrators' token can be read by every user of this machine", file=str(file))


def _is_of_this_machine() -> bool:
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    return (
        is_loopback(request.remote_addr)
        and is_loopback(host_of(f"//{request.host}"))
        and not any(name in request.headers for name in _FORWARDED)
        and (origin is None or origin == f"{request.scheme}://{request.host}")
        and (site is None or site in _OWN_SITE)
    )


def host_of(url: str) -> str | None:
    """The host in an address; None where it has none, or is none."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def is_loopback(host: str | None) -> bool:
    """Whether a name or an address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
