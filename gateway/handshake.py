"""Whether everything is right between the gateway and one partner, in words, without a message that has an effect.

What is called is read only: `GET [base]/metadata` (https://hl7.org/fhir/R4/http.html#capabilities), and where there is
none, `GET` of the endpoint itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import orjson
from cryptography import x509

from gateway.authentication import keys
from gateway.partners.contradictions import FILES, addresses, destination, find_forbidden
from gateway.partners.model import Partner
from gateway.transport import Answer, Credentials, Target, Transport
from gateway.transport.calls import NoAnswerError
from gateway.transport.probing import connect, look_up

Outcome = Literal["ok", "note", "fault"]
Step = Literal[
    "state", "configuration", "certificate", "name", "connection", "credentials", "exchange", "keys", "proof", "telling"
]

_SOON = timedelta(days=30)
_SECONDS = 10.0
_MESSAGES = "/$process-message"
_FHIR_VERSIONS = {"3.0": "STU3", "4.0": "R4", "4.3": "R4B", "5.0": "R5"}
_LONGEST_SHOWN = 40
_FAULTS = 500


@dataclass(frozen=True, slots=True)
class Finding:
    """What one step has shown, as a sentence. A `note` is for the operator to think about."""

    step: Step
    outcome: Outcome
    says: str


Findings = Iterator[Finding]


def shake_hands(partner: Partner, *, name: str, loopback: bool, has_keys: bool) -> list[Finding]:
    """Every step that can be taken. `name` is the gateway's, `has_keys` whether the partner has an API key."""
    found = [*_state(partner), *_configuration(partner, loopback), *_our_certificate(partner)]
    is_sound = not any(finding.outcome == "fault" for finding in found)
    with closing(Transport(user_agent=name)) as transport:
        for key, address in addresses(partner).items() if is_sound else ():
            target = Target(
                address,
                min(partner.delivery.timeout, _SECONDS),
                partner.delivery.networks,
                loopback,
                partner.delivery.credentials or Credentials(),
            )
            if key == "authentication.jwks_url":
                found += _keys(replace(target, credentials=Credentials()), transport)
            elif key != "delivery.credentials.token_url":  # it is called by the exchange
                found += _called(target, partner, transport)
    return [*found, *_proof(partner, has_keys), *_telling(partner)]


def has_failed(findings: list[Finding]) -> bool:
    return any(finding.outcome == "fault" for finding in findings)


def _state(partner: Partner) -> Findings:
    if partner.state != "active":
        what = (
            "nothing is sent to it" if partner.state == "paused" else "what it sends is refused, nothing is sent to it"
        )
        yield Finding("state", "note", f"It is {partner.state}: {what}.")


def _configuration(partner: Partner, loopback: bool) -> Findings:
    before = 0
    for sentence in find_forbidden(partner, loopback=loopback):
        before += 1
        yield Finding("configuration", "fault", sentence)
    for key, file in _files_of(partner):
        if fault := _fault_of(file):
            before += 1
            yield Finding("configuration", "fault", f"delivery.credentials.{key} is {file}, {fault}")
        elif key in ("secret_file", "key_file") and file.stat().st_mode & 0o077:
            yield Finding("configuration", "note", f"{file} can be read by others than its owner. Make it 0600.")
    if not before:
        yield Finding("configuration", "ok", "Its addresses may be called, and the files of our credentials are there.")


def _files_of(partner: Partner) -> Iterator[tuple[str, Path]]:
    credentials = partner.delivery.credentials
    for key in FILES:
        if credentials is not None and (file := getattr(credentials, key)) is not None:
            yield key, file


def _fault_of(file: Path) -> str | None:
    try:
        return None if file.read_bytes().strip() else "which is empty. Write the secret into it."
    except OSError as error:
        return f"which cannot be read: {error.strerror}. Put it there, for the user that the gateway runs as."


def _our_certificate(partner: Partner) -> Findings:
    credentials = partner.delivery.credentials
    if credentials is None or credentials.certificate_file is None or _fault_of(credentials.certificate_file):
        return
    try:
        found = x509.load_pem_x509_certificate(credentials.certificate_file.read_bytes())
    except ValueError:
        yield Finding("certificate", "fault", f"{credentials.certificate_file} has no certificate in PEM.")
        return
    yield _expiry("Our certificate", found.not_valid_after_utc)


def _expiry(whose: str, at: datetime) -> Finding:
    left = at - datetime.now(UTC)
    if left <= timedelta():
        return Finding("certificate", "fault", f"{whose} expired on {at:%Y-%m-%d}. Replace it.")
    if left < _SOON:
        return Finding("certificate", "note", f"{whose} expires soon, on {at:%Y-%m-%d}: in {left.days} days.")
    return Finding("certificate", "ok", f"{whose} is valid until {at:%Y-%m-%d}.")


def _called(target: Target, partner: Partner, transport: Transport) -> Findings:
    """The way to one address, step by step; it ends at the first that fails."""
    host = urlsplit(target.url).hostname
    try:
        found = look_up(target)
    except NoAnswerError as error:
        yield Finding("name", "fault", f"{_sentence(error)} Correct the address, or the name's entry in the DNS.")
        return
    yield Finding("name", "ok", f"{host} is {', '.join(found)}.")
    try:
        secured = connect(target)
    except NoAnswerError as error:
        yield Finding("connection", "fault", f"{host}: {error}. Is it up, is its port open to us, is TLS set up there?")
        return
    if secured is None:
        yield Finding("connection", "note", f"{host} is connected to without TLS: anybody on the way can read along.")
    else:
        yield Finding("connection", "ok", f"{host} is connected to by {secured.version}; its certificate is accepted.")
        yield _expiry(f"The certificate of {host}", secured.expires_at)
    yield from _exchange(target, partner, transport)


