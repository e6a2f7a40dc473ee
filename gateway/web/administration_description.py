"""What the API of administrators takes and answers, as OpenAPI 3.1 says it: https://spec.openapis.org/oas/v3.1.1"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, get_args

from gateway.fhir import dialects
from gateway.handshake import Outcome, Step
from gateway.partners.document import PARTNER, Table, defaults
from gateway.partners.values import DIALECT

PREFIX = "/admin"
MERGE_PATCH = "application/merge-patch+json"

Schema = dict[str, Any]
_JSON = "application/json"
_TEXT: Schema = {"type": "string"}
_MOMENT: Schema = {"type": "string", "format": "date-time"}
_MOMENT_OR_NONE: Schema = {"type": ["string", "null"], "format": "date-time"}


@dataclass(frozen=True, slots=True)
class _Operation:
    """One operation; `takes` and `answers` name schemas; `is_conditional` needs If-Match."""

    method: str
    path: str
    id: str
    says: str
    takes: str | None = None
    answers: str | None = None
    status: int = 200
    is_conditional: bool = False
    media_type: str = _JSON


_ONE, _KEYS = "/partners/{name}", "/partners/{name}/keys"
_OPERATIONS = (
    _Operation("get", "/openapi.json", "description", "This description", answers="Description"),
    _Operation("get", "/partners", "list_partners", "All partners, by name", answers="Partners"),
    _Operation("post", "/partners", "add_partner", "Adds a partner", "Partner", "Partner", 201),
    _Operation("get", _ONE, "read_partner", "A partner; its ETag is its version", answers="Partner"),
    _Operation("put", _ONE, "replace_partner", "The whole anew", "Partner", "Partner", is_conditional=True),
    _Operation(
        "patch",
        _ONE,
        "change_partner",
        "Changes keys, by a JSON merge patch (RFC 7396): null gives the default back",
        "Patch",
        "Partner",
        is_conditional=True,
        media_type=MERGE_PATCH,
    ),
    _Operation("delete", _ONE, "remove_partner", "Removes it, with its keys", status=204, is_conditional=True),
    _Operation("post", f"{_ONE}/pause", "pause_partner", "Sends it nothing for a time", answers="Partner"),
    _Operation("post", f"{_ONE}/resume", "resume_partner", "Takes and sends again", answers="Partner"),
    _Operation("post", f"{_ONE}/block", "block_partner", "Refuses what it sends", answers="Partner"),
    _Operation("get", f"{_ONE}/changes", "list_changes", "Who changed what, the last first", answers="Changes"),
    _Operation("post", f"{_ONE}/test", "test_partner", "Tries all but a message, and says what fails", None, "Test"),
    _Operation("get", _KEYS, "list_keys", "Its API keys, by how they begin", answers="Keys"),
    _Operation("post", _KEYS, "make_key", "Makes an API key, shown this once", "NewKey", "MadeKey", 201),
    _Operation(
        "post",
        f"{_KEYS}/rotate",
        "rotate_keys",
        "Makes an API key; the old ones end after a time",
        "Rotation",
        "MadeKey",
        201,
    ),
    _Operation("delete", f"{_KEYS}/{{hint}}", "revoke_key", "Ends the key that begins so, at once", status=204),
)
_ERRORS: Mapping[str, str] = {
    "401": "No administrator's token",
    "403": "Not for this caller",
    "404": "There is none",
    "412": "It has changed meanwhile",
    "422": "What is sent has faults: all of them",
    "default": "It could not be done",
}


def describe(name: str) -> Schema:
    """The description of the API of the gateway that is called `name`."""
    paths: dict[str, Schema] = {}
    for operation in _OPERATIONS:
        paths.setdefault(PREFIX + operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Administration of {name}",
            "version": version("fhir-gateway"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {"Partner": schema(PARTNER), **_SCHEMAS},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}, {}],
    }


def schema(table: Table) -> Schema:
    """The JSON Schema of a table of keys."""
    given = defaults(table)
    properties: dict[str, Schema] = {}
    for name, key in table.keys.items():
        if isinstance(key, Table):
            properties[name] = schema(key)
            continue
        described = {**key.kind.schema, "description": key.says}
        if key.kind is DIALECT:
            described["enum"] = dialects.names()
        properties[name] = described | ({"default": given[name]} if given.get(name) is not None else {})
    made: Schema = {"type": "object", "description": table.says, "properties": properties}
    made["additionalProperties"] = False
    required = [name for name, key in table.keys.items() if key.required]
    return made | ({"required": required} if required else {})


def _operation(operation: _Operation) -> Schema:
    parameters = [_in_path(name) for name in ("name", "hint") if f"{{{name}}}" in operation.path]
    if operation.is_conditional:
        says = "The ETag that was seen, or * for any version."
        parameters.append({"name": "If-Match", "in": "header", "required": True, "schema": _TEXT, "description": says})
    if operation.id == "list_changes":
        says = "The id of the last change that was seen."
        parameters.append({"name": "before", "in": "query", "schema": {"type": "integer"}, "description": says})
    told: Schema = {"operationId": operation.id, "summary": operation.says, "parameters": parameters}
    if operation.takes is not None:
        told["requestBody"] = {"required": True, "content": _content(operation.takes, operation.media_type)}
    done: Schema = {"description": operation.says}
    if operation.answers is not None:
        done["content"] = _content(operation.answers)
    if operation.answers == "Partner":
        done["headers"] = {"ETag": {"schema": _TEXT, "description": "Its version."}}
    problem = _content("Problem", "application/problem+json")
    refused = {status: {"description": says, "content": problem} for status, says in _ERRORS.items()}
    return told | {"responses": {str(operation.status): done, **refused}}


def _in_path(name: str) -> Schema:
    says = {"name": "The partner's name.", "hint": "How the key begins."}[name]
    return {"name": name, "in": "path", "required": True, "schema": _TEXT, "description": says}


def _content(schema_name: str, media_type: str = _JSON) -> Schema:
    return {media_type: {"schema": {"$ref": f"#/components/schemas/{schema_name}"}}}


def _object(required: tuple[str, ...] | None = None, **properties: Schema) -> Schema:
    """All properties are required unless it is said which are."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties if required is None else required),
    }


