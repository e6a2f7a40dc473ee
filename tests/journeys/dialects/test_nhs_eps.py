"""Journeys of NHS EPS: prescriptions placed, cancelled line by line and dispensed, each answered in its words."""

import pytest

from gateway.partners import Partner
from tests.journeys.dialects import Answered, Network, Resource, eps
from tests.journeys.dialects.conftest import Opening
from tests.journeys.dialects.eps import COW_PHARMACY, FIRST, NUMBER, OTHER_SURGERY, PHARMACY, SECOND, SURGERY
from tests.senders import COW

LINE = f"{NUMBER}/{FIRST}"
OTHER_LINE = f"{NUMBER}/{SECOND}"


@pytest.fixture
def eps_network(network: Opening) -> Network:
    return network(SURGERY, OTHER_SURGERY, PHARMACY)


@pytest.fixture
def with_cow(network: Opening) -> Network:
    return network(SURGERY, OTHER_SURGERY, COW_PHARMACY)


def placed(network: Network, *items: str) -> Network:
    answer = network.post(eps.prescription(*items), SURGERY)
    assert (answer.status, answer.body and answer.body["resourceType"]) == (200, "OperationOutcome"), answer.text
    return network


def history(answer: Answered) -> tuple[str, str]:
    """The code and the status that a response gives to the line that it is about."""
    [line] = answer.of_type("MedicationRequest")
    codings = [
        inner["valueCoding"]
        for extension in line["extension"]
        if extension["url"].endswith("Extension-DM-PrescriptionStatusHistory")
        for inner in extension["extension"]
        if "valueCoding" in inner
    ]
    [coding] = codings
    assert coding["display"]
    return coding["code"], line["status"]


def moved(network: Network, line: str, status: str, sender: Partner = COW_PHARMACY) -> Answered:
    """What the pharmacy is answered that speaks as the gateway does."""
    identifier = network.task(line)["identifier"][:1]
    return network.post(update(identifier, status), sender)


def update(identifier: list[Resource], status: str, **elements: object) -> Resource:
    from tests.senders import Sender

    task = {"resourceType": "Task", "identifier": identifier, "status": status, "intent": "order", **elements}
    return Sender("http://pharmacy.example/fhir").write("order-update", task, system=COW)


def test_a_prescription_is_an_order_for_each_of_its_lines(eps_network: Network) -> None:
    placed(eps_network)
    assert eps_network.statuses() == {LINE: "requested", OTHER_LINE: "requested"}
    task = eps_network.task(LINE)
    assert task["groupIdentifier"]["value"] == NUMBER
    assert task["requester"]["identifier"]["value"] == "A83008"
    assert task["owner"]["identifier"]["value"] == "VNE51"


def test_one_line_is_cancelled_and_the_others_stay(eps_network: Network) -> None:
    placed(eps_network)
    sent = eps.cancellation(FIRST)
    answer = eps_network.post(sent, SURGERY)
    assert (answer.status, history(answer)) == (200, ("R-0001", "cancelled"))
    assert answer.header["eventCoding"]["code"] == "prescription-order-response"
    assert answer.header["response"] == {"identifier": sent["identifier"]["value"], "code": "ok"}
    statuses = eps_network.statuses()
    assert (statuses[LINE], statuses[OTHER_LINE]) == ("cancelled", "requested")


def test_a_cancelled_line_is_cancelled_once(eps_network: Network) -> None:
    placed(eps_network).post(eps.cancellation(), SURGERY)
    again = eps_network.post(eps.cancellation(), SURGERY)
    assert (again.status, history(again)) == (400, ("R-0006", "cancelled"))
    assert again.header["response"]["code"] == "ok"


def test_the_same_message_has_the_same_answer(eps_network: Network) -> None:
    order, cancel = eps.prescription(), eps.cancellation()
    cancel["identifier"] = order["identifier"]  # as the published ones have it
    first = [eps_network.post(one, SURGERY) for one in (order, cancel)]
    assert [eps_network.post(one, SURGERY) for one in (order, cancel)] == first
    assert [answer.status for answer in first] == [200, 200]


def test_a_prescription_number_is_used_once(eps_network: Network) -> None:
    placed(eps_network, FIRST)
    for items in ((FIRST,), (SECOND,)):
        again = eps_network.post(eps.prescription(*items), SURGERY)
        assert (again.status, again.codes) == (400, ["DUPLICATE_PRESCRIPTION_ID"])
        assert again.issues[0]["code"] == "duplicate"
    assert len(eps_network.tasks()) == 1


def test_another_prescriber_cancels_nothing(eps_network: Network) -> None:
    placed(eps_network)
    answer = eps_network.post(eps.cancellation(sender="A99968"), OTHER_SURGERY)
    assert (answer.status, history(answer)) == (400, ("R-0007", "unknown"))
    assert eps_network.statuses() == {LINE: "requested", OTHER_LINE: "requested"}


