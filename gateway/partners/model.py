"""A partner, and the partners there are, found by any of their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from gateway.fhir.definitions import Version
from gateway.fhir.identity import OWN_SYSTEMS

if TYPE_CHECKING:
    from gateway.fhir.check.levels import Level
    from gateway.transport import Credentials

Names = frozenset[str]
State = Literal["active", "paused", "blocked"]
Role = Literal["placer", "fulfiller", "any"]
Tell = Literal["message", "subscription", "poll", "nothing"]
Reply = Literal["asked", "later"]
Mismatch = Literal["refuse", "flag"]
Content = Literal["empty", "id-only", "full-resource"]
Format = Literal["json", "xml"]


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a notification to a partner says of the subscription that it answers.

    `reference` is its url, or its id on this gateway; `content` is how much of a Task a notification has.
    """

    reference: str
    topic: str
    content: Content = "id-only"


@dataclass(frozen=True, slots=True)
class Authentication:
    """What a partner proves itself with; any of these will do. API keys are kept apart, as digests.

    `jwks` is a JWK Set as JSON text; `certificates` are SHA-256 fingerprints in hexadecimal, `subjects` the
    distinguished names (RFC 4514) of certificates from an authority that is trusted; `issuer` and `subject` are those
    of an external issuer's tokens. `scopes` are the most it is given. `mismatch` is what becomes of a message that says
    that it comes from somebody else.
    """

    client_id: str | None = None
    jwks_url: str | None = None
    jwks: str | None = None
    certificates: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    issuer: str | None = None
    subject: str | None = None
    scopes: tuple[str, ...] = ("system/*.cruds",)
    mismatch: Mismatch = "refuse"


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a partner is called: `reply_to` is where answers go for want of its first endpoint; seconds throughout.

    `retry_schedule` empty means that of the dialect, for want of one that of the setting `delivery_schedule`.
    `networks` are private networks (CIDR) that it may be called in; `at_once` is how many calls it takes side by side.
    """

    reply_to: str | None = None
    retry_schedule: tuple[float, ...] = ()
    timeout: float = 30.0
    at_once: int = 4
    networks: tuple[str, ...] = ()
    credentials: Credentials | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a partner may send; None: as much as anybody (`max_message_bytes`, no rate)."""

    messages_per_minute: int | None = None
    message_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Contact:
    """Whom the operator calls."""

    name: str | None = None
    email: str | None = None
    phone: str | None = None


@dataclass(frozen=True, slots=True)
class Partner:
    """A registered party: what it is known by, how it speaks, and how it is told (`tell`, in this version and format).

    The first of `identifiers` is what it is called by, the first of `endpoints` where what is sent to it goes.
    `role` and `fulfilled_by` (another partner's name) are what it is, and who carries out its orders, where its
    messages do not say. `reply` "later" has its answers delivered whether it asks for that or not.
    `accepts_cancellation` is whether it agrees at once to whatever cancellation its placers ask for.
    """

    name: str
    identifiers: tuple[str, ...]
    endpoints: tuple[str, ...] = ()
    tell: Tell = "message"
    version: Version = "R4"
    format: Format = "json"
    accepts_cancellation: bool = False
    subscription: Subscription | None = None
    state: State = "active"
    role: Role = "any"
    fulfilled_by: str | None = None
    dialect: str = "cow"
    reply: Reply = "asked"
    authentication: Authentication = Authentication()
    delivery: Delivery = Delivery()
    limits: Limits = Limits()
    checking: tuple[tuple[str, Level], ...] = ()
    contact: Contact = Contact()

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def names(self) -> Names:
        return frozenset((*self.identifiers, *self.endpoints))

    @property
    def address(self) -> str:
        """The endpoint that stands for it in messages; for want of one of its own, a name of the gateway's."""
        return next(iter(self.endpoints), f"{OWN_SYSTEMS}party:{quote(self.identifiers[0], safe='')}")

    @property
    def sender(self) -> str:
        """What its messages have as `Message.sender` when it has proved who it is, and its REST calls always."""
        return f"{self.address} {self.identifiers[0]}"


@dataclass(frozen=True)
class Partners:
    """The partners there are, found by any of their names."""

    partners: tuple[Partner, ...] = ()
    _by_name: Mapping[str, Partner] = field(init=False, repr=False, compare=False)
    _called: Mapping[str, Partner] = field(init=False, repr=False, compare=False)
    _names: Mapping[str, Names] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {name: partner for partner in self.partners for name in partner.names})
        object.__setattr__(self, "_called", {partner.name: partner for partner in self.partners})
        object.__setattr__(self, "_names", {partner.name: partner.names for partner in self.partners})

    def called(self, name: str) -> Partner | None:
        """The partner that is registered as `name`."""
        return self._called.get(name)

    def all(self, names: Iterable[str]) -> frozenset[Partner]:
        """The partners that have these names."""
        by_name = self._by_name
        return frozenset([by_name[name] for name in names if name in by_name])

    def find(self, names: Iterable[str]) -> Partner | None:
        """The one partner that has some of these names; None where there is none, and where there are several."""
        return self._only(names)[0]

    def recognise(self, names: Names) -> Names:
        """What a party with these names is known by: a partner by what is registered, another party by all of them.

        Who has names of two partners is neither of them, and known by nothing.
        """
        partner, are_several = self._only(names)
        if partner is not None:
            return self._names[partner.name]
        return frozenset() if are_several else names

    def _only(self, names: Iterable[str]) -> tuple[Partner | None, bool]:
        """The one partner that has some of these names, if it is one; and whether there are several."""
        only: Partner | None = None
        for name in names:
            one = self._by_name.get(name)
            if one is None or one is only:
                continue
            if only is not None:
                return None, True
            only = one
        return only, False
