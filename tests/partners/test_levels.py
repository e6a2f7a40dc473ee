"""What a partner's messages may break is its own affair: its levels hold where its messages are processed."""

from __future__ import annotations

from dataclasses import replace

from gateway.partners import Partners
from gateway.terms import Terms
from tests.handlers import Gateway
from tests.orders import HOSPITAL, Order
from tests.terms import TERMS


def test_what_is_registered_for_a_partner_decides_of_its_messages(database_url: str) -> None:
    [hospital] = [partner for partner in TERMS.partners.partners if HOSPITAL[1] in partner.endpoints]
    pedantic = replace(hospital, checking=(("dom-6", "refuse"),))
    codes = []
    for terms in (TERMS, Terms(TERMS.policy, Partners((pedantic,)))):
        gateway = Gateway(database_url, terms)
        codes.append(gateway.send(Order().new_order()).code)
        gateway.close()
    assert codes == ["ok", "fatal-error"]