def test_a_line_that_is_not_known_is_not_found_and_that_is_final(eps_network: Network) -> None:
    early = eps.cancellation()
    answer = eps_network.post(early, SURGERY)
    assert (answer.status, answer.codes, answer.issues[0]["code"]) == (400, ["R-0008"], "not-found")
    placed(eps_network)
    assert eps_network.post(early, SURGERY) == answer
    assert eps_network.statuses() == {LINE: "requested", OTHER_LINE: "requested"}
    assert history(eps_network.post(eps.cancellation(), SURGERY)) == ("R-0001", "cancelled")


def test_a_cancellation_without_a_reason_is_invalid(eps_network: Network) -> None:
    placed(eps_network)
    answer = eps_network.post(eps.cancellation(statusReason={}), SURGERY)
    assert (answer.status, answer.codes) == (400, ["R-5888"])
    assert "statusReason" in answer.text
    assert eps_network.statuses()[LINE] == "requested"


def test_two_lines_are_not_cancelled_at_once(eps_network: Network) -> None:
    placed(eps_network)
    sent = eps.cancellation(FIRST)
    sent["entry"].append({"fullUrl": "urn:uuid:1", "resource": eps.line(SECOND, status="cancelled")})
    answer = eps_network.post(sent, SURGERY)
    assert (answer.status, answer.codes) == (400, ["R-5888"])


def test_a_dispenser_that_is_at_work_decides_and_the_prescriber_is_told(with_cow: Network) -> None:
    placed(with_cow)
    for status in ("accepted", "in-progress"):
        assert moved(with_cow, LINE, status).header["response"]["code"] == "ok"
    sent = eps.cancellation()
    marked = with_cow.post(sent, SURGERY)
    assert (marked.status, history(marked)) == (400, ("R-0003", "active"))
    again = with_cow.post(eps.cancellation(), SURGERY)
    assert (again.status, history(again)) == (400, ("R-0003", "active"))
    own = [name["value"] for name in with_cow.task(sent["identifier"]["value"])["identifier"]]
    assert own == [sent["identifier"]["value"]]
    request = with_cow.task(own[0])
    with_cow.post(update(request["identifier"], "accepted", code=request["code"]), COW_PHARMACY)
    told = with_cow.told(SURGERY)[-1]
    assert history(told) == ("R-0001", "cancelled")
    assert told.header["eventCoding"]["code"] == "prescription-order-response"
    assert told.header["response"] == {"identifier": sent["identifier"]["value"], "code": "ok"}
    assert with_cow.statuses()[LINE] == "cancelled"


@pytest.mark.parametrize(("status", "code"), [("completed", "R-0004"), ("failed", "R-0010")])
def test_a_line_that_ends_while_it_is_marked_is_told_so(with_cow: Network, status: str, code: str) -> None:
    placed(with_cow)
    for step in ("accepted", "in-progress"):
        moved(with_cow, LINE, step)
    with_cow.post(eps.cancellation(), SURGERY)
    moved(with_cow, LINE, status)
    assert history(with_cow.told(SURGERY)[-1])[0] == code
    late = with_cow.post(eps.cancellation(), SURGERY)
    assert (late.status, history(late)[0]) == (400, code)


def test_a_dispenser_is_told_of_prescriptions_and_answers_cancellations(eps_network: Network) -> None:
    placed(eps_network)
    [order] = eps_network.told(PHARMACY)
    assert order.header["eventCoding"]["code"] == "prescription-order"
    assert len(order.of_type("MedicationRequest")) == 2
    assert not order.of_type("Task")
    assert eps_network.post(eps.notification({FIRST: "0003"}), PHARMACY).status == 200
    sent = eps.cancellation()
    assert history(eps_network.post(sent, SURGERY))[0] == "R-0003"
    told = eps_network.told(PHARMACY)[-1]
    assert told.header["eventCoding"]["code"] == "prescription-order-update"
    assert told.body is not None
    assert told.body["identifier"]["value"] == told.body["id"]
    assert [one["status"] for one in told.of_type("MedicationRequest")] == ["cancelled"]
    answered = eps_network.post(eps.decision(told.body, "R-0001"), PHARMACY)
    assert answered.status == 200, answered.text
    decided = eps_network.told(SURGERY)[-1]
    assert history(decided) == ("R-0001", "cancelled")
    assert decided.header["response"]["identifier"] == sent["identifier"]["value"]
    assert eps_network.closed(PHARMACY) == [None, "ok"]


@pytest.mark.parametrize(
    ("said", "code", "status"),
    [("R-0004", "R-0004", "completed"), ("R-0010", "R-0010", "stopped"), ("R-0007", "R-5000", "active")],
)
def test_a_dispenser_refuses_a_cancellation_in_a_final_word(
    eps_network: Network, said: str, code: str, status: str
) -> None:
    placed(eps_network)
    eps_network.post(eps.notification({FIRST: "0003"}), PHARMACY)
    eps_network.post(eps.cancellation(), SURGERY)
    told = eps_network.told(PHARMACY)[-1]
    assert told.body is not None
    assert eps_network.post(eps.decision(told.body, said), PHARMACY).status == 200
    decided = eps_network.told(SURGERY)[-1]
    assert history(decided) == (code, status)
    assert decided.codes == (["R-5000"] if code == "R-5000" else [])
    assert decided.text.startswith("The cancellation request is rejected" if code == "R-5000" else "")
    assert eps_network.statuses()[LINE] == "in-progress"


