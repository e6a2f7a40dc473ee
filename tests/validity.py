"""Whether what the gateway sends is valid FHIR: judges look at it that share no code.

They are the gateway's own check; the models of `fhir.resources`; `fhirkit`, made in Rust from the specification; and
the specification's own invariants, evaluated by `fhirpathpy`. An answer over HTTP is judged as it comes (`client`, and
Flask's test client by `JudgingClient`), a kept reply when its database has been used (`assert_outbox_valid`): a test
has nothing to ask for. What comes in another way is for `assert_valid`, or `judge_answer` off a bare socket.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any
from xml.parsers import expat

import fhirkit
import httpx
import orjson
import sqlalchemy as sa
from flask.testing import FlaskClient
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from sqlalchemy.pool import NullPool
from werkzeug.test import TestResponse

from gateway.errors import Refused
from gateway.fhir import formats, json
from gateway.fhir.check import check
from gateway.fhir.check.levels import DEFAULTS, Levels
from gateway.fhir.definitions import Version
from gateway.fhir.json import Resource
from gateway.store.schema import outbox
from tests import fhirpath

_MODELS: Mapping[Version, str] = {
    "STU3": "fhir.resources.STU3",
    "R4": "fhir.resources.R4B",
    "R4B": "fhir.resources.R4B",
    "R5": "fhir.resources",
}
_WHAT_LIES_ELSEWHERE = "reference-unresolved"
_OURS = Levels({rule: "refuse" for rule, level in DEFAULTS.items() if level == "warn" and rule != _WHAT_LIES_ELSEWHERE})
"""What is passed over in others, as harmless, is an error in what we send."""
_LIKE_R4 = ("R4", "R4B")
_EXTENSION = "extension"
_MISSING_IN_EXTENSION = re.compile(r"_value[A-Z][A-Za-z0-9]*|valueMeta")
_NOT_FHIR = (
    "/healthz",
    "/readyz",
    "/metrics",
    "/auth/token",
    "/.well-known/smart-configuration",
    "/fhir/.well-known/smart-configuration",
)
_ADMINISTRATION = "/admin/"
_WITHOUT_BODY = ("HEAD", "OPTIONS")
_NO_CONTENT = (204, 304)
_MOST_TOLD = 20
_LONGEST_TOLD = 4000

_ID = re.compile(
    rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|(?<=-)[0-9A-F]{12}(?![0-9A-F])|(?<=-)[0-9a-f]{12}(?![0-9a-f])"
)
_NOW = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

judged: Counter[str] = Counter()
"""How much was judged in this process: "answer" over HTTP, "reply" in an outbox; "anew", what nothing before was."""


@dataclass(frozen=True)
class Sent:
    """What was sent, as a resource and in JSON; and in XML, if it came in that."""

    resource: Resource
    in_json: bytes
    in_xml: bytes | None
    version: Version


def assert_valid(sent: Resource | bytes, version: Version | None = None, what: str = "what is sent") -> None:
    """Raises AssertionError with each judge's objections to a resource, or to the bytes of one in JSON or XML.

    Without a `version` it is the one that a message tells itself, and R4 for any other resource.

    Our own check is as strict as it can be: only what it advises, and what is not in the Bundle, is no objection. What
    was found valid once is not looked at again, nor what differs from that in its ids and the times of now alone.
    """
    content = sent if isinstance(sent, bytes) else json.serialize(sent)
    seen = hashlib.sha256(f"{version}:".encode() + _without_ids(content)).digest()
    if seen in _found_valid:
        return
    _count("anew")
    found = objections(content, version)
    told = [f"{judge}: {objection}" for judge, many in found.items() for objection in many[:_MOST_TOLD]]
    shown = content[:_LONGEST_TOLD].decode(errors="replace")
    assert not found, "\n".join([f"{what} is not valid {version or 'FHIR'}:", *told, shown])
    _found_valid.add(seen)


def _without_ids(content: bytes) -> bytes:
    """Ids that were made up are told by their order: those that are alike stay so."""
    found: dict[bytes, bytes] = {}
    plain = _ID.sub(lambda id_: found.setdefault(id_[0], b"<%d>" % len(found)), content)
    return _NOW.sub(b"<now>", plain)


def objections(content: bytes, version: Version | None = None) -> dict[str, list[str]]:
    """What each judge objects to, by its name; empty if none does."""
    try:
        sent = _read(content, version)
    except (Refused, expat.ExpatError) as unreadable:
        return {"reading": [str(unreadable)]}
    found = {name: judge(sent) for name, judge in JUDGES.items()}
    return {name: many for name, many in found.items() if many}


# --- where judging happens -------------------------------------------------------------------------------------------


def client(
    *,
    base_url: str = "",
    timeout: float = 30,
    transport: httpx.BaseTransport | None = None,
    verify: ssl.SSLContext | bool = True,
) -> httpx.Client:
    """A client for the gateway that judges every answer as it comes: an AssertionError is raised in place of it.

    `transport` stands in for the network; `verify` is whom it trusts.
    """
    return httpx.Client(
        base_url=base_url,
        timeout=timeout,
        transport=transport,
        verify=verify,
        trust_env=False,
        event_hooks={"response": [_judge_response]},
    )


class JudgingClient(FlaskClient):
    """Flask's test client that judges every answer as it comes; `tests.conftest` has every application use it."""

    def open(self, *arguments: Any, **named: Any) -> TestResponse:
        answer = super().open(*arguments, **named)
        request = answer.request
        judge_answer(request.method, request.path, answer.status_code, answer.content_type or "", answer.get_data())
        return answer


