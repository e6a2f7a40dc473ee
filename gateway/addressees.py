"""Whom deliveries go to: a registered partner as it is called, or, in the sandbox alone, whoever is at an address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.fhir import dialects
from gateway.partners import Partner
from gateway.partners.model import Delivery
from gateway.recipients import find_partner
from gateway.terms import Standing
from gateway.transport import Credentials, Target

_WEB = ("http://", "https://")
_STRANGER = Delivery()


@dataclass(frozen=True, slots=True)
class Addressee:
    """How a recipient is called. `partner` None: it is not registered. `schedule`: seconds before each new attempt."""

    recipient: str
    partner: Partner | None
    schedule: Sequence[float]
    is_sandbox: bool

    @property
    def may_be_called(self) -> bool:
        """What is due to who is paused or blocked stays due."""
        return self.partner is None or self.partner.state == "active"

    @property
    def label(self) -> str:
        """For metrics, in which strangers must not make new time series."""
        return self.partner.name if self.partner else "other"

    @property
    def at_once(self) -> int:
        return self._delivery.at_once

    @property
    def timeout(self) -> float:
        return self._delivery.timeout

    def find_target(self, destination: str | None) -> Target | None:
        """Where to call for what is to go to an address, or to no particular one; None where there is no such place."""
        endpoints = self.partner.endpoints if self.partner else (self.recipient,) if self.is_sandbox else ()
        found = [url for url in (destination, *endpoints) if url and url.lower().startswith(_WEB)]
        if not found or (self.partner is None and not self.is_sandbox):
            return None
        delivery = self._delivery
        credentials = delivery.credentials or Credentials()
        return Target(found[0], delivery.timeout, delivery.networks, self.is_sandbox, credentials)

    @property
    def _delivery(self) -> Delivery:
        return self.partner.delivery if self.partner else _STRANGER


class Addressees:
    """The recipients there are, by the terms of the moment; `schedule` is for those that have none of their own."""

    def __init__(self, terms: Standing, schedule: Sequence[float], *, is_sandbox: bool) -> None:
        self._terms = terms
        self._schedule = schedule
        self._is_sandbox = is_sandbox

    def get(self, recipient: str) -> Addressee:
        partner = find_partner(recipient, self._terms.current().partners)
        schedule = self._schedule
        if partner is not None:
            own = partner.delivery.retry_schedule or dialects.get(partner.dialect).retry_schedule
            schedule = own or schedule
        return Addressee(recipient, partner, schedule, self._is_sandbox)
