"""The reply in another version: what it has in focus is at an address that the version allows, and leads on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.fhir import json
from gateway.fhir.definitions import Version
from gateway.fhir.references import Entries
from gateway.kept import Kept
from gateway.replies import write_answer
from tests import validity
from tests.handlers import OURSELVES
from tests.senders import Sender, new_id, read, task

HERE = f"{OURSELVES.base_url}/"


def kept(**resource: Any) -> Kept:
    resource |= {"id": new_id()}
    return Kept(resource["resourceType"], resource["id"], 1, "urn:hospital", json.serialize(resource))


SUBJECT = {"subject": {"reference": "Patient/7"}, "status": "active", "intent": "order"}
SERVICE = kept(resourceType="ServiceRequest", code={"text": "Potassium"}, **SUBJECT)
GROUP = kept(resourceType="RequestGroup", **SUBJECT)


@pytest.mark.parametrize(("version", "about"), [("STU3", SERVICE), ("R5", GROUP)])
def test_what_is_of_another_type_in_the_version_of_the_reply_is_at_no_servers_address(
    version: Version, about: Kept
) -> None:
    order = kept(**task("1", focus={"reference": about.reference}, **{"for": {"reference": "Patient/7"}}))
    message = replace(read(Sender().write("x", task("1"))), version=version)

    reply = write_answer(message, None, "ok", OURSELVES, datetime.now(UTC), focus=(order, about)).resource

    validity.assert_valid(json.serialize(reply), version)
    entries = Entries(reply)
    header, as_order, as_request, *_ = entries
    named = [reference["reference"] for reference in header.resource["focus"]]
    assert named == [as_order.full_url, as_request.full_url] == [HERE + order.reference, f"urn:uuid:{about.id}"]
    assert as_request.resource["resourceType"] != about.resource_type
    assert entries.resolve(as_order.resource["focus"]["reference"], as_order) is as_request
    assert as_request.resource["subject"]["reference"] == f"{HERE}Patient/7"


@pytest.mark.parametrize("version", ["R4", "R4B", "R5"])
def test_what_is_of_the_same_type_is_at_its_address_here_and_as_it_is_kept(version: Version) -> None:
    message = replace(read(Sender().write("x", task("1"))), version=version)
    reply = write_answer(message, None, "ok", OURSELVES, datetime.now(UTC), focus=(SERVICE,)).resource
    _, about, *_ = Entries(reply)
    assert about.full_url == HERE + SERVICE.reference
    assert about.resource["subject"] == {"reference": "Patient/7"}