def judge_answer(method: str, path: str, status: int, content_type: str, body: bytes) -> None:
    """Raises AssertionError if an answer of the gateway is not valid, in the version that its Content-Type names."""
    if path in _NOT_FHIR or path.startswith(_ADMINISTRATION) or method in _WITHOUT_BODY or status in _NO_CONTENT:
        return
    if not (body or content_type):  # nothing, and said to be so: Prefer: return=minimal
        return
    _count("answer")
    assert_valid(body, formats.version_of(content_type), f"the answer {status} to {method} {path}")


def assert_outbox_valid(database_url: str) -> None:
    """Judges all that a database keeps to be sent; there may be no such database, and no outbox in it."""
    url = sa.make_url(database_url.replace("postgresql://", "postgresql+psycopg://"))
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        return
    engine = sa.create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        sent = sa.select(outbox.c.kind, outbox.c.header_id, outbox.c.content, outbox.c.version).order_by(outbox.c.id)
        rows = connection.execute(sent).all() if sa.inspect(connection).has_table("outbox") else []
    for kind, header_id, content, told in rows:
        _count("reply")
        if not content:  # a dialect may have no words for an answer, only a status
            continue
        version = version_of_notification(content) if kind == "notification" else None
        if b'"MessageHeader"' not in content and b"<MessageHeader" not in content and kind == "reply":
            version = told
        assert_valid(content, version, what=f"the {kind} {header_id} in the outbox")


def version_of_notification(content: bytes) -> Version:
    """The version of a notification, which has no header to tell it."""
    if b"subscription-notification" in content.partition(b"backport")[0]:
        return "R5"
    return "R4B" if b"SubscriptionStatus" in content else "R4"


def _judge_response(answer: httpx.Response) -> None:
    request, content_type = answer.request, answer.headers.get("Content-Type", "")
    judge_answer(request.method, request.url.path, answer.status_code, content_type, answer.read())


_found_valid: set[bytes] = set()
_found_sound: set[bytes] = set()
"""Resources in Bundles that break no invariant."""
_lock = Lock()


def _count(what: str) -> None:
    with _lock:
        judged[what] += 1


# --- the judges ------------------------------------------------------------------------------------------------------


def _read(content: bytes, declared: Version | None) -> Sent:
    """Raises Refused, and ExpatError for what is no XML to another parser than ours."""
    name = formats.guess(content)
    if name == "xml":
        expat.ParserCreate(namespace_separator=" ").Parse(content, True)
    resource, version = formats.parse_told(content, name, declared)
    if name == "xml":
        return Sent(resource, json.serialize(resource), content, version)
    return Sent(resource, content, None, version)


def _check(sent: Sent) -> list[str]:
    issues = check(sent.resource, sent.version, levels=_OURS)
    wrong = [issue for issue in issues if issue.severity in ("fatal", "error")]
    return [f"{issue.rule} at {issue.expression}: {issue.text}" for issue in wrong]


def _fhir_resources(sent: Sent) -> list[str]:
    try:
        model = import_module(_MODELS[sent.version]).get_fhir_model_class(sent.resource["resourceType"])
        model.model_validate(orjson.loads(sent.in_json))
        if sent.in_xml is not None:
            model.model_validate_xml(sent.in_xml)
    except ValidationError as refused:
        wrong = [error for error in refused.errors() if not _is_mistaken(error)]
        return [f"{error['msg']} at {'.'.join(map(str, error['loc']))}" for error in wrong]
    except Exception as error:  # noqa: BLE001 - a resource of no known type makes it fail in another way
        return [repr(error)]
    return []


def _is_mistaken(error: ErrorDetails) -> bool:
    """Whether `fhir.resources` refuses what FHIR has: a UUID of another version than 4, two members of an Extension."""
    if error["type"] == "extra_forbidden":
        return _EXTENSION in error["loc"] and _MISSING_IN_EXTENSION.fullmatch(str(error["loc"][-1])) is not None
    return error["type"] == "uuid_version"


def _is_like_r4(sent: Sent) -> bool:
    """Whether judges who know R4 alone can judge it: R4B has some types that R4 has not."""
    return sent.version in _LIKE_R4 and b'"SubscriptionStatus"' not in sent.in_json


def _fhirkit(sent: Sent) -> list[str]:
    if not _is_like_r4(sent):
        return []
    return [str(issue) for issue in fhirkit.validate(sent.in_json) if issue.severity == "error"]


def _fhirpath(sent: Sent) -> list[str]:
    if not _is_like_r4(sent):
        return []
    try:
        resource = orjson.loads(sent.in_json)
        entries = [entry["resource"] for entry in resource.get("entry", []) if "resource" in entry]
        seen = {id(one): hashlib.sha256(_without_ids(orjson.dumps(one))).digest() for one in entries}
        found = list(fhirpath.broken(resource, [own for own, digest in seen.items() if digest in _found_sound]))
        _found_sound.update(() if found else seen.values())
        return found
    except Exception as error:  # noqa: BLE001 - it is made for resources that are made as they should be
        return [f"cannot be evaluated: {error!r}"]


JUDGES: Mapping[str, Callable[[Sent], list[str]]] = {
    "gateway.fhir.check": _check,
    "fhir.resources": _fhir_resources,
    "fhirkit": _fhirkit,
    "fhirpathpy": _fhirpath,
}
