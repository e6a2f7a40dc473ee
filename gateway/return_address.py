"""Where an answer goes that is sent later: only ever to who has asked, or where whoever asks is on this machine.

A sender writes its return address itself (`response-url`, `MessageHeader.source.endpoint`). To call whatever is written
there would be request forgery, so it counts only where the registry has it too. docs/messages.md, "Answers later"
"""

from __future__ import annotations

import re
from ipaddress import ip_address

from gateway.errors import Issue, NotAMessage
from gateway.partners import Partner

_ORIGIN = re.compile(r"(?i:(https?)://)([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?(?=[/?#]|\Z)", re.IGNORECASE)
"""Written so that nobody can read another host from it: no user, no escapes, no backslash."""
_PORTS = {"http": "80", "https": "443"}
_THIS_MACHINE = re.compile(r"localhost\.?|127(?:\.[0-9]{1,3}){3}")


def find_return_address(
    partner: Partner | None, response_url: str | None, source_endpoint: str | None, *, loopback: bool = False
) -> str | None:
    """The address to answer later; None where the answer waits to be polled.

    `partner` is who sends, if that is registered: its registered `reply_to`, else `response_url` where that has the
    origin of one of its endpoints, else `source_endpoint` where that is one of them, else the first of them. Who is not
    is answered on this machine alone; with `loopback` a partner may be, too. Raises NotAMessage (forbidden) for any
    other address, and where there is none.
    """
    if partner is None:
        return _on_this_machine(response_url or source_endpoint)
    if partner.tell == "poll" and not (response_url or partner.delivery.reply_to):
        return None
    if partner.delivery.reply_to:
        return partner.delivery.reply_to
    if response_url:
        check_own(response_url, partner, loopback=loopback)
        return response_url
    ours = [endpoint for endpoint in partner.endpoints if origin_of(endpoint)]
    if source_endpoint in ours:
        return source_endpoint
    if not ours:
        text = (
            f"{partner.name} has no registered address (https://…) that an answer could be sent to later. Have one "
            "registered, or send without async=true."
        )
        raise NotAMessage(Issue("forbidden", text))
    return ours[0]


def check_own(url: str, partner: Partner, *, loopback: bool = False) -> None:
    """Raises NotAMessage (forbidden) for an address whose origin is none of those that are registered for the partner.

    With `loopback`, one on this machine will do, too.
    """
    registered = filter(None, (*partner.endpoints, partner.delivery.reply_to))
    origins = list(dict.fromkeys(origin for each in registered if (origin := origin_of(each))))
    asked = origin_of(url)
    if asked is not None and (asked in origins or (loopback and _is_loopback(asked[1]))):
        return
    text = (
        f"{_shown(url)} is not an address of {partner.name}. The gateway calls only what is registered for a partner: "
        f"here addresses at {', '.join(map(written_origin, origins)) or 'none'}. Name one of them."
    )
    raise NotAMessage(Issue("forbidden", text))


def origin_of(url: str) -> tuple[str, str, str] | None:
    """Scheme, host and port of an address as everybody reads it; None where it could be read in two ways."""
    match = _ORIGIN.match(url)
    if match is None or "\\" in url:
        return None
    scheme = match[1].lower()
    return scheme, match[2].lower().rstrip("."), (match[3] or _PORTS[scheme]).lstrip("0")


def _on_this_machine(url: str | None) -> str:
    from gateway.transport import check_address  # with it comes the HTTP client, which few messages need

    origin = origin_of(url or "")
    if url and origin and _is_loopback(origin[1]) and check_address(url, (), loopback=True) is None:
        return url
    said = f"not to {_shown(url)}" if url else "and the message names none"
    text = (
        "The sender is not registered: its answers are sent later to an address on this machine (http://localhost…) "
        f"only, {said}. Have it registered as a partner, or send without async=true."
    )
    raise NotAMessage(Issue("forbidden", text))


def _is_loopback(host: str) -> bool:
    if _THIS_MACHINE.fullmatch(host):
        return True
    try:
        return host.startswith("[") and ip_address(host[1:-1]) == ip_address("::1")
    except ValueError:
        return False


def written_origin(origin: tuple[str, str, str]) -> str:
    scheme, host, port = origin
    return f"{scheme}://{host}" + ("" if port == _PORTS[scheme] else f":{port}")


def _shown(url: str | None) -> str:
    """As it was sent, without what may be secret in it."""
    text = re.sub(r"//[^/@]*@", "//…@", url or "").partition("?")[0]
    return text[:200]
