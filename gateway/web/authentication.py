"""Who calls, before anything else of a request is looked at: 401, 403 and 429 are said here.

https://hl7.org/fhir/R4/security.html#authentication, https://www.rfc-editor.org/rfc/rfc6750#section-3
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import structlog
from flask import g, request

from gateway.authentication.authenticator import Evidence
from gateway.authentication.model import Identity, NotProven
from gateway.authentication.scopes import Interaction, grants
from gateway.errors import Issue, TooLarge
from gateway.store.database import Connection
from gateway.viewing import View
from gateway.web import context
from gateway.web.administrators import host_of, is_loopback
from gateway.web.conditions import Declined
from gateway.web.context import Context

log = structlog.get_logger()

_GUARDED = "/fhir"
_OPEN = ("metadata.metadata", "tokens.smart_configuration")
"""Endpoints under /fhir that tell a caller how to prove itself."""
_NEEDED: Mapping[str, tuple[str, Interaction]] = {
    "process_message.process_message": ("Bundle", "c"),
    "batch.batch": ("Bundle", "c"),
    "polling.poll": ("Bundle", "r"),
    "polling.acknowledge": ("Bundle", "r"),
    "resources.read": ("", "r"),
    "resources.vread": ("", "r"),
    "resources.history": ("", "r"),
    "searching.search": ("", "s"),
    "searching.search_by_form": ("", "s"),
    "trail.read_provenance": ("Provenance", "r"),
    "trail.search_provenance": ("Provenance", "s"),
    "trail.read_audit_event": ("AuditEvent", "r"),
    "trail.search_audit_events": ("AuditEvent", "s"),
    "subscriptions.create": ("Subscription", "c"),
    "subscriptions.read": ("Subscription", "r"),
    "subscriptions.update": ("Subscription", "u"),
    "subscriptions.delete": ("Subscription", "d"),
    "subscriptions.search": ("Subscription", "s"),
    "subscription_operations.statuses": ("Subscription", "s"),
    "subscription_operations.status": ("Subscription", "r"),
    "subscription_operations.events": ("Subscription", "r"),
    "writing.create": ("", "c"),
    "writing.update": ("", "u"),
    "writing.patch": ("", "u"),
}
"""What must be granted for an endpoint, the type for want of one in the address; other endpoints ask by `require`."""
_MESSAGES = ("process_message.process_message", "batch.batch", "writing.create", "writing.update", "writing.patch")
"""Endpoints that take messages, of which a partner may send so many a minute."""
_REALM = 'Bearer realm="fhir"'


def identify() -> None:
    """Puts who calls into `g.identity`. Raises Declined (401, 403, 429) and TooLarge."""
    if not (request.path == _GUARDED or request.path.startswith(f"{_GUARDED}/")) or request.endpoint in _OPEN:
        return
    here = context.get()
    try:
        identity = here.authenticator.identify(_evidence(here), lambda: here.terms.partners)
    except NotProven as unproven:
        _refuse(unproven)
    g.identity = identity
    partner = identity.partner
    if identity.proof == "none":
        _check_host(here)
    if partner is not None:
        structlog.contextvars.bind_contextvars(partner=partner.name)
        if partner.state == "blocked":
            log.warning("refused", cause="the partner is blocked")
            text = "This partner is blocked here: nothing that it sends is taken. Speak to the gateway's operator."
            raise Declined(403, Issue("forbidden", text))
        if request.endpoint in _MESSAGES:
            bound_rate(here, identity)
        _bound_size(here)
    needed = _NEEDED.get(request.endpoint or "")
    if needed is not None:
        kind, interaction = needed
        require(kind or (request.view_args or {})["resource_type"], interaction)


def _check_host(here: Context) -> None:
    """A page from elsewhere, whose name its owner has let point to this machine, is no program of it: 403."""
    asked = host_of(f"//{request.host}")
    if not is_loopback(asked) and asked != host_of(here.settings.base_url):
        log.warning("refused", cause="a sandbox is asked for by a name that is not this machine's")
        text = "A sandbox is for programs of this machine: ask for it at 127.0.0.1 or localhost, or at its base_url."
        raise Declined(403, Issue("forbidden", text))


def require(resource_type: str, interaction: Interaction) -> None:
    """Raises Declined (403) unless the caller may do this with resources of the type."""
    if grants(g.identity.scopes, resource_type, interaction):
        return
    scope = f"system/{resource_type}.{interaction}"
    log.warning("refused", cause="scope", scope=scope)
    text = f"The caller may not do this: it needs the scope {scope}. Ask for it with the token, or have it registered."
    challenge = f'{_REALM}, error="insufficient_scope", scope="{scope}"'
    raise Declined(403, Issue("forbidden", text), headers={"WWW-Authenticate": challenge})


def view_of(here: Context, connection: Connection) -> View | None:
    """What the caller may see; None: everything, as a sandbox shows it to who proves nothing."""
    partner = g.identity.partner
    return View(connection, partner, here.ourselves.base_url, here.terms) if partner is not None else None


def may_see(here: Context, connection: Connection, resource_type: str, resource_id: str) -> bool:
    view = view_of(here, connection)
    return view is None or view.has(resource_type, resource_id)


def owns(here: Context, connection: Connection, resource_type: str, resource_id: str) -> bool:
    """As `may_see`, but for what is seen only because the caller may take an order."""
    view = view_of(here, connection)
    return view is None or view.owns(resource_type, resource_id)


def largest_body(here: Context) -> int:
    """The bytes that the caller may send at once."""
    own = g.identity.partner.limits.message_bytes if g.identity.partner is not None else None
    most = here.settings.max_message_bytes
    return most if own is None else min(own, most)


def _evidence(here: Context) -> Evidence:
    headers, named = request.headers, here.settings.proxy_certificate_header
    sock = request.environ.get("gunicorn.socket")
    return Evidence(
        authorization=headers.get("Authorization"),
        api_key=headers.get("X-API-Key"),
        certificate_header=headers.get(named) or None if named else None,
        address=request.remote_addr,
        certificate=_peer_certificate(sock),
    )


def _peer_certificate(sock: Any) -> bytes | None:
    """The certificate that TLS has seen and found to be from an authority that is trusted, DER; None without one."""
    ask = getattr(sock, "getpeercert", None)
    return ask(True) if ask is not None else None


def _refuse(unproven: NotProven) -> NoReturn:
    """Says the same of every proof that fails, but for one that has only expired; the log has the cause."""
    log.warning("not proven", cause=unproven.cause)
    if unproven.missing:
        text = (
            "Prove who you are: with an access token (Authorization: Bearer …), a client certificate, or an API key "
            "(X-API-Key). /fhir/.well-known/smart-configuration says where tokens are given."
        )
        raise Declined(401, Issue("login", text), headers={"WWW-Authenticate": _REALM})
    challenge = {"WWW-Authenticate": f'{_REALM}, error="invalid_token"'}
    if unproven.expired:
        text = "What the request proves its sender with has expired. Get a new one, and send the request again."
        raise Declined(401, Issue("expired", text), headers=challenge)
    text = (
        f"What the request brings does not prove who sends it. The gateway's operator finds the cause under "
        f"{g.request_id}."
    )
    raise Declined(401, Issue("login", text), headers=challenge)


def bound_rate(here: Context, identity: Identity, messages: int = 1) -> None:
    """Counts messages that a partner sends. Raises Declined (429) when they are too many within a minute."""
    if identity.partner is None:
        return
    own = identity.partner.limits.messages_per_minute
    most = here.settings.messages_per_minute if own is None else own
    taken = (here.rates.take(identity.partner.name, most) for _ in range(messages if most else 0))
    seconds = next((seconds for seconds in taken if seconds is not None), None)
    if seconds is not None:
        text = f"More than {most} messages within a minute. Send it again, unchanged, after {seconds} s."
        raise Declined(429, Issue("throttled", text), headers={"Retry-After": str(seconds)})


def _bound_size(here: Context) -> None:
    most, length = largest_body(here), request.content_length
    if length is not None and length > most:
        raise TooLarge(Issue("too-long", f"The body is larger than the {most} bytes that are taken from this partner."))
