"""Who may administer the gateway: whoever has a token; in a sandbox without any, programs of this machine.

A browser that shows a page from elsewhere runs on this machine too. So in a sandbox the Host must be of this machine
(else a name that its owner lets point here, "DNS rebinding", would do) and the page the gateway's own.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from flask import request

from gateway.settings import Settings

log = structlog.get_logger()

SANDBOX, NAMELESS = "sandbox (API)", "administrator (API)"
"""Whom the audit names where nobody has a name: anybody on this machine, and whoever has the token without one."""
_LEAST = 16
_LONGEST_NAME, _MOST_BYTES = 100, 64 * 1024
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
        return _by_token(in_force)
    if not in_force.is_sandbox:
        raise NotAnAdministratorError(403, "The API is closed: no token is set. Let admin_token_file name its file.")
    if not _is_of_this_machine():
        log.warning("refused", cause="not of this machine")
        text = (
            "Without admin_token_file the API of a sandbox is for programs of this machine: call it directly, at "
            "127.0.0.1 or localhost, and not from a page of another site."
        )
        raise NotAnAdministratorError(403, text)
    return SANDBOX


def _by_token(in_force: Settings) -> str:
    file = Path(in_force.admin_token_file)
    try:
        mode = file.stat().st_mode
        names = read_tokens(_content(file))
    except ValueError as error:
        log.error("no administrator's token", file=str(file), cause=str(error))
        raise NotAnAdministratorError(503, f"The file of admin_token_file cannot be used: {error}") from None
    except OSError as error:
        log.error("no administrator's token", file=str(file), cause=error.strerror)
        raise NotAnAdministratorError(503, "The file of admin_token_file cannot be read.") from None
    _warn(file, mode)
    if not (request.is_secure or in_force.base_url.startswith("https://") or is_loopback(request.remote_addr)):
        log.warning("administered without TLS", address=request.remote_addr)
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    sent = given.strip().encode("utf-8", "surrogateescape")
    right = [name for token, name in names.items() if hmac.compare_digest(sent, token)]
    if scheme.lower() != "bearer" or not right:
        log.warning("refused", cause="no administrator")
        text = "This is for administrators: send a token of admin_token_file as `Authorization: Bearer …`."
        raise NotAnAdministratorError(401, text)
    return right[0]


def _content(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(_MOST_BYTES + 1)


def read_tokens(content: bytes) -> Mapping[bytes, str]:
    """Whom the audit names for each token of a file; its lines are `NAME TOKEN`, the first one may be a token alone.

    Raises ValueError with a sentence, which has nothing of a token in it.
    """
    if len(content) > _MOST_BYTES:
        raise ValueError(f"it has more than {_MOST_BYTES} bytes.")
    names: dict[bytes, str] = {}
    for number, line in enumerate(content.splitlines(), 1):
        *words, token = line.split() or [b""]
        name = b" ".join(words).decode("utf-8", "replace")
        if not token and names:
            continue
        if len(token) < _LEAST:
            raise ValueError(f"line {number} has no token of {_LEAST} characters or more.")
        if (not name and names) or len(name) > _LONGEST_NAME or not name.isprintable() or "\ufffd" in name:
            raise ValueError(f"line {number} is not `NAME TOKEN`; only the first line may do without a name.")
        audited = f"{name} (API)" if name else NAMELESS
        if token in names or audited.casefold() in map(str.casefold, (SANDBOX, *names.values())):
            raise ValueError(f"line {number} has a name or a token that is taken: give everybody one of their own.")
        names[token] = audited
    if not names:
        raise ValueError(f"it has no token of {_LEAST} characters or more.")
    return names


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
