"""To whom something goes that is sent again: to whom it went, to who has asked, or to the partner that is named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.errors import NotAMessage
from gateway.partners import Partner, Partners
from gateway.recipients import recipient_at
from gateway.return_address import find_return_address
from gateway.store.replaying import Kept

LISTED = "It is listed, and not sent: effects are suppressed."


@dataclass(frozen=True, slots=True)
class Target:
    """To whom something is sent: `destination` None means that it waits to be polled."""

    recipient: str
    destination: str | None


@dataclass(frozen=True, slots=True)
class Nobody:
    """That it goes to nobody, and in a sentence why: it is `impossible`, or `left` as it is."""

    why: str
    outcome: Literal["impossible", "left"] = "impossible"


class Targets:
    """Finds them among the partners there are; `to` is the one to whom all goes."""

    def __init__(self, partners: Partners, to: str | None = None) -> None:
        self._partners = partners
        self._to = to
        self._found: dict[tuple[str | None, ...], Target | Nobody] = {}

    def find(self, kept: Kept | None) -> Target | Nobody:
        """To whom it goes, if to anybody."""
        if kept is None:
            return Nobody("It is not kept any more.")
        if not kept.is_there:
            return Nobody("It has no answer yet, or is a response, which nothing answers.")
        if kept.is_empty:
            return Nobody("It was answered with nothing but a status of HTTP.")
        if kept.waits and self._to is None:
            return Nobody("It is on its way still, waits to be polled, or is held: it would come twice.", "left")
        names = (kept.recipient, kept.destination, kept.partner, kept.sender)
        if names not in self._found:
            self._found[names] = self._target(kept)
        return self._found[names]

    def _target(self, kept: Kept) -> Target | Nobody:
        if self._to is not None:
            named = self._partners.called(self._to)
            return _target_of(named) if named else Nobody(f"{self._to} is not registered any more.")
        if kept.recipient is not None:
            name = kept.recipient.partition(" at ")[0]
            trouble = trouble_with(self._partners, name) if "://" not in name else None
            return Nobody(f"{trouble}.") if trouble else Target(kept.recipient, kept.destination)
        partner = self._partners.called(kept.partner) if kept.partner else _sender(kept.sender or "", self._partners)
        if partner is None:
            why = "It was answered on its connection, and its sender is no partner: name one to send it to (--to)."
            return Nobody(why)
        return _target_of(partner)


def trouble_with(partners: Partners, name: str) -> str | None:
    """Why nothing of a partner's can be carried out, and nothing sent to it; None: nothing stands against it."""
    partner = partners.called(name)
    if partner is None:
        return f"{name} is not registered any more"
    return f"{name} is blocked" if partner.state == "blocked" else None


def _target_of(partner: Partner) -> Target | Nobody:
    if partner.state == "blocked":
        return Nobody(f"{partner.name} is blocked.")
    try:
        address = find_return_address(partner, None, None)
    except NotAMessage:
        why = f"{partner.name} has no registered address (https://…) to be sent to, and does not poll. Register one."
        return Nobody(why)
    return Target(recipient_at(partner, address), address)


def _sender(sender: str, partners: Partners) -> Partner | None:
    """The partner that a `Message.sender` is of: by its endpoint, or what it is known by."""
    return partners.find(filter(None, (sender, *sender.split(" ", 1))))
