"""Who is who in a message: how senders and parties are recognised, and why a message makes nobody somebody else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from gateway import made
from gateway.errors import Refused
from gateway.fhir.message import Message
from gateway.fhir.policy.model import Role
from gateway.partners import Names, Partner, Partners
from gateway.receiving import receive
from gateway.records import Records
from gateway.routing import Registry
from gateway.store.database import Database
from gateway.terms import Terms
from tests.handlers import OURSELVES
from tests.senders import Sender, read, submission, task
from tests.terms import TERMS

Resource = dict[str, Any]
T = TypeVar("T")

HOSPITAL = Partner("Hospital", ("urn:org|H",), ("http://hospital.example/fhir", "http://ward.example/fhir"))
PHARMACY = Partner("Pharmacy", ("urn:org|P", "urn:old|7"), ("http://pharmacy.example/fhir",))
CLINIC = Partner("Clinic", ("urn:org|C",))
FROM_HOSPITAL, FROM_WARD = (Sender(endpoint) for endpoint in HOSPITAL.endpoints)
FROM_PHARMACY = Sender(PHARMACY.endpoints[0])
FROM_STRANGER = Sender("http://stranger.example/fhir")


def by(*values: str) -> list[Resource]:
    return [{"system": "urn:org", "value": value} for value in values]


def named(value: str) -> Resource:
    return {"identifier": by(value)[0]}


def organization(*values: str, url: str = "urn:uuid:o") -> Resource:
    return {"resourceType": "Organization", "_url": url, "identifier": by(*values), "name": "An organisation"}


def order(**elements: Any) -> Resource:
    return task("1", **({"requester": named("H"), "owner": named("P")} | elements))


class Gateway:
    """What a handler sees of messages, among these partners."""

    def __init__(self, database: Database, *partners: Partner) -> None:
        self._database = database
        self._terms = Terms(TERMS.policy, Partners(partners))

    def look(self, bundle: Resource, look: Callable[[Message, Records], T]) -> T:
        message = read(bundle)
        received = receive(self._database, Registry(), OURSELVES, message, submission(bundle))
        with self._database.transaction() as connection:
            records = Records(message, connection, message.received_at, OURSELVES.base_url, self._terms)
            seen = look(message, records)
            made.keep(connection, [records.made(received.message_id)])
        return seen

    def keep(self, bundle: Resource) -> None:
        self.look(bundle, lambda message, records: records.keep(message.focus("Task")[0]))

    def sender(self, bundle: Resource) -> Names:
        return self.look(bundle, lambda _message, records: records.sender)

    def roles(self, bundle: Resource) -> set[Role]:
        """The sender's roles towards the Task in focus: as it is kept, else as it is sent."""

        def roles(message: Message, records: Records) -> set[Role]:
            entry = message.focus("Task")[0]
            return {*records.roles(records.find(entry) or entry)}

        return self.look(bundle, roles)


@pytest.fixture
def gateway(database: Database) -> Gateway:
    return Gateway(database, HOSPITAL, PHARMACY, CLINIC)


@pytest.fixture
def open_gateway(database: Database) -> Gateway:
    """One that has no partners registered."""
    return Gateway(database)


CONTAINED = {"sender": {"reference": "#o"}, "contained": [organization("X") | {"id": "o"}]}
ROLE = {
    "resourceType": "PractitionerRole",
    "_url": "urn:uuid:r",
    "organization": {"reference": "urn:uuid:o"},
    "practitioner": {"reference": "urn:uuid:p"},
}
DOCTOR = {"resourceType": "Practitioner", "_url": "urn:uuid:p", "identifier": by("DR")}