def _exchange(target: Target, partner: Partner, transport: Transport) -> Findings:
    base = target.url.partition("?")[0].removesuffix(_MESSAGES).rstrip("/")
    answer = transport.get(replace(target, url=f"{base}/metadata"), {"Accept": "application/fhir+json"})
    if answer.outcome == "delivered":
        yield from _credentials(answer, target)
        yield from _capability(answer, partner)
        return
    if answer.status not in (None, 401, 403):
        answer = transport.get(target, {"Accept": "application/fhir+json, */*"})
    if answer.status is None or answer.status in (401, 403):
        yield from _credentials(answer, target)
        return
    yield from _credentials(answer, target)
    if answer.status >= _FAULTS:
        yield Finding("exchange", "fault", f"{answer.detail} It has no /metadata, and fails on a mere GET.")
    else:
        yield Finding(
            "exchange", "ok", f"{answer.detail} It has no /metadata; whether it takes messages was not tried."
        )


def _credentials(answer: Answer, target: Target) -> Findings:
    kind = target.credentials.kind
    if answer.status is None:
        step: Step = "exchange" if answer.outcome in ("unreachable", "forbidden") else "credentials"
        yield Finding(step, "fault", answer.detail)
    elif answer.status in (401, 403):
        shown = "it is shown none" if kind == "none" else f"it is shown those of kind {kind}"
        text = (
            f"{answer.detail} It does not accept our credentials: {shown}. Set delivery.credentials as agreed with it."
        )
        yield Finding("credentials", "fault", text)
    elif kind != "none" or target.credentials.certificate_file:
        yield Finding("credentials", "ok", f"It does not refuse our credentials ({kind}).")


def _capability(answer: Answer, partner: Partner) -> Findings:
    try:
        said = orjson.loads(answer.body)
        version, software = str(said["fhirVersion"]), str((said.get("software") or {}).get("name", "a FHIR server"))
    except (ValueError, TypeError, KeyError, AttributeError):
        yield Finding("exchange", "ok", f"{answer.detail} What it answers is no CapabilityStatement in JSON.")
        return
    shown = "".join(letter for letter in software if letter.isprintable())[:_LONGEST_SHOWN]
    speaks = _FHIR_VERSIONS.get(version[:3], version[:_LONGEST_SHOWN])
    yield Finding("exchange", "ok", f"{answer.detail} It is {shown}, in FHIR {speaks}.")
    if speaks != partner.version:
        text = f"It says that it speaks {speaks}, and is told in {partner.version}. Set version, if that is not agreed."
        yield Finding("exchange", "note", text)


def _keys(target: Target, transport: Transport) -> Findings:
    answer = transport.get(target, {"Accept": "application/jwk-set+json, application/json"})
    if answer.outcome != "delivered":
        yield Finding("keys", "fault", f"Its jwks_url gives no keys. {answer.detail}")
        return
    try:
        found = keys.read_set(answer.body)
    except ValueError as error:
        yield Finding("keys", "fault", f"Its jwks_url gives no keys. {error}")
        return
    usable = [key for key in found if "kid" in key and any(keys.usable(key, name) for name in ("RS384", "ES384"))]
    if usable:
        yield Finding("keys", "ok", f"Its jwks_url has {len(found)} keys, {len(usable)} for RS384 or ES384.")
    else:
        text = f"Of the {len(found)} keys at its jwks_url none has a kid and is public, for RS384 or ES384."
        yield Finding("keys", "fault", text)


def _proof(partner: Partner, has_keys: bool) -> Findings:
    own = partner.authentication
    named: list[tuple[str, object]] = [
        ("tokens of ours", own.client_id),
        ("certificates", own.certificates or own.subjects),
        (f"tokens of {own.issuer}", own.issuer),
        ("an API key", has_keys),
    ]
    ways = [way for way, has in named if has]
    if ways:
        yield Finding("proof", "ok", f"It proves itself by {' or '.join(ways)}; its scopes: {' '.join(own.scopes)}.")
    else:
        text = "It has nothing to prove itself with: outside the sandbox whatever it sends is refused."
        yield Finding("proof", "note", text)


def _telling(partner: Partner) -> Findings:
    spoken = f"in the dialect {partner.dialect}, {partner.version}, {partner.format}"
    if partner.tell == "nothing":
        yield Finding("telling", "ok", f"It is told nothing of changes; its answers are {spoken}.")
    elif partner.tell == "poll":
        yield Finding("telling", "ok", f"It fetches what it is told by $poll, {spoken}.")
    elif (to := destination(partner)) is not None:
        yield Finding("telling", "ok", f"It is told by {partner.tell} at {to}, {spoken}.")
    else:
        text = (
            f"It is told by {partner.tell}, but {partner.endpoints[0]} cannot be called: what is for it waits until it "
            "is fetched by $poll. Put a web address first."
        )
        yield Finding("telling", "note", text)


def _sentence(error: NoAnswerError) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"
