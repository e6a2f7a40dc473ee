"""What a resource is known by: its business identifiers, and the sender's own address of it.

Messaging relies on identifiers that the parties share, not on a server's ids. An identifier without a system is the
sender's own and means nothing to others; one in a system of the gateway's own means nothing when a sender gives it. A
key is a 16-byte digest: every kind of identity is found in one index.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gateway.fhir.references import Entry

OWN_SYSTEMS = "urn:x-fhir-gateway:"
OWN_SENDER = f"{OWN_SYSTEMS}self"
"""Who has created what the gateway keeps for itself alone; no sender from outside is called so."""
_OWN_ADDRESS = re.compile(r"([A-Z][A-Za-z]{1,63})/([A-Za-z0-9\-.]{1,64})(?:/_history/.*)?")
_RESTFUL = re.compile(r"(?:https?://\S+/)?([A-Z][A-Za-z]{1,63})/[A-Za-z0-9\-.]{1,64}")


def key(*parts: str) -> bytes:
    """The digest of some strings, told apart from any other split of the same characters."""
    text = "\x00".join(parts)
    if text.count("\x00") >= len(parts):
        text = "\x00".join([part.replace("\x00", "\x00\x01") for part in parts])
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()


def identifier_key(resource_type: str, identifier: Any, sender: str) -> bytes | None:
    """The key of one Identifier that a sender gives, or None where nothing can be known by it."""
    if not isinstance(identifier, dict):
        return None
    system, value = identifier.get("system"), identifier.get("value")
    if not isinstance(value, str) or not value.strip():
        return None
    if isinstance(system, str) and system.startswith(OWN_SYSTEMS):
        return None
    if isinstance(system, str) and system:
        return key("identifier", resource_type, system, value)
    return key("own-identifier", resource_type, sender, value)


def own_key(resource_type: str, name: str) -> bytes:
    """The key of what the gateway keeps for itself under a name; no sender's identity has such a key."""
    return key("own", resource_type, name)


def own_address(reference: str, base_url: str) -> tuple[str, str] | None:
    """The type and the id in an address that the gateway itself gives its resources; None for any other."""
    if not reference.startswith(f"{base_url}/"):
        return None
    match = _OWN_ADDRESS.fullmatch(reference, len(base_url) + 1)
    return (match[1], match[2]) if match else None


def identifier_keys(entry: Entry, sender: str) -> list[bytes]:
    """The keys of an entry's business identifiers, in their order."""
    kind = entry.resource.get("resourceType")
    found = entry.resource.get("identifier")
    identifiers = found if isinstance(found, list) else [found]
    keys = [identifier_key(str(kind), identifier, sender) for identifier in identifiers]
    return [k for k in dict.fromkeys(keys) if k is not None]


def address_key(entry: Entry, sender: str) -> bytes | None:
    """The key of the address at which the sender itself keeps an entry's resource, or None (`urn:uuid:` is none)."""
    url, kind = entry.full_url or "", str(entry.resource.get("resourceType"))
    if _RESTFUL.fullmatch(url):
        return key("address", kind, sender, url)
    own_id = entry.resource.get("id")
    return key("address", kind, sender, f"{kind}/{own_id}") if not url and isinstance(own_id, str) else None


@dataclass(frozen=True, slots=True)
class Keys:
    """What an entry is known by: its business identifiers, and the sender's own address of it."""

    identifiers: list[bytes]
    address: bytes | None


def keys_of(entry: Entry, sender: str) -> Keys:
    return Keys(identifier_keys(entry, sender), address_key(entry, sender))


def reference_keys(reference: str, source: Entry, sender: str) -> Iterator[bytes]:
    """The keys under which a literal reference may have been kept from an earlier message of the same sender."""
    plain = reference.split("/_history/")[0]
    match = _RESTFUL.fullmatch(plain)
    if match is None:
        return
    kind = match[1]
    if plain == match[0] and "://" not in plain and (base := _base(source.full_url)):
        yield key("address", kind, sender, f"{base}/{plain}")
    yield key("address", kind, sender, plain)


def _base(full_url: str | None) -> str | None:
    if full_url and "://" in full_url and _RESTFUL.fullmatch(full_url):
        return full_url.rsplit("/", 2)[0]
    return None
