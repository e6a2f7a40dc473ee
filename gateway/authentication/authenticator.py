"""Who calls: every proof that a request brings, checked, and the one partner that all of them mean."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from gateway.authentication import certificates
from gateway.authentication.assertions import Assertion, peek, verify_assertion, verify_token
from gateway.authentication.certificates import Certificate
from gateway.authentication.keys import Key, PublishedKeys, find, read_set
from gateway.authentication.model import (
    KEY_PREFIX,
    TOKEN_PREFIX,
    Identity,
    NotProven,
    Proof,
    digest_of,
    new_secret,
)
from gateway.authentication.registered import Index, Registered, registered
from gateway.authentication.scopes import granted
from gateway.partners import Partner, Partners
from gateway.settings import Settings, SettingsError
from gateway.store import admission
from gateway.store.admission import Token
from gateway.store.database import Connection, Database
from gateway.transport import Transport

TOKEN_SECONDS = 300
"""That our access tokens are good for: https://hl7.org/fhir/smart-app-launch/backend-services.html"""
REMEMBERED_SECONDS = 5.0
"""That a proof which was good is not looked up again."""
_MOST_REMEMBERED = 10_000
_SANDBOX = frozenset({"system/*.cruds"})
_FORGET_EVERY = 100

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a request brings: headers, the address it comes from, and the certificate that TLS has seen (DER).

    A proxy that has seen no certificate may say so by an empty header.
    """

    authorization: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    certificate_header: str | None = None
    address: str | None = None
    certificate: bytes | None = None

    @property
    def is_empty(self) -> bool:
        brought = (self.authorization, self.api_key, self.certificate_header, self.certificate)
        return all(one is None for one in brought)


@dataclass(frozen=True, slots=True)
class _Proved:
    """That a proof means a partner, by its name, and what it allows (None: all that the partner is given)."""

    proof: Proof
    partner: str
    scopes: frozenset[str] | None = None
    ends_at: datetime | None = None


class Authenticator:
    """One process's. Raises SettingsError at its making for authorities that cannot be read."""

    def __init__(
        self,
        in_force: Settings,
        database: Database,
        transport: Transport,
        now: Clock = lambda: datetime.now(UTC),
        published: PublishedKeys | None = None,
    ) -> None:
        self._settings = in_force
        self._database = database
        self._now = now
        self._published = published or PublishedKeys(transport)
        self._proxies = [ipaddress.ip_network(one) for one in in_force.proxy_networks]
        self._index: Index[Registered] = Index(registered)
        self._remembered: dict[bytes, tuple[float, Partners, _Proved]] = {}
        self._lock = threading.Lock()
        self._used = 0
        try:
            self._authorities = certificates.load_authorities(in_force.tls_client_authority)
        except (OSError, ValueError):
            text = f"tls_client_authority names {in_force.tls_client_authority}, which is no file of PEM certificates."
            raise SettingsError(text) from None

    def identify(self, evidence: Evidence, find_partners: Callable[[], Partners]) -> Identity:
        """Raises NotProven for a proof that is none, and for several that do not mean one partner."""
        if evidence.is_empty:
            return self._unproven()
        partners = find_partners()
        proved = [*self._proofs(evidence, partners)]
        if not proved:
            return self._unproven()
        if len({one.partner for one in proved}) > 1:
            raise NotProven(f"proofs of {' and '.join(sorted({one.partner for one in proved}))} at once")
        first = proved[0]
        partner = partners.called(first.partner)
        if partner is None:
            raise NotProven(f"{first.partner} is no longer registered")
        most = partner.authentication.scopes
        return Identity(partner, first.proof, _all_of(most) if first.scopes is None else _within(first.scopes, most))

    def _unproven(self) -> Identity:
        if self._settings.is_sandbox:
            return Identity(None, "none", _SANDBOX)
        raise NotProven("no proof", missing=True)

    # --- tokens of our own --------------------------------------------------------------------------------------------

    def client(self, assertion: str, client_id: str | None, partners: Partners) -> Partner:
        """The partner whose client assertion this is; it is used up by that. Raises NotProven."""
        named = peek(assertion).claims.get("iss")
        if not isinstance(named, str) or client_id not in (None, named):
            raise NotProven("the assertion's issuer is not the client")
        partner = self._index.of(partners).by_client.get(named)
        if partner is None:
            raise NotProven("no partner has this client id")
        said = partner.authentication
        proved = verify_assertion(
            assertion,
            named,
            self._settings.token_url,
            said.jwks_url,
            lambda kid, algorithm: self._keys_of(partner, kid, algorithm),
            self._now(),
        )
        if not self._database.attempt(lambda connection: self._use(connection, proved)):
            raise NotProven(f"an assertion of {partner.name} was used before")
        return partner

    def give_token(self, partner: Partner, asked: frozenset[str]) -> tuple[str, frozenset[str]]:
        """A new access token, and the scopes that it has: none when nothing of what is asked for may be given."""
        scopes = granted(asked, partner.authentication.scopes)
        secret, now = new_secret(TOKEN_PREFIX), self._now()
        if not scopes:
            return "", scopes
        token = Token(digest_of(secret), partner.name, scopes, now + timedelta(seconds=TOKEN_SECONDS))
        self._database.attempt(lambda connection: admission.add_token(connection, token))
        return secret, scopes

    def _use(self, connection: Connection, assertion: Assertion) -> bool:
        """Whether it is used for the first time; now and then, what has expired is forgotten."""
        self._used += 1
        if self._used % _FORGET_EVERY == 1:
            admission.forget_expired(connection, self._now())
        return admission.use_assertion(connection, assertion.digest, assertion.expires_at)

    def _keys_of(self, partner: Partner, kid: str, algorithm: str) -> list[Key]:
        said, networks = partner.authentication, partner.delivery.networks
        if said.jwks is not None:
            return find(read_set(said.jwks), kid, algorithm)
        if said.jwks_url is None:
            return []
        loopback = self._settings.is_sandbox
        return self._published.find(said.jwks_url, kid, algorithm, networks=networks, loopback=loopback)

    # --- what a request brings ----------------------------------------------------------------------------------------

    def _proofs(self, evidence: Evidence, partners: Partners) -> Iterator[_Proved]:
        """The proof with the narrowest scopes comes first."""
        keys = []
        if evidence.authorization is not None:
            scheme, _, bearer = evidence.authorization.strip().partition(" ")
            if scheme.lower() != "bearer" or not bearer.strip():
                raise NotProven("an Authorization of another scheme than Bearer")
            if bearer.strip().startswith(KEY_PREFIX):
                keys.append(bearer.strip())
            else:
                yield self._token(bearer.strip(), partners)
        if evidence.api_key is not None:
            keys.append(evidence.api_key.strip())
        for secret in keys:
            yield self._remember(secret, partners, lambda secret=secret: self._key(secret))  # type: ignore[misc]
        yield from self._certificate(evidence, partners, is_alone=not keys and evidence.authorization is None)

    def _token(self, bearer: str, partners: Partners) -> _Proved:
        if bearer.startswith(TOKEN_PREFIX):
            return self._remember(bearer, partners, lambda: self._own_token(bearer))
        return self._remember(bearer, partners, lambda: self._foreign_token(bearer, partners))

    def _key(self, secret: str) -> _Proved:
        with self._database.reading() as connection:
            found = admission.find_key(connection, digest_of(secret))
        if found is None:
            raise NotProven("an API key that nobody has")
        return _Proved("api-key", found.partner, None, found.expires_at)

    def _own_token(self, secret: str) -> _Proved:
        with self._database.reading() as connection:
            found = admission.find_token(connection, digest_of(secret))
        if found is None:
            raise NotProven("an access token that was not given, or has expired long since")
        return _Proved("token", found.partner, found.scopes, found.expires_at)

    def _foreign_token(self, token: str, partners: Partners) -> _Proved:
        issuer = peek(token).claims.get("iss")
        trusted = self._settings.token_issuers.get(issuer) if isinstance(issuer, str) else None
        if trusted is None or not isinstance(issuer, str):
            raise NotProven("a token of an issuer that is not trusted")

        def keys(kid: str, algorithm: str) -> list[Key]:
            networks, loopback = trusted.get("networks", ()), self._settings.is_sandbox
            return self._published.find(trusted["jwks_url"], kid, algorithm, networks=networks, loopback=loopback)

        claims = verify_token(token, issuer, trusted["audience"], keys, self._now())
        partner = self._index.of(partners).by_issuer.get((issuer, claims["sub"]))
        if partner is None:
            raise NotProven("no partner has this issuer and subject")
        scopes = granted(_scopes_in(claims), partner.authentication.scopes)
        return _Proved("token", partner.name, scopes, _moment(claims["exp"]))

    def _certificate(self, evidence: Evidence, partners: Partners, *, is_alone: bool) -> Iterator[_Proved]:
        """A certificate that is nobody's proves nothing, and does not harm another proof: it may be the proxy's own."""
        found = []
        if evidence.certificate is not None:
            found.append(certificates.read_der(evidence.certificate))
        if evidence.certificate_header is not None:
            if not self._is_proxy(evidence.address):
                raise NotProven("a certificate in a header, from an address that is no proxy's")
            found = [certificates.read_header(evidence.certificate_header, self._authorities)]
        for certificate in found:
            partner = self._holder_of(certificate, partners)
            if partner is not None:
                certificate.check(self._now())
                yield _Proved("certificate", partner.name)
            elif is_alone:
                raise NotProven(f"nobody has the certificate {certificate.fingerprint}")

    def _holder_of(self, certificate: Certificate, partners: Partners) -> Partner | None:
        return self._index.of(partners).holder_of(certificate)

    def _is_proxy(self, address: str | None) -> bool:
        try:
            given = ipaddress.ip_address(address or "")
        except ValueError:
            return False
        mapped = given.ipv4_mapped if given.version == 6 else None
        return any((mapped or given) in network for network in self._proxies)

    def _remember(self, secret: str, partners: Partners, look: Callable[[], _Proved]) -> _Proved:
        """What a secret has proved a moment ago, or proves now. Raises NotProven.

        With each change of the partners, their keys among it, all is looked up anew.
        """
        digest, at = digest_of(secret), time.monotonic()
        before = self._remembered.get(digest)
        if before is not None and before[1] is partners and at - before[0] < REMEMBERED_SECONDS:
            proved = before[2]
        else:
            proved = look()
            with self._lock:
                if len(self._remembered) >= _MOST_REMEMBERED:
                    self._remembered.clear()
                self._remembered[digest] = (at, partners, proved)
        if proved.ends_at is not None and self._now() >= proved.ends_at:
            raise NotProven(f"the {proved.proof} of {proved.partner} has expired", expired=True)
        return proved


@lru_cache(1024)
def _all_of(scopes: tuple[str, ...]) -> frozenset[str]:
    return frozenset(scopes)


@lru_cache(1024)
def _within(scopes: frozenset[str], most: tuple[str, ...]) -> frozenset[str]:
    """What a token was given, as far as its partner has it still."""
    return granted(scopes, most)


def _scopes_in(claims: Mapping[str, object]) -> list[str]:
    """`scope` as RFC 8693 has it, or `scp` as some issuers do."""
    said = claims.get("scope", claims.get("scp", ""))
    if isinstance(said, str):
        return said.split()
    return [one for one in said if isinstance(one, str)] if isinstance(said, list) else []


def _moment(seconds: float) -> datetime:
    """A NumericDate; one beyond what can be written is the last that can."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.max.replace(tzinfo=UTC)
