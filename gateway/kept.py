"""A resource as the gateway keeps it, in one of its versions."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from gateway.fhir import json
from gateway.fhir.json import Resource
from gateway.store.resources import Row


@dataclass(frozen=True)
class Kept:
    """A version of a resource that the gateway keeps. `sender` is who created the resource.

    `number` is its place in the order of creation; None while the message that creates it is in work.
    """

    resource_type: str
    id: str
    version: int
    sender: str
    content: bytes
    number: int | None = field(default=None, compare=False)

    @cached_property
    def resource(self) -> Resource:
        """The content, with `id`, `meta.versionId` and `meta.lastUpdated`. To be copied, not changed."""
        return json.parse_own(self.content)

    @cached_property
    def said(self) -> bytes:
        """What it says: see `said_by`."""
        return said_by(self.resource)

    @property
    def reference(self) -> str:
        return f"{self.resource_type}/{self.id}"


def kept_of(row: Row) -> Kept:
    return Kept(row.type, row.id, row.version, row.sender, row.content, row.number)


def said_by(resource: Resource) -> bytes:
    """What a resource says, without what the gateway adds to it."""
    meta: dict[str, Any] = resource.get("meta") or {}
    own = {name: value for name, value in meta.items() if name not in ("versionId", "lastUpdated")}
    said = {name: value for name, value in resource.items() if name not in ("id", "meta")}
    return json.canonical(said | {"meta": own} if own else said)