def _list(name: str, of: Schema) -> Schema:
    return _object(None, **{name: {"type": "array", "items": of}})


_PARTNER: Schema = {"$ref": "#/components/schemas/Partner"}
_PARTNER_OR_NONE: Schema = {"anyOf": [_PARTNER, {"type": "null"}]}
_SCHEMAS: Mapping[str, Schema] = {
    "Description": {"type": "object"},
    "Patch": {"type": "object", "description": "What differs; null for a default."},
    "Partners": _list("partners", _object(None, version={"type": "integer"}, updatedAt=_MOMENT, partner=_PARTNER)),
    "Changes": _list(
        "changes",
        _object(
            None,
            id={"type": "integer"},
            at=_MOMENT,
            by=_TEXT,
            what=_TEXT,
            before=_PARTNER_OR_NONE,
            after=_PARTNER_OR_NONE,
        ),
    ),
    "Test": _object(
        None,
        passed={"type": "boolean"},
        findings={
            "type": "array",
            "items": _object(
                None,
                step={"type": "string", "enum": list(get_args(Step))},
                outcome={"type": "string", "enum": list(get_args(Outcome))},
                text=_TEXT,
            ),
        },
    ),
    "Keys": _list("keys", _object(None, hint=_TEXT, createdAt=_MOMENT, expiresAt=_MOMENT_OR_NONE)),
    "NewKey": _object((), expiresAt=_MOMENT_OR_NONE),
    "Rotation": _object((), expiresAt=_MOMENT_OR_NONE, graceHours={"type": "number", "minimum": 0, "default": 24}),
    "MadeKey": _object(None, key=_TEXT, hint=_TEXT, expiresAt=_MOMENT_OR_NONE),
    "Problem": {
        **_object(
            ("title", "status", "detail"),
            type=_TEXT,
            title=_TEXT,
            status={"type": "integer"},
            detail=_TEXT,
            errors={"type": "array", "items": _TEXT},
        ),
        "description": "RFC 9457; `errors` has each fault as a sentence.",
    },
}
