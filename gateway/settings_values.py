"""What the values of settings may be: each reader turns a TOML value into the setting's own, or raises UnfitError."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gateway.fhir.keys import UnfitError, text

if TYPE_CHECKING:
    from gateway.fhir.check.levels import Level

_DATABASES = {
    "sqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_BROKERS = {"redis": "redis", "rediss": "rediss", "unix": "unix", "redis+socket": "unix"}


def path(value: Any) -> Path:
    try:
        return Path(text(value)).expanduser()
    except RuntimeError:
        raise UnfitError("a path; there is no home of this user (~)") from None


def one_of(*words: str) -> Callable[[Any], str]:
    """One of the words, in capitals or not."""

    def read(value: Any) -> str:
        for word in words:
            if isinstance(value, str) and value.lower() == word.lower():
                return word
        raise UnfitError("one of " + ", ".join(words))

    return read


def number(kind: type[int] | type[float], least: float, most: float) -> Callable[[Any], Any]:
    says = f"{'a whole number' if kind is int else 'a number'} from {least:g} to {most:.15g}"

    def read(value: Any) -> Any:
        accepted = int if kind is int else (int, float)
        if isinstance(value, bool) or not isinstance(value, accepted) or not least <= value <= most:
            raise UnfitError(says)
        return kind(value)

    return read


def list_of(read_one: Callable[[Any], Any], says: str) -> Callable[[Any], tuple[Any, ...]]:
    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple) or not value:
            raise UnfitError(says)
        try:
            return tuple(read_one(item) for item in value)
        except UnfitError as wrong:
            raise UnfitError(f"{says} (each {wrong})") from None

    return read


def queues(value: Any) -> Mapping[str, str]:
    says = 'a table of event code and queue, like { "new-order" = "orders" }'
    if not isinstance(value, Mapping):
        raise UnfitError(says)
    for event, queue in value.items():
        if not isinstance(queue, str) or not queue.replace("-", "").replace("_", "").isalnum():
            raise UnfitError(f"{says}; a queue's name has letters, digits, - and _ (see {event})")
    return MappingProxyType(dict(value))


def levels(value: Any) -> Mapping[str, Level]:
    return _levels_as(value, 'a table of rule and level, like { "dom-6" = "ignore" }')


def levels_of(value: Any) -> Mapping[str, Mapping[str, Level]]:
    says = 'a table of sender and levels, like { "https://partner.example/fhir" = { "dom-6" = "ignore" } }'
    if not isinstance(value, Mapping):
        raise UnfitError(says)
    return MappingProxyType({sender: _levels_as(levels, says) for sender, levels in value.items()})


def _levels_as(value: Any, says: str) -> Mapping[str, Level]:
    if not isinstance(value, Mapping):
        raise UnfitError(says)
    if value:
        from gateway.fhir.check.levels import find_fault  # the rules are read only where they are named

        if fault := find_fault(value):
            raise UnfitError(f"{says}; {fault}")
    return MappingProxyType(dict(value))


def _url(schemes: Mapping[str, str], says: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        scheme, colon, rest = text(value).partition("://")
        if not colon or scheme.lower() not in schemes:
            raise UnfitError(says)
        return f"{schemes[scheme.lower()]}://{rest}"

    return read


def web_url(value: Any) -> str:
    url = text(value).rstrip("/")
    if not url.startswith(("http://", "https://")) or not urlsplit(url).netloc:
        raise UnfitError("an address that begins with http:// or https://")
    return url


database_url = _url(_DATABASES, "sqlite:///path/to/file or postgresql://user:password@host:5432/database")
broker_url = _url(_BROKERS, "redis://host:6379/0, rediss://… or unix:///path/to/socket")


def redis_url(value: Any) -> str:
    return broker_url(value).replace("virtual_host=", "db=")


WORDS = list_of(text, "a list of Python packages")
SECONDS = list_of(number(float, 0, 604_800), "a list of seconds")
PATHS = list_of(path, "a list of files and directories")


def file(value: Any) -> str:
    """A file's name; an empty text for none."""
    return str(path(value)) if value != "" else ""


def header(value: Any) -> str:
    """The name of a header; an empty text for none."""
    if value != "" and (not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9\-]{1,64}", value)):
        raise UnfitError("the name of a header, like X-Client-Cert")
    return str(value)


_LEAST_PREFIX = {4: 8, 6: 7}
"""No private network is larger; one of everybody's would not tell one caller from another."""


def network(value: Any) -> str:
    """Raises UnfitError."""
    try:
        found = ipaddress.ip_network(value if isinstance(value, str) else "")
    except ValueError:
        raise UnfitError("a network in CIDR notation, like 10.3.0.0/16") from None
    if found.prefixlen < _LEAST_PREFIX[found.version]:
        raise UnfitError("a network in CIDR notation, like 10.3.0.0/16, no larger than a /8, with IPv6 than a /7")
    return str(found)


def networks(value: Any) -> tuple[str, ...]:
    says = 'a list of networks, like ["10.3.0.0/16", "fd00::/8"]'
    if not isinstance(value, list | tuple):
        raise UnfitError(says)
    try:
        return tuple(map(network, value))
    except UnfitError as wrong:
        raise UnfitError(f"{says} (each {wrong})") from None


_ISSUER: Mapping[str, Callable[[Any], Any]] = {"audience": text, "jwks_url": web_url, "networks": networks}


def issuers(value: Any) -> Mapping[str, Mapping[str, Any]]:
    """By the `iss` of the tokens: the `aud` that they must have, where the keys are, and in which private networks."""
    says = (
        'a table of issuer and table, like { "https://id.example" = { audience = "https://gateway.example/fhir", '
        'jwks_url = "https://id.example/jwks" } }'
    )
    if not isinstance(value, Mapping):
        raise UnfitError(says)
    found = {}
    for name, said in value.items():
        if not isinstance(said, Mapping) or not {"audience", "jwks_url"} <= said.keys() <= _ISSUER.keys():
            raise UnfitError(f"{says}; and networks, if the keys are in a private one (see {name})")
        found[web_url(name) if not name.endswith("/") else name] = MappingProxyType(
            {key: _ISSUER[key](one) for key, one in said.items()}
        )
    return MappingProxyType(found)
