"""Journeys of the two NHS dialects with messages that their networks have published, where those are at hand."""

import json
from datetime import UTC, datetime

import pytest

from gateway.fhir import dialects
from gateway.fhir.dialects import Manner
from gateway.fhir.message import read_message
from tests.conftest import CORPUS
from tests.journeys.dialects import Network, Resource, bars, eps
from tests.journeys.dialects.conftest import Opening
from tests.journeys.dialects.test_nhs_eps import history

pytestmark = pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not here")
PARTIES = {code: eps.ods(code, f"ods-{code.lower()}", dialect="nhs-eps") for code in ("A83008", "A99968", "VNE51")}
ORDER, CANCELLATION, DISPENSED = (
    "nhs-eps/prescription-order-request-72645c98",
    "nhs-eps/prescription-order-update-request-034736e3",
    "nhs-eps/dispense-notification-response-e979e569",
)


def kind_of(bundle: Resource) -> tuple[str, bool]:
    header = bundle["entry"][0]["resource"]
    return header["eventCoding"]["code"], "response" in header


def published(name: str) -> Resource:
    read: Resource = json.loads((CORPUS / f"{name}.json").read_bytes())
    return read


PUBLISHED = [
    json.loads(path.read_bytes())
    for name in ("nhs-eps", "nhs-validation-service")
    for path in sorted((CORPUS / name).glob("*.json"))
]


@pytest.fixture
def spine(network: Opening) -> Network:
    return network(*PARTIES.values())


def test_a_published_prescription_is_cancelled_by_the_published_cancellation(spine: Network) -> None:
    order, cancellation = published(ORDER), published(CANCELLATION)
    assert order["identifier"] == cancellation["identifier"]
    placed = spine.post(order, PARTIES["A83008"])
    assert placed.status == 200, placed.text
    assert len(spine.statuses()) == 4
    answer = spine.post(cancellation, PARTIES["A83008"])
    assert (answer.status, history(answer)) == (200, ("R-0001", "cancelled"))
    lines = [status for name, status in spine.statuses().items() if name.startswith(eps.NUMBER)]
    assert sorted(lines) == ["cancelled", "requested", "requested", "requested"]
    [pharmacy] = [
        one for one in spine.told(PARTIES["VNE51"]) if one.header["eventCoding"]["code"] == "prescription-order"
    ]
    assert len(pharmacy.of_type("MedicationRequest")) == 4


def test_a_published_notification_dispenses_it(spine: Network) -> None:
    spine.post(published(ORDER), PARTIES["A83008"])
    answer = spine.post(published(DISPENSED), PARTIES["VNE51"])
    assert answer.status == 200, answer.text
    assert set(spine.statuses().values()) <= {"completed", "in-progress"}
    late = spine.post(published(CANCELLATION), PARTIES["A83008"])
    assert late.status == 400
    assert history(late)[0] in ("R-0003", "R-0004")


def test_another_prescriber_does_not_cancel_it(spine: Network) -> None:
    spine.post(published(ORDER), PARTIES["A83008"])
    theft = published(CANCELLATION)
    header = theft["entry"][0]["resource"]
    header["sender"]["identifier"]["value"] = "A99968"
    header["source"]["endpoint"] = PARTIES["A99968"].endpoints[0]
    answer = spine.post(theft, PARTIES["A99968"])
    assert (answer.status, history(answer)[0]) == (400, "R-0007")


@pytest.mark.parametrize(
    ("event", "response", "means"),
    [
        ("prescription-order", False, "new-order"),
        ("prescription-order", True, "prescription-order"),
        ("prescription-order-update", False, "cancellation-request"),
        ("prescription-order-response", True, "cancellation-request"),
        ("dispense-notification", True, "order-update"),
    ],
)
def test_every_published_message_is_understood(event: str, response: bool, means: str) -> None:
    found = [one for one in PUBLISHED if kind_of(one) == (event, response)]
    assert found
    for bundle in found:
        message = read_message(bundle, datetime.now(UTC))
        understood = dialects.get("nhs-eps").understand(message, Manner("nhs-eps", {}, f"{eps.ODS}|A83008"))
        assert not understood.refusal
        assert understood.event.code == means
        assert understood.sent is bundle
        assert understood.is_response == (means == event)


@pytest.mark.parametrize("name", ["servicerequest-request-request-3a60c84d", "servicerequest-request-request-7e4fbd5b"])
def test_published_referrals_are_taken_or_refused_with_all_that_is_wrong(network: Opening, name: str) -> None:
    at = network(bars.SENDER, bars.RECEIVER)
    sent = published(f"nhs-bars/{name}")
    sent["entry"][0]["resource"]["source"]["endpoint"] = bars.SENDER.endpoints[0]
    answer = at.post(sent, bars.SENDER, nhsd_target_identifier=bars.target())
    if answer.status == 200:
        assert at.statuses()
    else:
        assert answer.status == 400
        assert answer.codes[0] == "REC_BAD_REQUEST"
        assert all(issue["expression"] for issue in answer.issues)
