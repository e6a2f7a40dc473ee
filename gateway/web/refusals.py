"""With which status of HTTP a refusal is answered."""

from __future__ import annotations

from gateway.errors import NotAMessage, Refused, TooLarge, Unreadable
from gateway.web.body import TooSlow
from gateway.web.conditions import Declined
from gateway.web.negotiation import NotAcceptable, UnsupportedMediaType

# The first class that fits decides.
_STATUS: tuple[tuple[type[Refused], int], ...] = (
    (UnsupportedMediaType, 415),
    (NotAcceptable, 406),
    (TooLarge, 413),
    (TooSlow, 408),
    (Unreadable, 400),
    (NotAMessage, 422),
    (Refused, 422),
)


def status_of(refused: Refused) -> int:
    if isinstance(refused, Declined):
        return refused.status
    return next(status for kind, status in _STATUS if isinstance(refused, kind))
