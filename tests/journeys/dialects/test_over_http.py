"""One real gateway with partners of every dialect: an order, its cancellation, and the answers over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from gateway.fhir import dialects
from gateway.partners import Partner
from tests import live
from tests.journeys.dialects import Answered, Resource, bars, bser, eps, erec, medcom, nphies
from tests.journeys.dialects.test_nhs_eps import history

PARTIES = {
    "nhs-eps": (eps.SURGERY, eps.PHARMACY),
    "nhs-bars": (bars.SENDER, bars.RECEIVER),
    "nhs-wales": (bars.dos("4444444444", "cardiff"), bars.dos("555555555", "swansea")),
    "nphies": (nphies.PROVIDER, nphies.PAYER),
    "medcom": (medcom.SENDER, medcom.RECEIVER),
    "ca-erec": (erec.CLINIC, erec.CENTRE),
    "bser": (bser.INITIATOR, bser.RECIPIENT),
}
"""Who orders, and who carries it out; both wait to be polled, so that nobody is called."""
_WELSH = "9b2f4c2e-6d0b-4a51-a1a4-5f0e5d3f7c10"


def _registered(dialect: str, number: int, partner: Partner) -> str:
    return "\n".join(
        [
            "[[partner]]",
            f'name = "{dialect}-{number}"',
            f"identifiers = {json.dumps(partner.identifiers)}",
            f"endpoints = {json.dumps(partner.endpoints)}",
            f'dialect = "{dialect}"',
            'tell = "poll"',
            *([f'fulfilled_by = "{dialect}-1"'] if number == 0 else []),
        ]
    )


def post(gateway: live.Gateway, message: Resource, **headers: str) -> Answered:
    response = gateway.post(json.dumps(message).encode(), **headers)
    return Answered(response.status_code, response.json() if response.content else None)


def code(answer: Answered) -> str:
    return f"{answer.header['response']['code']} {' '.join(answer.codes)}".strip()


def state(answer: Answered) -> str:
    [task] = answer.of_type("Task")
    return f"{task['status']} {task.get('businessStatus', {}).get('coding', [{'code': ''}])[0]['code']}".strip()


def line(answer: Answered) -> str:
    return " ".join(history(answer)) if answer.of_type("MedicationRequest") else " ".join(answer.codes)


def status(answer: Answered) -> str:
    [request] = answer.of_type("ServiceRequest")
    return str(request["status"])


def codes(answer: Answered) -> str:
    return " ".join(answer.codes)


def referral(ended: str | None = None, sender: Partner = bars.SENDER, own: str = bars.REFERRAL) -> Resource:
    about = bars.referral(ended or "active", own=own)
    return bars.message("servicerequest-request", "update" if ended else "new", about, sender)


_THREAD = medcom.message("new-message", medcom.communication())
_CARDIFF = PARTIES["nhs-wales"][0]
JOURNEYS: dict[str, tuple[list[Resource], Callable[[Answered], str], list[tuple[int, str]]]] = {
    "nhs-eps": (
        [eps.cancellation(), eps.prescription(), eps.cancellation(), eps.cancellation()],
        line,
        [(400, "R-0008"), (200, ""), (200, "R-0001 cancelled"), (400, "R-0006 cancelled")],
    ),
    "nhs-bars": (
        [referral("revoked"), referral(), referral("revoked")],
        lambda answer: codes(answer) or status(answer),
        [(404, "REC_NOT_FOUND no-such-order"), (200, "active"), (200, "cancelled")],
    ),
    "nhs-wales": (
        [
            referral(None, _CARDIFF, _WELSH),
            referral("entered-in-error", _CARDIFF, _WELSH),
            referral("on-hold", _CARDIFF, _WELSH),
        ],
        lambda answer: codes(answer) or status(answer),
        [(200, "active"), (200, "entered-in-error"), (422, "REC_UNPROCESSABLE_ENTITY")],
    ),
    "nphies": (
        [nphies.cancel(), nphies.message("claim-request", nphies.claim()), nphies.cancel()],
        lambda answer: (answer.of_type("Task") or answer.of_type("ClaimResponse"))[0].get("outcome") or state(answer),
        [(200, "failed"), (200, "queued"), (200, "completed")],
    ),
    "medcom": (
        [
            medcom.message("retract-message", medcom.communication()),
            _THREAD,
            medcom.message("retract-message", medcom.communication(), before=_THREAD, role="removal"),
        ],
        code,
        [(200, "fatal-error no-such-order"), (200, "ok"), (200, "ok cancelled")],
    ),
    "ca-erec": (
        [
            erec.message("revoke-service-request", erec.request(status="revoked")),
            erec.message("add-service-request", erec.request()),
            erec.message("revoke-service-request", erec.request(status="revoked")),
            erec.message("revoke-service-request", erec.request(status="revoked")),
        ],
        codes,
        [(404, "no-such-order"), (200, ""), (200, ""), (409, "already-cancelled")],
    ),
    "bser": (
        [bser.message(bser.task(*said)) for said in (("requested", "2.0"), ("in-progress", "5.2"))],
        state,
        [(200, "received 2.0"), (200, "cancelled 6.0")],
    ),
}


def test_in_every_dialect_an_order_is_placed_and_cancelled_in_the_words_of_its_network(tmp_path: Path) -> None:
    assert {*JOURNEYS, "cow"} == {*dialects.names()}
    parties = [(name, number, one) for name, both in PARTIES.items() for number, one in enumerate(both)]
    file = tmp_path / "partners.toml"
    file.write_text("\n\n".join(_registered(*each) for each in parties))
    with live.gateway(tmp_path / "var", worker_processes=1, partners=[str(file)]) as gateway:
        for dialect, (messages, word, expected) in JOURNEYS.items():
            headers = {"NhsD_TARGET_identifier": bars.target()} if dialect == "nhs-bars" else {}
            answers = [post(gateway, message, **headers) for message in messages]
            assert [(answer.status, word(answer)) for answer in answers] == expected, dialect
