"""An API as OpenAPI 3.1 says it: operations, and schemas of what they take and answer. https://spec.openapis.org/oas/v3.1.1"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

Schema = dict[str, Any]
JSON = "application/json"
TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer"}
TRUTH: Schema = {"type": "boolean"}
MOMENT: Schema = {"type": "string", "format": "date-time"}
MOMENT_OR_NONE: Schema = {"type": ["string", "null"], "format": "date-time"}
_PLAIN: Mapping[Any, Schema] = {str: TEXT, int: NUMBER, float: {"type": "number"}, bool: TRUTH, datetime: MOMENT}


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    `takes` and `answers` name schemas, in `media_type` and JSON; `files` are media types that it takes besides, and
    `also` those that it answers; `or_status` is another one of success. `parameters` are in the query, each with its
    schema and what it says. `is_conditional` needs If-Match.
    """

    method: str
    path: str
    id: str
    says: str
    takes: str | None = None
    answers: str | None = None
    status: int = 200
    is_conditional: bool = False
    media_type: str = JSON
    parameters: Sequence[tuple[str, Schema, str]] = ()
    files: Sequence[str] = ()
    also: Sequence[str] = ()
    or_status: tuple[int, str] | None = None
    needs_body: bool = True


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def content(schema_name: str, media_type: str = JSON, others: Sequence[str] = ()) -> Schema:
    """`others` are media types of which no schema says anything."""
    return {media_type: {"schema": ref(schema_name)}, **{other: {} for other in others}}


def obj(required: tuple[str, ...] | None = None, **properties: Schema) -> Schema:
    """All properties are required unless it is said which are."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties if required is None else required),
    }


def array(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def listing(name: str, of: Schema) -> Schema:
    return obj(None, **{name: array(of)})


def one_of(words: Sequence[str]) -> Schema:
    return {"type": "string", "enum": list(words)}


def of_fields(kind: Any, **others: Schema) -> Schema:
    """What a dataclass becomes in JSON; `others` are properties that are other than their types say, or beside them."""
    hints = get_type_hints(kind)
    typed = {field.name: _typed(hints[field.name]) for field in fields(kind) if field.name not in others}
    return obj(None, **typed, **others)


def _typed(hint: Any) -> Schema:
    if hint in _PLAIN:
        return _PLAIN[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return one_of(arguments)
    if origin in (Union, types.UnionType):
        [one] = [argument for argument in arguments if argument is not type(None)]
        return {"anyOf": [_typed(one), {"type": "null"}]}
    if origin is tuple:
        return array(_typed(arguments[0]))
    return {"type": "object", "additionalProperties": _typed(arguments[1])}
