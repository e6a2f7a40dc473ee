"""JSON Patch of a kept resource: what it makes of it, and the patches that are refused."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.errors import Refused, Unreadable
from gateway.fhir import json
from gateway.fhir.patching import patched

TASK = json.parse(
    b'{"resourceType": "Task", "id": "1", "status": "draft", "intent": "order", "note": [{"text": "a"}],'
    b' "input": [{"valueDecimal": 1.00}]}'
)
MOST = 100_000


def patch(*operations: Any) -> Any:
    return patched(TASK, orjson.dumps([*operations]), MOST)


def test_a_patch_changes_what_it_names_and_nothing_else() -> None:
    made = patch(
        {"op": "test", "path": "/status", "value": "draft"},
        {"op": "replace", "path": "/status", "value": "requested"},
        {"op": "add", "path": "/note/-", "value": {"text": "b"}},
        {"op": "remove", "path": "/note/0"},
        {"op": "copy", "from": "/note/0/text", "path": "/description"},
    )

    assert made == {**TASK, "status": "requested", "note": [{"text": "b"}], "description": "b"}
    assert b"1.00" in json.serialize(made)
    assert TASK["status"] == "draft"


@pytest.mark.parametrize(
    "operations",
    [
        {"op": "remove", "path": "/status"},
        [],
        [1],
        ["remove"],
        [{"op": "remove"}],
        [{"op": "become", "path": "/status"}],
        [{"op": "replace", "path": "/status"}],
        [{"op": "replace", "path": 1, "value": 1}],
        [{"op": "remove", "path": "status"}],
        [{"op": "remove", "path": "/nothing/here"}],
        [{"op": "add", "path": "/status/0/a", "value": 1}],
        [{"op": "test", "path": "/status", "value": "ready"}],
        [{"op": "copy", "from": "/nothing", "path": "/a"}],
        [{"op": "replace", "path": "/id", "value": "other"}],
        [{"op": "remove", "path": "/resourceType"}],
        [{"op": "replace", "path": "", "value": []}],
        [{"op": "move", "from": "", "path": "/a"}],
        [{"op": "copy", "from": "", "path": "/a"}] * 200,
        [{"op": "remove", "path": "/status"}] * 1000,
    ],
)
def test_a_patch_that_cannot_be_carried_out_is_refused(operations: Any) -> None:
    with pytest.raises(Refused, match=r"[Pp]atch"):
        patched(TASK, orjson.dumps(operations), MOST)


def test_a_patch_does_not_outgrow_what_is_taken() -> None:
    doubling = [{"op": "copy", "from": "/note", "path": "/note/-"}] * 40
    with pytest.raises(Refused, match="larger, or deeper"):
        patched(TASK, orjson.dumps(doubling), MOST)


@pytest.mark.parametrize("body", [b"", b"[", b"\xff", b'[{"op": "add", "op": "add"}]', b"[" * 1000])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(Unreadable):
        patched(TASK, body, MOST)


def test_copies_are_bounded_in_all_though_each_takes_the_place_of_the_last() -> None:
    large = {**TASK, "description": "x" * (MOST // 3)}
    again = [{"op": "copy", "from": "/description", "path": "/a"}] * 4

    with pytest.raises(Refused) as refused:
        patched(large, orjson.dumps(again), MOST)

    assert refused.value.issues[0].code == "too-costly"


def test_a_copy_is_a_value_of_its_own() -> None:
    copied = {"op": "copy", "from": "/note", "path": "/extension"}
    made = patch(copied, {"op": "replace", "path": "/note/0/text", "value": "b"})

    assert (made["extension"], made["note"]) == ([{"text": "a"}], [{"text": "b"}])