@pytest.mark.parametrize(
    ("header", "others", "known_as"),
    [
        ({}, (), set()),
        ({"sender": {"display": "Stranger"}}, (), set()),
        ({"sender": named("X")}, (), {"urn:org|X"}),
        ({"sender": {"reference": "urn:uuid:o"}}, (organization("X", "Y"),), {"urn:org|X", "urn:org|Y"}),
        ({"sender": {"reference": "urn:uuid:p"}}, (DOCTOR,), {"urn:org|DR"}),
        ({"sender": {"reference": "urn:uuid:r"}}, (ROLE, DOCTOR, organization("X")), {"urn:org|X"}),
        ({"sender": {"reference": "urn:uuid:r"}}, (ROLE, DOCTOR), {"urn:org|DR"}),
        (CONTAINED, (), {"urn:org|X"}),
        ({"sender": {"reference": "http://a.example/Organization/1"}}, (), {"http://a.example/Organization/1"}),
        (
            {"sender": {"reference": "http://a.example/Organization/1/_history/2"}},
            (),
            {"http://a.example/Organization/1"},
        ),
        ({"sender": {"reference": "urn:uuid:x"}}, (), set()),
        ({"sender": {"identifier": {"value": "X"}}}, (), set()),
        ({"sender": {"identifier": {"system": "urn:x-fhir-gateway:a", "value": "X"}}}, (), set()),
        ({"sender": {"reference": 7, "identifier": ["X"]}}, (), set()),
        ({"sender": "X"}, (), set()),
    ],
)
def test_a_sender_is_known_by_its_endpoint_and_by_what_it_says(
    gateway: Gateway, header: Resource, others: tuple[Resource, ...], known_as: set[str]
) -> None:
    bundle = FROM_STRANGER.write("x", order(), others=others, **header)
    assert gateway.sender(bundle) == {FROM_STRANGER.endpoint} | known_as


@pytest.mark.parametrize("sender", [None, {"sender": named("P")}, {"sender": named("DR-7")}])
def test_a_partner_is_known_by_what_is_registered_and_nothing_else(gateway: Gateway, sender: Resource | None) -> None:
    assert gateway.sender(FROM_PHARMACY.write("x", order(), **(sender or {}))) == PHARMACY.names


def test_a_partner_without_endpoints_is_known_by_its_identifiers(gateway: Gateway) -> None:
    assert gateway.sender(FROM_STRANGER.write("x", order(), sender=named("C"))) == CLINIC.names


@pytest.mark.parametrize(
    ("sender", "claimed"),
    [(FROM_STRANGER, "P"), (FROM_HOSPITAL, "P"), (FROM_HOSPITAL, "C"), (Sender("urn:other:P"), "H")],
)
def test_nobody_says_that_it_is_a_partner_whose_messages_come_from_elsewhere(
    gateway: Gateway, sender: Sender, claimed: str
) -> None:
    with pytest.raises(Refused) as refused:
        gateway.sender(sender.write("x", order(), sender=named(claimed)))
    [issue] = refused.value.issues
    assert (issue.code, issue.expression) == ("forbidden", "Bundle.entry[0].resource.sender")
    assert sender.endpoint in issue.text


@pytest.mark.parametrize("sender", [FROM_HOSPITAL, FROM_STRANGER])
@pytest.mark.parametrize("values", [("X", "P"), ("P", "X"), ("H", "P"), ("C", "P")])
def test_an_organisation_with_anothers_identifier_beside_its_own_is_nobody_else(
    gateway: Gateway, sender: Sender, values: tuple[str, str]
) -> None:
    bundle = sender.write("x", order(), others=(organization(*values),), sender={"reference": "urn:uuid:o"})
    with pytest.raises(Refused):
        gateway.sender(bundle)


def test_a_role_in_anothers_organisation_is_not_the_others(gateway: Gateway) -> None:
    others = (ROLE, DOCTOR, organization("P"))
    with pytest.raises(Refused):
        gateway.sender(FROM_STRANGER.write("x", order(), others=others, sender={"reference": "urn:uuid:r"}))


def test_the_gateways_own_messages_say_for_whom_they_are(gateway: Gateway) -> None:
    assert gateway.sender(Sender("urn:x-fhir-gateway:party").write("x", order(), sender=named("P"))) == PHARMACY.names


@pytest.mark.parametrize("endpoint", ["urn:org|P", "Organization/1"])
def test_an_endpoint_that_looks_like_another_name_is_none(gateway: Gateway, endpoint: str) -> None:
    assert gateway.sender(Sender(endpoint).write("x", order())) == set()