def test_what_a_dispenser_has_cancelled_already_is_cancelled(eps_network: Network) -> None:
    placed(eps_network)
    eps_network.post(eps.notification({FIRST: "0003"}), PHARMACY)
    eps_network.post(eps.cancellation(), SURGERY)
    told = eps_network.told(PHARMACY)[-1]
    assert told.body is not None
    assert eps_network.post(eps.decision(told.body, "R-0006"), PHARMACY).status == 200
    assert (history(eps_network.told(SURGERY)[-1])[0], eps_network.statuses()[LINE]) == ("R-0001", "cancelled")


@pytest.mark.parametrize(("kind", "business"), [("0006", "0003"), ("", "0004")])
def test_a_line_that_the_dispenser_says_has_expired_has(eps_network: Network, kind: str, business: str) -> None:
    placed(eps_network)
    assert eps_network.post(eps.notification({FIRST: kind}, business=business), PHARMACY).status == 200
    late = eps_network.post(eps.cancellation(), SURGERY)
    assert (late.status, history(late), eps_network.statuses()[LINE]) == (400, ("R-0005", "stopped"), "failed")


def test_what_was_dispensed_is_the_outcome_of_each_line(eps_network: Network) -> None:
    placed(eps_network)
    answer = eps_network.post(eps.notification({FIRST: "0001", SECOND: "0002"}), PHARMACY)
    assert (answer.status, answer.body and answer.body["resourceType"]) == (200, "OperationOutcome"), answer.text
    assert eps_network.statuses() == {LINE: "completed", OTHER_LINE: "failed"}
    outputs = eps_network.task(LINE)["output"]
    assert outputs[0]["valueReference"]["reference"].startswith("MedicationDispense/")
    assert eps_network.task(LINE)["businessStatus"]["coding"][0]["code"] == "0003"


def test_who_is_not_nominated_dispenses_nothing(network: Opening) -> None:
    other = eps.ods("FCG71", "other-pharmacy", dialect="nhs-eps")
    at = network(SURGERY, PHARMACY, other)
    placed(at)
    answer = at.post(eps.notification({FIRST: "0001", SECOND: "0001"}, sender="FCG71"), other)
    assert (answer.status, answer.issues[0]["code"]) == (400, "forbidden")
    assert at.statuses() == {LINE: "requested", OTHER_LINE: "requested"}


def test_one_wrong_line_keeps_the_others_from_being_dispensed(eps_network: Network) -> None:
    placed(eps_network, FIRST)
    answer = eps_network.post(eps.notification({FIRST: "0001", SECOND: "0001"}), PHARMACY)
    assert (answer.status, answer.issues[0]["code"]) == (400, "not-found")
    assert eps_network.statuses() == {LINE: "requested"}


@pytest.mark.parametrize(("taken", "status"), [(None, "rejected"), ("0008", "failed")])
def test_lines_are_given_back(eps_network: Network, taken: str | None, status: str) -> None:
    placed(eps_network)
    if taken:
        assert eps_network.post(eps.notification({FIRST: taken}), PHARMACY).status == 200
    sent = eps.message("dispense-notification", "VNE51", [eps.returned(), eps.line(FIRST)])
    answer = eps_network.post(sent, PHARMACY)
    assert answer.status == 200, answer.text
    assert eps_network.statuses() == {LINE: status, OTHER_LINE: "requested"}
    late = eps_network.post(eps.cancellation(), SURGERY)
    assert (late.status, history(late)) == (400, ("R-0010", "stopped"))


def test_a_notification_is_not_withdrawn(eps_network: Network) -> None:
    placed(eps_network)
    abort = {"coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "abort"}]}
    task = {"resourceType": "Task", "status": "in-progress", "intent": "order", "code": abort}
    answer = eps_network.post(eps.message("dispense-notification", "VNE51", [task]), PHARMACY)
    assert (answer.status, answer.issues[0]["code"]) == (400, "not-supported")
    assert "replacementOf" in answer.text


def test_a_message_that_eps_has_not_is_refused_in_its_way_and_kept(eps_network: Network) -> None:
    sent = eps.message("prescription-thing", "A83008", [eps.line(FIRST)])
    answer = eps_network.post(sent, SURGERY)
    assert (answer.status, answer.issues[0]["code"]) == (400, "value")
    assert "MessageHeader.eventCoding.code must be one of: prescription-order," in answer.text
    assert eps_network.post(sent, SURGERY) == answer
