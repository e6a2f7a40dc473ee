"""What the API of administrators takes and answers, as OpenAPI 3.1 says it: https://spec.openapis.org/oas/v3.1.1"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import get_args

from gateway.fhir import dialects
from gateway.handshake import Outcome, Step
from gateway.partners.document import PARTNER, Table, defaults
from gateway.partners.values import DIALECT
from gateway.web import replay_description
from gateway.web.openapi import MOMENT, MOMENT_OR_NONE, NUMBER, TEXT, Operation, Schema, content, listing, obj

PREFIX = "/admin"
MERGE_PATCH = "application/merge-patch+json"

_ONE, _KEYS = "/partners/{name}", "/partners/{name}/keys"
_OPERATIONS = (
    Operation("get", "/openapi.json", "description", "This description", answers="Description"),
    Operation("get", "/partners", "list_partners", "All partners, by name", answers="Partners"),
    Operation("post", "/partners", "add_partner", "Adds a partner", "Partner", "Partner", 201),
    Operation("get", _ONE, "read_partner", "A partner; its ETag is its version", answers="Partner"),
    Operation("put", _ONE, "replace_partner", "The whole anew", "Partner", "Partner", is_conditional=True),
    Operation(
        "patch",
        _ONE,
        "change_partner",
        "Changes keys, by a JSON merge patch (RFC 7396): null gives the default back",
        "Patch",
        "Partner",
        is_conditional=True,
        media_type=MERGE_PATCH,
    ),
    Operation("delete", _ONE, "remove_partner", "Removes it, with its keys", status=204, is_conditional=True),
    Operation("post", f"{_ONE}/pause", "pause_partner", "Sends it nothing for a time", answers="Partner"),
    Operation("post", f"{_ONE}/resume", "resume_partner", "Takes and sends again", answers="Partner"),
    Operation("post", f"{_ONE}/block", "block_partner", "Refuses what it sends", answers="Partner"),
    Operation(
        "get",
        f"{_ONE}/changes",
        "list_changes",
        "Who changed what, the last first",
        answers="Changes",
        parameters=(("before", NUMBER, "The id of the last change that was seen."),),
    ),
    Operation("post", f"{_ONE}/test", "test_partner", "Tries all but a message, and says what fails", None, "Test"),
    Operation("get", _KEYS, "list_keys", "Its API keys, by how they begin", answers="Keys"),
    Operation("post", _KEYS, "make_key", "Makes an API key, shown this once", "NewKey", "MadeKey", 201),
    Operation(
        "post",
        f"{_KEYS}/rotate",
        "rotate_keys",
        "Makes an API key; the old ones end after a time",
        "Rotation",
        "MadeKey",
        201,
    ),
    Operation("delete", f"{_KEYS}/{{hint}}", "revoke_key", "Ends the key that begins so, at once", status=204),
)
_ERRORS: Mapping[str, str] = {
    "401": "No administrator's token",
    "403": "Not for this caller",
    "404": "There is none",
    "409": "Not as things stand",
    "412": "It has changed meanwhile",
    "422": "What is sent has faults: all of them",
    "default": "It could not be done",
}


def describe(name: str) -> Schema:
    """The description of the API of the gateway that is called `name`."""
    paths: dict[str, Schema] = {}
    for operation in (*_OPERATIONS, *replay_description.OPERATIONS):
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
            "schemas": {"Partner": schema(PARTNER), **_SCHEMAS, **replay_description.SCHEMAS},
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


def _operation(operation: Operation) -> Schema:
    parameters = [_in_path(name) for name in _IN_PATH if f"{{{name}}}" in operation.path]
    if operation.is_conditional:
        says = "The ETag that was seen, or * for any version."
        parameters.append({"name": "If-Match", "in": "header", "required": True, "schema": TEXT, "description": says})
    for name, described, says in operation.parameters:
        parameters.append({"name": name, "in": "query", "schema": described, "description": says})
    told: Schema = {"operationId": operation.id, "summary": operation.says, "parameters": parameters}
    if operation.takes is not None:
        taken = content(operation.takes, operation.media_type, operation.files)
        told["requestBody"] = {"required": operation.needs_body, "content": taken}
    done: Schema = {"description": operation.says}
    if operation.answers is not None:
        done["content"] = content(operation.answers, others=operation.also)
    if operation.answers == "Partner":
        done["headers"] = {"ETag": {"schema": TEXT, "description": "Its version."}}
    problem = content("Problem", "application/problem+json")
    refused = {status: {"description": says, "content": problem} for status, says in _ERRORS.items()}
    answered = {str(operation.status): done}
    if operation.or_status is not None:
        status, says = operation.or_status
        answered[str(status)] = done | {"description": says}
    return told | {"responses": {**answered, **refused}}


_IN_PATH = {"name": "The partner's name.", "hint": "How the key begins.", "number": "Of the replay, or the message."}


def _in_path(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": TEXT, "description": _IN_PATH[name]}


_PARTNER: Schema = {"$ref": "#/components/schemas/Partner"}
_PARTNER_OR_NONE: Schema = {"anyOf": [_PARTNER, {"type": "null"}]}
_SCHEMAS: Mapping[str, Schema] = {
    "Description": {"type": "object"},
    "Patch": {"type": "object", "description": "What differs; null for a default."},
    "Partners": listing("partners", obj(None, version=NUMBER, updatedAt=MOMENT, partner=_PARTNER)),
    "Changes": listing(
        "changes",
        obj(
            None,
            id=NUMBER,
            at=MOMENT,
            by=TEXT,
            what=TEXT,
            before=_PARTNER_OR_NONE,
            after=_PARTNER_OR_NONE,
        ),
    ),
    "Test": obj(
        None,
        passed={"type": "boolean"},
        findings={
            "type": "array",
            "items": obj(
                None,
                step={"type": "string", "enum": list(get_args(Step))},
                outcome={"type": "string", "enum": list(get_args(Outcome))},
                text=TEXT,
            ),
        },
    ),
    "Keys": listing("keys", obj(None, hint=TEXT, createdAt=MOMENT, expiresAt=MOMENT_OR_NONE)),
    "NewKey": obj((), expiresAt=MOMENT_OR_NONE),
    "Rotation": obj((), expiresAt=MOMENT_OR_NONE, graceHours={"type": "number", "minimum": 0, "default": 24}),
    "MadeKey": obj(None, key=TEXT, hint=TEXT, expiresAt=MOMENT_OR_NONE),
    "Problem": {
        **obj(
            ("title", "status", "detail"),
            type=TEXT,
            title=TEXT,
            status=NUMBER,
            detail=TEXT,
            errors={"type": "array", "items": TEXT},
        ),
        "description": "RFC 9457; `errors` has each fault as a sentence.",
    },
}