@pytest.mark.parametrize(
    ("owner", "others"),
    [
        (named("P"), ()),
        ({"identifier": {"system": "urn:old", "value": "7"}}, ()),
        ({"reference": "urn:uuid:o"}, (organization("P"),)),
        ({"reference": "urn:uuid:o"}, (organization("X", "P"),)),
        ({"reference": "urn:uuid:r"}, (ROLE, DOCTOR, organization("P"))),
        ({"reference": "#o"}, ()),
        ({"reference": "http://hospital.example/fhir/Organization/9"}, ()),
    ],
)
def test_the_owner_of_an_order_is_its_fulfiller_however_it_is_named(
    gateway: Gateway, owner: Resource, others: tuple[Resource, ...]
) -> None:
    known = organization("P", url="http://hospital.example/fhir/Organization/9")
    before = task("0", owner={"reference": known["_url"]})
    gateway.keep(FROM_HOSPITAL.write("x", before, others=(known,)))
    contained = {"contained": [organization("P") | {"id": "o"}]} if owner.get("reference") == "#o" else {}
    bundle = FROM_HOSPITAL.write("x", order(owner=owner, **contained), others=others)
    assert gateway.roles(bundle) == {Role.PLACER, Role.CREATOR}
    gateway.keep(bundle)
    assert gateway.roles(FROM_PHARMACY.write("x", task("1"))) == {Role.FULFILLER}
    assert gateway.roles(FROM_HOSPITAL.write("x", task("1"))) == {Role.PLACER, Role.CREATOR}
    assert gateway.roles(FROM_STRANGER.write("x", task("1"))) == set()


@pytest.mark.parametrize(
    "owner", [{"display": "The pharmacy"}, {"reference": "urn:uuid:x"}, {"identifier": {"value": "P"}}]
)
def test_an_owner_that_nobody_can_be_recognised_by_is_nobody(gateway: Gateway, owner: Resource) -> None:
    gateway.keep(FROM_HOSPITAL.write("x", order(owner=owner)))
    for sender in (FROM_PHARMACY, FROM_STRANGER):
        assert gateway.roles(sender.write("x", task("1"), sender={"display": "The pharmacy"})) == set()


@pytest.mark.parametrize("owner", [{"display": "The pharmacy"}, {"reference": "urn:uuid:x"}, named("P")])
def test_an_owner_that_is_named_by_nothing_that_is_known_is_told_from_one_that_is(
    gateway: Gateway, owner: Resource
) -> None:
    def names_nobody(message: Message, records: Records) -> list[bool]:
        entry = message.focus()[0]
        return [records.parties.names_nobody(one, "owner") for one in (entry, records.keep(entry))]

    is_known = "identifier" in owner
    assert gateway.look(FROM_HOSPITAL.write("x", order(owner=owner)), names_nobody) == [not is_known] * 2


def test_an_order_without_an_owner_names_not_nobody(gateway: Gateway) -> None:
    bundle = FROM_HOSPITAL.write("x", task("1", requester=named("H")))
    assert not gateway.look(bundle, lambda message, records: records.parties.names_nobody(message.focus()[0], "owner"))


def test_of_an_order_without_an_owner_everybody_else_is_a_candidate(gateway: Gateway) -> None:
    gateway.keep(FROM_HOSPITAL.write("x", task("1", requester=named("H"))))
    assert gateway.roles(FROM_PHARMACY.write("x", task("1"))) == {Role.CANDIDATE}
    assert gateway.roles(FROM_HOSPITAL.write("x", task("1"))) == {Role.PLACER, Role.CREATOR}


def test_who_places_an_order_with_itself_is_its_fulfiller_too(gateway: Gateway) -> None:
    bundle = FROM_HOSPITAL.write("x", order(owner=named("H")))
    assert gateway.roles(bundle) == {Role.PLACER, Role.FULFILLER, Role.CREATOR}


def test_who_makes_an_order_for_another_partner_is_not_its_placer(gateway: Gateway) -> None:
    bundle = FROM_PHARMACY.write("x", task("1", requester=named("H")))
    assert gateway.roles(bundle) == {Role.CREATOR, Role.CANDIDATE}


def test_who_makes_an_order_is_its_placer_though_its_doctor_requests_it(gateway: Gateway) -> None:
    bundle = FROM_STRANGER.write("x", order(requester={"reference": "urn:uuid:p"}), others=(DOCTOR,))
    assert gateway.roles(bundle) == {Role.PLACER, Role.CREATOR}


