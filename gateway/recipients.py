"""As whom a partner is called: by its name; at an address elsewhere as another recipient, with troubles of its own."""

from __future__ import annotations

from gateway.partners import Partner, Partners
from gateway.return_address import origin_of, written_origin

_AT = " at "


def recipient_at(partner: Partner, address: str | None) -> str:
    """The recipient of what goes to an address of a partner, which may be none in particular.

    Where that is of another origin than the partner's own, whether the one works says nothing of the other.
    """
    origin = origin_of(address or "")
    own = next((found for endpoint in partner.endpoints if (found := origin_of(endpoint))), None)
    return partner.name if origin in (None, own) else f"{partner.name}{_AT}{written_origin(origin)}"


def find_partner(recipient: str, partners: Partners) -> Partner | None:
    """The partner that is called as a recipient, which may be an address of somebody who is not registered."""
    name, _, origin = recipient.rpartition(_AT)
    return partners.called(name if name and "//" in origin else recipient)
