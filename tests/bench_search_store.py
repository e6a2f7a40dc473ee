"""Fills a PostgreSQL store with Tasks for `tests.bench_search`: so many, each with its Request, and Patients.

Who owns them and who asked for them is skewed as in a network of pharmacies: some have a tenth of all, most very few.
The last twentieth is in work, the rest has ended. There is what one owner never does, and who never orders where.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from gateway.fhir import json
from gateway.fhir.message import instant
from gateway.fhir.search import tokens_of
from gateway.store import resources

OWNERS, REQUESTERS = 300, 200
NEVER_REJECTS = 1
"""An owner of many Tasks, none of which it has rejected."""
STRANGERS = 0, 2
"""A requester and an owner of many Tasks, none of which they have in common."""
CODES = "http://hl7.org/fhir/CodeSystem/task-code"
BUSINESS = "http://pharmacy.example/business-status"
ORDERS = "http://hospital.example/order"
GROUPS = "http://hospital.example/group"
START = datetime(2023, 1, 1, tzinfo=UTC)
_EACH = timedelta(seconds=40)
_A_MESSAGE = 500
_ENDED = {"completed": 90, "cancelled": 5, "rejected": 3, "failed": 1.5, "entered-in-error": 0.5}
_OPEN = {"requested": 30, "received": 10, "accepted": 20, "in-progress": 35, "on-hold": 4, "ready": 1}
_WORDS = ("awaiting-information", *(f"stage-{number}" for number in range(19)))


@dataclass(frozen=True)
class Filling:
    """What there is in a store of so many Tasks."""

    tasks: int

    @property
    def patients(self) -> int:
        return max(10, self.tasks * 3 // 10)

    def task(self, place: int) -> dict[str, Any]:
        """The Task at a place in the order of creation, always the same."""
        chance = random.Random(place)
        status = _pick(chance, _OPEN if place > self.tasks * 0.95 else _ENDED)
        [owner] = chance.choices(range(OWNERS), cum_weights=_OWNED)
        [requester] = chance.choices(range(REQUESTERS), cum_weights=_REQUESTED)
        if (requester, owner) == STRANGERS or (status, owner) == ("rejected", NEVER_REJECTS):
            owner = 0
        code = _pick(chance, {"fulfill": 95, "abort": 3, "change": 2})
        made = START + place * _EACH
        task: dict[str, Any] = {
            "resourceType": "Task",
            "id": f"task-{place}",
            "meta": {"versionId": "1", "lastUpdated": instant(self.changed(place))},
            "identifier": [{"system": ORDERS, "value": f"ORD-{place}"}],
            "groupIdentifier": {"system": GROUPS, "value": f"G-{place // 3}"},
            "status": status,
            "businessStatus": {"coding": [{"system": BUSINESS, "code": chance.choice(_WORDS)}]},
            "intent": _pick(chance, {"order": 97, "proposal": 3}),
            "priority": _pick(chance, {"routine": 85, "urgent": 12, "stat": 3}),
            "code": {"coding": [{"system": CODES, "code": code}]},
            "focus": {"reference": f"ServiceRequest/request-{place}"},
            "for": {"reference": f"Patient/patient-{chance.randrange(self.patients)}"},
            "authoredOn": instant(made),
            "lastModified": instant(made),
            "requester": {"reference": f"Organization/r{requester}"},
            "owner": {"reference": f"Organization/o{owner}"},
            "basedOn": [{"reference": f"ServiceRequest/request-{place}"}],
        }
        if chance.random() < 0.02 and place:
            task["partOf"] = [{"reference": f"Task/task-{place - 1}"}]
        if status in ("requested", "received") and chance.random() < 0.2:
            del task["owner"]
        return task

    def changed(self, place: int) -> datetime:
        hours = random.Random(-place - 1).expovariate(1 / 30)
        return START + place * _EACH + timedelta(hours=min(hours, 400))

    def request(self, place: int, task: dict[str, Any]) -> dict[str, Any]:
        return {
            "resourceType": "ServiceRequest",
            "id": f"request-{place}",
            "meta": {"versionId": "1", "lastUpdated": instant(START + place * _EACH)},
            "identifier": [{"system": f"{ORDERS}/request", "value": f"REQ-{place}"}],
            "requisition": task["groupIdentifier"],
            "status": "active" if place > self.tasks * 0.95 else "completed",
            "intent": "order",
            "code": {"coding": [{"system": "http://loinc.org", "code": f"{place % 500}-1"}]},
            "subject": task["for"],
            "requester": task["requester"],
        }


def _pick(chance: random.Random, shares: dict[str, float]) -> str:
    return chance.choices(list(shares), list(shares.values()))[0]


_OWNED = list(itertools.accumulate((number + 1) ** -1.1 for number in range(OWNERS)))
_REQUESTED = list(itertools.accumulate((number + 1) ** -1.1 for number in range(REQUESTERS)))


def fill(connection: psycopg.Connection[Any], filling: Filling) -> None:
    """Fills an empty store that has the schema; the index of tokens is made at the end."""
    connection.execute("SET session_replication_role = replica")
    connection.execute("SET maintenance_work_mem = '512MB'")
    connection.execute("ALTER TABLE search_key DROP CONSTRAINT search_key_pkey")
    everything = itertools.chain(_parties(filling), _orders(filling))
    for batch in itertools.count(1):
        some = list(itertools.islice(everything, _A_MESSAGE))
        if not some:
            break
        _add_message(connection, batch)
        _copy(connection, batch, some)
    connection.execute("ALTER TABLE search_key ADD CONSTRAINT search_key_pkey PRIMARY KEY (digest, number)")
    connection.execute("SET session_replication_role = origin")
    connection.commit()
    connection.autocommit = True
    connection.execute("VACUUM (ANALYZE)")
    connection.autocommit = False


_Made = tuple[dict[str, Any], datetime]


def _parties(filling: Filling) -> Iterator[_Made]:
    for number in range(filling.patients):
        yield {"resourceType": "Patient", "id": f"patient-{number}", "active": True}, START
    for number in range(OWNERS):
        yield {"resourceType": "Organization", "id": f"o{number}", "name": f"Pharmacy {number}"}, START
    for number in range(REQUESTERS):
        yield {"resourceType": "Organization", "id": f"r{number}", "name": f"Hospital {number}"}, START


def _orders(filling: Filling) -> Iterator[_Made]:
    for place in range(filling.tasks):
        task = filling.task(place)
        yield filling.request(place, task), START + place * _EACH
        yield task, filling.changed(place)


def _add_message(connection: psycopg.Connection[Any], message_id: int) -> None:
    connection.execute(
        "INSERT INTO message (id, sender, event_code, lane, content_hash, media_type, reply_format, later, request_id,"
        " received_at, state, due_at, nudged_at, body) VALUES (%s, 'bench', 'new-order', %s, '',"
        " 'application/fhir+json', 'json', false, '', now(), 'done', now(), now(), '{}')",
        (message_id, str(message_id)),
    )


def _copy(connection: psycopg.Connection[Any], message_id: int, made: list[_Made]) -> None:
    rows, versions, keys = list[str](), list[str](), list[str]()
    for ordinal, (resource, moment) in enumerate(made):
        kind, name, number = resource["resourceType"], resource["id"], resources.number_of(message_id, ordinal)
        rows.append(f"{name}\t{kind}\t1\tbench\t{number}\t{moment.isoformat()}\n")
        content = json.serialize(resource)
        versions.append(f"{name}\t1\t\\\\x{content.hex()}\t{message_id}\t{moment.isoformat()}\n")
        keys += [f"\\\\x{digest.hex()}\t{number}\n" for digest in tokens_of(resource)]
    with connection.cursor() as cursor:
        for columns, lines in (
            ("resource (id, type, version, sender, number, updated_at)", rows),
            ("resource_version (resource_id, version, content, message_id, updated_at)", versions),
            ("search_key (digest, number)", keys),
        ):
            with cursor.copy(f"COPY {columns} FROM STDIN".encode()) as copy:
                copy.write("".join(lines))