def test_a_partner_is_one_creator_whichever_endpoint_and_doctor_it_writes_by(gateway: Gateway) -> None:
    gateway.keep(FROM_HOSPITAL.write("x", order(requester=named("DR-1")), sender=named("DR-1")))
    assert gateway.roles(FROM_WARD.write("x", task("1"), sender=named("DR-2"))) == {Role.PLACER, Role.CREATOR}


def test_who_is_named_as_two_partners_is_neither(gateway: Gateway) -> None:
    both = (organization("P", "H"),)
    gateway.keep(FROM_HOSPITAL.write("x", order(owner={"reference": "urn:uuid:o"}), others=both))
    assert gateway.roles(FROM_PHARMACY.write("x", task("1"))) == set()
    assert Role.FULFILLER not in gateway.roles(FROM_HOSPITAL.write("x", task("1")))


def test_a_partners_organisation_does_not_make_an_owner_of_who_else_is_in_it(gateway: Gateway) -> None:
    owner = {"reference": "urn:uuid:o"}
    gateway.keep(FROM_STRANGER.write("x", task("0", owner=owner), others=(organization("P", "X"),)))
    gateway.keep(FROM_HOSPITAL.write("x", order(owner=owner), others=(organization("P"),)))
    assert gateway.roles(FROM_STRANGER.write("x", task("1"), sender=named("X"))) == set()
    assert gateway.roles(FROM_PHARMACY.write("x", task("1"))) == {Role.FULFILLER}


def test_a_copy_of_anothers_organisation_changes_nothing_about_who_has_an_order(open_gateway: Gateway) -> None:
    bundle = FROM_HOSPITAL.write("x", order(owner={"reference": "urn:uuid:o"}), others=(organization("P"),))
    open_gateway.keep(bundle)
    forged = (organization("P", "X"),)
    message = FROM_STRANGER.write("x", order(owner={"reference": "urn:uuid:o"}), others=forged, sender=named("X"))
    assert open_gateway.roles(message) == set()
    part = task("2", requester={"reference": "urn:uuid:o"})
    open_gateway.keep(FROM_STRANGER.write("x", part, others=forged, sender=named("X")))
    assert open_gateway.roles(FROM_STRANGER.write("x", task("1"), sender=named("X"))) == set()
    assert open_gateway.roles(Sender("http://p.example").write("x", task("1"), sender=named("P"))) == {Role.FULFILLER}


def test_what_a_message_writes_of_an_owner_does_not_decide_who_its_sender_is(open_gateway: Gateway) -> None:
    bundle = FROM_HOSPITAL.write("x", order(owner={"reference": "urn:uuid:o"}), others=(organization("P"),))
    open_gateway.keep(bundle)
    written = FROM_HOSPITAL.write(
        "x", order(owner={"reference": "urn:uuid:o"}), others=(organization("P", "H"),), sender=named("H")
    )

    def roles_after(message: Message, records: Records) -> set[Role]:
        entry = message.focus("Task")[0]
        known = records.find(entry)
        assert known is not None
        records.keep(entry)
        return {*records.roles(known)}

    assert Role.FULFILLER not in open_gateway.look(written, roles_after)


def test_an_owner_is_named_by_what_is_registered_when_the_gateway_names_it(gateway: Gateway) -> None:
    bundle = FROM_PHARMACY.write("x", order(), sender=named("DR-7"))
    reference = gateway.look(bundle, lambda _message, records: records.parties.sender_reference)
    assert reference == named("P") | {"display": "Pharmacy"}


def test_a_sender_that_is_no_partner_is_named_by_its_identifier_if_it_has_one(gateway: Gateway) -> None:
    looks = [
        gateway.look(FROM_STRANGER.write("x", order(), **header), lambda _m, records: records.parties.sender_reference)
        for header in ({"sender": named("X")}, {})
    ]
    assert looks == [named("X"), None]


def test_two_endpoints_of_one_partner_are_one_sender(database: Database) -> None:
    gateway = Gateway(database, replace(HOSPITAL, identifiers=("urn:org|H",)))
    assert gateway.sender(FROM_WARD.write("x", order())) == gateway.sender(FROM_HOSPITAL.write("x", order()))
