"""JSON Patch of a kept resource: https://hl7.org/fhir/R4/http.html#patch, https://www.rfc-editor.org/rfc/rfc6902"""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch
import jsonpointer

from gateway.errors import Issue, Refused, Unreadable
from gateway.fhir import json
from gateway.fhir.json import Resource

MEDIA_TYPE = "application/json-patch+json"
MOST_OPERATIONS = 200

_WRONG = (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, ValueError, LookupError)


def patched(resource: Resource, body: bytes, most_bytes: int) -> Resource:
    """What a patch makes of a resource of R4, at most so many bytes of it.

    Raises Unreadable for what is no JSON, and Refused, naming the operation, for what cannot be carried out.
    """
    operations = json.parse_any(body)
    if not isinstance(operations, list) or not operations or len(operations) > MOST_OPERATIONS:
        text = f"A JSON Patch is an array of 1 to {MOST_OPERATIONS} operations. Send that, or PUT the resource."
        raise Refused(Issue("invalid", text))
    result: Any = copy.deepcopy(resource)
    left = most_bytes
    for number, operation in enumerate(operations):
        result, copied = _carried_out(result, operation, number)
        left -= copied
        if left < 0:
            raise _too_large()
    if not isinstance(result, dict) or any(result.get(name) != resource[name] for name in ("resourceType", "id")):
        text = "The patch takes the resource's resourceType or id away, or changes it. Leave them as they are."
        raise Refused(Issue("invalid", text))
    try:
        content = json.serialize(result)
        if len(content) <= most_bytes:
            return json.parse(content)
    except (Unreadable, TypeError):  # TypeError is orjson's, of what is nested too deeply
        pass
    raise _too_large()


def _carried_out(value: Any, operation: Any, number: int) -> tuple[Any, int]:
    """The value as an operation leaves it, and how many bytes were copied."""
    try:
        plain, copied = _as_add(value, operation) if _is_copy(operation) else (operation, 0)
        return jsonpatch.JsonPatch([plain]).apply(value, in_place=True), copied
    except jsonpatch.JsonPatchTestFailed:
        why = "it tests for what is not so. Read the resource again, and send a patch of what it is now."
    except jsonpatch.InvalidJsonPatch:
        why = "it is no operation of RFC 6902: it has an op, a path, and a value or a from where the op needs them."
    except _WRONG:
        why = "there is nothing at its path (or from), or not what it needs."
    raise Refused(Issue("processing", f"Operation {number + 1} of the patch cannot be carried out: {why}"))


def _is_copy(operation: Any) -> bool:
    return isinstance(operation, dict) and operation.get("op") == "copy" and isinstance(operation.get("from"), str)


def _as_add(value: Any, operation: Resource) -> tuple[Resource, int]:
    """A copy as the addition of what it copies, and the bytes of that: by far quicker, and a few make very much."""
    content = json.serialize(jsonpointer.resolve_pointer(value, operation["from"]))
    rest = {name: operation[name] for name in operation if name == "path"}
    return {"op": "add", **rest, "value": json.parse_own(content)}, len(content)


def _too_large() -> Refused:
    text = "The patch makes of the resource what is larger, or deeper, than the gateway takes, or copies too much."
    return Refused(Issue("too-costly", text))
