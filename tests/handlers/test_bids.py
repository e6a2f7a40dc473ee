"""Bidding: who gets an order that is offered to several, and that it is one and no other."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pytest

from gateway.fhir.references import Resource
from gateway.terms import Terms
from tests.conftest import ON_EACH_DATABASE
from tests.handlers import HOSPITAL, Gateway, Reply, message, task_of
from tests.orders import Order, header_of, organization, renewed, sent_by
from tests.terms import TERMS

FIRST, SECOND, BROADCAST = ((f"{HOSPITAL}/order", number) for number in ("BID-3001", "BID-3002", "BID-3003"))
OFFERED = ("new-order__bidding-first", "new-order__bidding-second")
BIDS = ("order-update__bid-first", "order-update__bid-second")
FIRST_CLAIM = replace(TERMS, policy=replace(TERMS.policy, bidding="first-claim"))
LOST = {"system": "urn:x-fhir-gateway:status-reason", "code": "not-selected"}
NOBODY = "NOBODY-9", "urn:demo:nobody"
PLACER = "HOSPITAL-1", "urn:demo:hospital"
TASK_CODES = "http://hl7.org/fhir/CodeSystem/task-code"
SELECTED = {"coding": [{"system": "urn:x-fhir-gateway:business-status", "code": "selected"}]}


@dataclass(frozen=True)
class Sides:
    """Two gateways on one database, each with a thread of its own."""

    first: Gateway
    second: Gateway
    threads: ThreadPoolExecutor

    def send_all(self, number: int, *names: str) -> None:
        for name in names:
            assert self.first.send(numbered(message(name), number)).code == "ok"

    def send_at_once(self, number: int, *bundles: Resource) -> list[Reply]:
        sides = (self.first, self.second)
        return list(self.threads.map(lambda side, one: side.send(numbered(one, number)), sides, bundles))


@pytest.fixture
def two_sides(database_url: str, request: pytest.FixtureRequest) -> Iterator[Sides]:
    """At a site where the first claim wins, unless the test says otherwise."""
    terms = getattr(request, "param", FIRST_CLAIM)
    first, second = Gateway(database_url, terms), Gateway(database_url, terms)
    with ThreadPoolExecutor(2) as threads:
        yield Sides(first, second, threads)
    first.close()
    second.close()


@pytest.fixture
def claims(database_url: str) -> Iterator[Gateway]:
    """A gateway of a site where the first claim wins."""
    opened = Gateway(database_url, FIRST_CLAIM)
    yield opened
    opened.close()


def statuses(gateway: Gateway, *orders: tuple[str, str]) -> list[str]:
    return [gateway.get("Task", order).resource["status"] for order in orders or (FIRST, SECOND)]


def begin(name: str, **changes: Any) -> Resource:
    """A bidder begins the work that it has bid for."""
    bundle = message(name, status="in-progress", **changes)
    task_of(bundle).pop("output", None)
    return bundle


def codes(reply: Reply) -> list[str]:
    return [issue["code"] for issue in reply.issues]


def test_several_bids_stand_until_the_placer_selects(gateway: Gateway) -> None:
    gateway.send_all(*OFFERED)

    for name in BIDS:
        gateway.send_all(name)

    assert statuses(gateway) == ["accepted", "accepted"]
    [output] = gateway.get("Task", SECOND).resource["output"]
    proposal = gateway.get("ServiceRequest", ("http://visiting.example/identifier/proposal", "P-2"))
    assert output["valueReference"]["reference"] == proposal.reference
    assert proposal.resource["intent"] == "proposal"


def test_the_placer_selects_one_bid_and_the_others_are_cancelled(gateway: Gateway) -> None:
    gateway.send_all(*OFFERED, *BIDS)

    reply = gateway.send_all("order-update__selected")

    chosen, other = reply.focus
    assert (chosen["status"], other["status"]) == ("accepted", "cancelled")
    assert chosen["businessStatus"]["coding"][0]["code"] == "selected"
    assert other["statusReason"]["coding"] == [LOST]
    assert "BID-3002" in reply.text
    assert gateway.send(begin("order-update__bid-first")).code == "ok"
    assert statuses(gateway) == ["in-progress", "cancelled"]


def test_a_selection_closes_those_who_have_not_answered_and_leaves_those_who_declined(gateway: Gateway) -> None:
    gateway.send_all(*OFFERED, "order-update__bid-first", "order-update__bid-declined")
    third = ("http://hospital.example/identifier/order", "BID-3009")
    offered = message("new-order__bidding-second", identifier=[{"system": third[0], "value": third[1]}])
    assert gateway.send(offered).code == "ok"

    reply = gateway.send_all("order-update__selected")

    assert len(reply.focus) == 2
    assert statuses(gateway, FIRST, SECOND, third) == ["accepted", "rejected", "cancelled"]


@pytest.mark.parametrize("system", ["http://hospital.example/business-status", None])
def test_the_code_selected_is_understood_in_any_system(gateway: Gateway, system: str | None) -> None:
    gateway.send_all(*OFFERED, *BIDS)
    coding = {"system": system, "code": "selected"} if system else {"code": "selected"}
    assert gateway.send(message("order-update__selected", businessStatus={"coding": [coding]})).code == "ok"
    assert statuses(gateway) == ["accepted", "cancelled"]


def test_a_bidder_waits_for_the_selection(gateway: Gateway) -> None:
    gateway.send_all(*OFFERED, *BIDS)
    reply = gateway.send(begin("order-update__bid-second"))
    assert (reply.code, reply.places) == ("fatal-error", ["Bundle.entry[1].resource.status"])
    assert "has not selected you" in reply.text
    assert statuses(gateway) == ["accepted", "accepted"]


def test_the_only_one_left_need_not_be_selected(gateway: Gateway) -> None:
    gateway.send_all(*OFFERED, "order-update__bid-first", "order-update__bid-declined")
    assert gateway.send(begin("order-update__bid-first")).code == "ok"
    assert statuses(gateway) == ["in-progress", "rejected"]


def test_one_that_has_not_bid_is_not_selected(gateway: Gateway) -> None:
    gateway.send_all(*OFFERED, "order-update__bid-second")
    reply = gateway.send(message("order-update__selected", status="requested"))
    assert reply.code == "fatal-error"
    assert "has not bid" in reply.text
    assert statuses(gateway) == ["requested", "accepted"]


def test_a_bidder_does_not_select_itself(gateway: Gateway) -> None:
    gateway.send_all(*OFFERED, *BIDS)
    reply = gateway.send(message("order-update__bid-first", businessStatus=SELECTED))
    assert (reply.code, codes(reply)[:1]) == ("fatal-error", ["forbidden"])
    assert statuses(gateway) == ["accepted", "accepted"]


def test_a_second_is_not_selected_beside_the_first(gateway: Gateway) -> None:
    gateway.send_all(*OFFERED, *BIDS, "order-update__selected")
    late = ("http://hospital.example/identifier/order", "BID-3009")
    named = [{"system": late[0], "value": late[1]}]
    assert gateway.send(message("new-order__bidding-second", identifier=named)).code == "ok"
    assert gateway.send(message("order-update__bid-second", identifier=named)).code == "ok"

    reply = gateway.send(message("order-update__selected", identifier=named))

    assert reply.code == "fatal-error"
    assert "BID-3001" in reply.text
    assert "cancel that one first" in reply.text
    assert statuses(gateway, FIRST, late) == ["accepted", "accepted"]
    assert gateway.send(message("order-update__selected", status="cancelled")).code == "ok"
    assert gateway.send(message("order-update__selected", identifier=named)).code == "ok"


def test_who_was_not_selected_is_told_so_when_it_comes_late(gateway: Gateway) -> None:
    gateway.send_all(*OFFERED, "order-update__bid-first", "order-update__selected")
    reply = gateway.send(message("order-update__bid-second"))
    assert (reply.code, codes(reply)) == ("fatal-error", ["conflict"])
    assert "selected another" in reply.text


def test_a_bid_that_is_withdrawn_or_a_bidding_that_all_decline_changes_nothing_else(gateway: Gateway) -> None:
    gateway.send_all(*OFFERED, "order-update__bid-first", "order-update__bid-declined")
    withdrawn = message("order-update__selected", status="cancelled")
    del task_of(withdrawn)["businessStatus"]
    assert len(gateway.send(withdrawn).focus) == 1
    assert statuses(gateway) == ["cancelled", "rejected"]


OTHER_WORK = pytest.mark.parametrize(
    "changes",
    [
        {"code": {"coding": [{"system": "http://hospital.example/task", "code": "collect"}]}},
        {"code": {"text": "Collect the specimen"}},
        {"owner": organization("NURSING-5")},
    ],
    ids=["another code", "no coding", "the same owner"],
)


@OTHER_WORK
def test_other_work_about_the_request_does_not_wait_for_a_selection(gateway: Gateway, changes: Resource) -> None:
    gateway.send_all(OFFERED[0])
    assert gateway.send(message(OFFERED[1], **changes)).code == "ok"
    gateway.send_all(BIDS[0])
    assert gateway.send(begin(BIDS[0])).code == "ok"
    assert statuses(gateway) == ["in-progress", "requested"]


@OTHER_WORK
def test_other_work_about_the_request_is_not_cancelled_by_a_selection_or_a_claim(
    gateway: Gateway, claims: Gateway, changes: Resource
) -> None:
    gateway.send_all(OFFERED[0])
    assert gateway.send(message(OFFERED[1], **changes)).code == "ok"
    claims.send_all(BIDS[0])
    gateway.send_all("order-update__selected")
    assert statuses(gateway) == ["accepted", "requested"]


@pytest.mark.parametrize("code", [None, {"coding": [{"system": TASK_CODES, "code": "fulfill"}], "text": "An offer"}])
def test_offers_whose_codes_have_the_same_codings_are_one_bidding(gateway: Gateway, code: Resource | None) -> None:
    for name in OFFERED:
        bundle = message(name, code=code)
        if code is None:
            del task_of(bundle)["code"]
        elif name == OFFERED[1]:
            bundle = message(name)
        assert gateway.send(bundle).code == "ok"
    gateway.send_all(*BIDS, "order-update__selected")
    assert statuses(gateway) == ["accepted", "cancelled"]


def test_tasks_about_another_row_of_requests_are_no_bidding(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription", OFFERED[0])
    prescription = {"system": f"{HOSPITAL}/prescription", "value": "RX-1001-1"}
    also = {
        "url": "http://hl7.org/fhir/4.0/StructureDefinition/extension-Task.focus",
        "valueReference": {"type": "MedicationRequest", "identifier": prescription},
    }
    assert gateway.send(message(OFFERED[1], extension=[also])).code == "ok"
    gateway.send_all(BIDS[0])
    assert gateway.send(begin(BIDS[0])).code == "ok"


@pytest.mark.parametrize("bidding", [TERMS, FIRST_CLAIM], ids=["selection", "first-claim"])
def test_who_has_no_part_in_a_bidding_is_told_that_and_no_more(database_url: str, bidding: Terms) -> None:
    gateway = Gateway(database_url, bidding)
    gateway.send_all(*OFFERED, BIDS[0])
    if bidding is TERMS:
        gateway.send_all("order-update__selected")
    for bundle in (message(BIDS[1]), begin(BIDS[1]), begin(BIDS[0]), message("order-update__selected")):
        reply = gateway.send(sent_by(NOBODY, bundle))
        assert set(codes(reply)) == {"forbidden"}
    gateway.close()


def test_the_placer_does_not_begin_the_work_of_a_bidder(gateway: Gateway) -> None:
    gateway.send_all(*OFFERED, *BIDS)
    assert codes(gateway.send(sent_by(PLACER, begin(BIDS[0])))) == ["forbidden"]


def test_an_order_about_another_request_is_no_part_of_the_bidding(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription", *OFFERED, "order-update__accepted", "order-update__in-progress")
    assert statuses(gateway) == ["requested", "requested"]


def test_the_first_claim_wins_and_the_others_are_cancelled(claims: Gateway) -> None:
    claims.send_all(*OFFERED)

    won = claims.send_all("order-update__bid-second")

    assert [task["id"] for task in won.focus] == [claims.get("Task", SECOND).id], "others' Tasks are not its business"
    assert statuses(claims) == ["cancelled", "accepted"]
    assert claims.get("Task", FIRST).resource["statusReason"]["coding"] == [LOST]
    late = claims.send(message("order-update__bid-first"))
    assert (late.code, codes(late)) == ("fatal-error", ["conflict"])
    assert "taken" in late.text


def test_the_first_claim_wins_also_where_it_is_carried_out_together_with_other_messages(claims: Gateway) -> None:
    claims.send_all(*OFFERED)

    claim, *_ = claims.send_at_once(message(BIDS[1]), *(Order().new_order() for _ in range(4)))

    assert claim.code == "ok"
    assert statuses(claims) == ["cancelled", "accepted"]


def test_a_task_that_is_offered_after_the_claim_is_not_claimed(claims: Gateway) -> None:
    claims.send_all(OFFERED[0], "order-update__bid-first", OFFERED[1])
    late = claims.send(message("order-update__bid-second"))
    assert (late.code, codes(late)) == ("fatal-error", ["conflict"])
    assert statuses(claims) == ["accepted", "requested"]


def test_work_that_failed_can_be_offered_and_claimed_again(claims: Gateway) -> None:
    claims.send_all(OFFERED[0], "order-update__bid-first")
    for status in ("in-progress", "failed"):
        assert claims.send(begin("order-update__bid-first") if status == "in-progress" else _failed()).code == "ok"
    claims.send_all(OFFERED[1], "order-update__bid-second")
    assert statuses(claims) == ["failed", "accepted"]


def _failed() -> Resource:
    bundle = message("order-update__bid-first", status="failed")
    del task_of(bundle)["output"]
    return bundle


def test_a_task_without_an_owner_belongs_to_who_accepts_it_first(gateway: Gateway) -> None:
    gateway.send_all("new-order__broadcast")

    [order] = gateway.send_all("order-update__claim").focus

    assert order["owner"]["identifier"]["value"] == "NURSING-5"
    late = gateway.send(message("order-update__claim-second"))
    assert (late.code, codes(late)) == ("fatal-error", ["conflict"])
    assert "taken" in late.text
    assert gateway.get("Task", BROADCAST).resource["owner"] == order["owner"]


def test_who_has_no_part_in_an_order_that_was_never_offered_to_all_is_told_that(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription")
    for name in ("accepted", "in-progress", "on-hold"):
        gateway.send_all(f"order-update__{name}")
        for late in (message("order-update__accepted"), message("order-update__accepted", status="received")):
            assert codes(gateway.send(sent_by(NOBODY, late))) == ["forbidden"]
        noted = message(f"order-update__{name}", note=[{"text": "Mine"}])
        assert codes(gateway.send(sent_by(NOBODY, noted))) == ["forbidden"]


def test_what_was_offered_to_all_and_is_claimed_is_conflict_for_a_claim_alone(gateway: Gateway) -> None:
    gateway.send_all("new-order__broadcast", "order-update__claim")
    assert codes(gateway.send(message("order-update__claim-second", status="received"))) == ["conflict"]
    for status in ("in-progress", "completed", "cancelled"):
        assert "conflict" not in codes(gateway.send(message("order-update__claim-second", status=status)))


def test_one_candidate_does_not_reject_a_task_for_all(gateway: Gateway) -> None:
    gateway.send_all("new-order__broadcast")
    reply = gateway.send(message("order-update__claim-second", status="rejected"))
    assert (reply.code, codes(reply)) == ("fatal-error", ["forbidden"])
    gateway.send_all("order-update__claim")


@ON_EACH_DATABASE
@pytest.mark.parametrize("offered", [OFFERED, ("new-order__broadcast",)], ids=["bidding", "broadcast"])
def test_of_two_claims_at_once_exactly_one_wins(two_sides: Sides, offered: tuple[str, ...]) -> None:
    names = BIDS if offered is OFFERED else ("order-update__claim", "order-update__claim-second")
    orders = (FIRST, SECOND) if offered is OFFERED else (BROADCAST,)
    for number in range(15):
        two_sides.send_all(number, *offered)

        replies = two_sides.send_at_once(number, *map(message, names))

        assert sorted(reply.code for reply in replies) == ["fatal-error", "ok"]
        [lost] = [reply for reply in replies if reply.code == "fatal-error"]
        assert codes(lost) == ["conflict"]
        ended = statuses(two_sides.first, *((system, f"{value}-{number}") for system, value in orders))
        assert sorted(ended) == ["accepted", "cancelled"][: len(orders)]


@ON_EACH_DATABASE
def test_of_a_claim_and_a_new_offer_at_once_no_second_claim_comes(two_sides: Sides) -> None:
    for number in range(15):
        two_sides.send_all(number, OFFERED[0])
        replies = two_sides.send_at_once(number, message(BIDS[0]), message(OFFERED[1]))
        assert [reply.code for reply in replies] == ["ok", "ok"]
        late = two_sides.first.send(numbered(message(BIDS[1]), number))
        assert (late.code, codes(late)) == ("fatal-error", ["conflict"])


@ON_EACH_DATABASE
@pytest.mark.parametrize("two_sides", [TERMS], indirect=True)
def test_of_two_selections_at_once_exactly_one_is_made(two_sides: Sides) -> None:
    second = [{"system": SECOND[0], "value": SECOND[1]}]
    for number in range(15):
        two_sides.send_all(number, *OFFERED, *BIDS)
        selections = message("order-update__selected"), message("order-update__selected", identifier=second)

        replies = two_sides.send_at_once(number, *selections)

        assert sorted(reply.code for reply in replies) == ["fatal-error", "ok"]
        orders = ((system, f"{value}-{number}") for system, value in (FIRST, SECOND))
        assert sorted(statuses(two_sides.first, *orders)) == ["accepted", "cancelled"]


def numbered(bundle: Resource, number: int) -> Resource:
    """The message, about an order and a Request of its own."""
    bundle = renewed(bundle)
    for entry in bundle["entry"][1:]:
        if entry["resource"]["resourceType"] in ("Task", "ServiceRequest"):
            [identifier] = entry["resource"]["identifier"]
            identifier["value"] = f"{identifier['value']}-{number}"
    assert header_of(bundle)["focus"]
    return bundle
