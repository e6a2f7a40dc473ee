"""Who is told: three partners, and what each sends from."""

from __future__ import annotations

from gateway.fhir.references import Resource
from gateway.partners import Partner, Subscription
from tests.senders import Sender

HOSPITAL = Partner("Hospital", ("urn:org|H",), ("http://hospital.example/fhir",))
PHARMACY = Partner("Pharmacy", ("urn:org|P",), ("http://pharmacy.example/fhir",))
OTHER = Partner("Other pharmacy", ("urn:org|Q",), ("http://other.example/fhir",))
SUBSCRIPTION = Subscription("https://pharmacy.example/Subscription/7", "http://topics.example/tasks")
FROM_HOSPITAL, FROM_PHARMACY, FROM_OTHER = (Sender(one.endpoints[0]) for one in (HOSPITAL, PHARMACY, OTHER))


def named(partner: Partner) -> Resource:
    system, _, value = partner.identifiers[0].partition("|")
    return {"identifier": {"system": system, "value": value}}
