"""The messages of a played partner: templates of its network, in which `{{…}}` is filled in. docs/simulator.md"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from gateway.errors import Refused
from gateway.fhir import json
from gateway.fhir.json import Resource
from gateway.simulator.reading import TEMPLATES

_PLACE = re.compile(r"\{\{([a-z]+(?:\.[a-z]+)?)(?: ([a-z0-9-]+))?\}\}")
_SPACE = uuid.UUID("3a2b0ad4-55a8-4d34-9f0e-6f8d6e0f5c11")


class TemplateError(ValueError):
    """A template that cannot be filled in; the text says why."""


def names(dialect: str) -> list[str]:
    """What a partner of this dialect can say."""
    return sorted(path.stem for path in (TEMPLATES / dialect).glob("*.json"))


def load(dialect: str, name: str) -> Resource:
    """A message of the dialect's. Raises TemplateError where the network has none for it."""
    if name not in names(dialect):
        raise TemplateError(f"{dialect} has no message for {name!r}. There are {', '.join(names(dialect))}.")
    return _read(TEMPLATES / dialect / f"{name}.json")


def load_order(file: Path) -> Resource:
    """A site's own order as a template. Raises TemplateError."""
    try:
        template = json.parse(file.read_bytes())
    except OSError as error:
        raise TemplateError(f"{file} cannot be read: {error.strerror}.") from None
    except Refused as refused:
        raise TemplateError(f"{file} is no resource in JSON: {refused.issues[0].text}") from None
    if "{{order.value}}" not in json.serialize(template).decode():
        raise TemplateError(f"{file} is always the same order: write {{{{order.value}}}} where its identifier has it.")
    return template


def fill(template: Resource, values: Mapping[str, str]) -> Resource:
    """The message. `{{uuid NAME}}` is a UUID of its own for each message, by `values["message"]`, and
    `{{orderuuid NAME}}` the same in all messages about one order. Raises TemplateError for a value that is missing."""
    filled: Resource = _filled(template, values)
    return filled


@cache
def _read(path: Path) -> Resource:
    return json.parse(path.read_bytes())


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(item, values) for name, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, values) for item in value]
    if type(value) is str and "{{" in value:
        return _PLACE.sub(lambda match: _value(match[1], match[2], values), value)
    return value


def _value(name: str, part: str | None, values: Mapping[str, str]) -> str:
    if name in ("uuid", "orderuuid") and part:
        key = values["message"] if name == "uuid" else values["order.value"]
        return str(uuid.uuid5(_SPACE, f"{key} {part}"))
    if part is None and name in values:
        return values[name]
    raise TemplateError(f"{{{{{name}}}}} is nothing that is filled in here. There are {', '.join(sorted(values))}.")
