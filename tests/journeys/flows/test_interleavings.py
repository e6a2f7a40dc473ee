"""Whatever two parties send, in whatever order, and a third beside them: what must be so of orders is so.

After each message: one history; an order and the requests about it do not contradict each other; what is sent again has
no effect; every refusal is explained, changes nothing and tells nobody (`network` sees to the last).
"""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.fhir.references import Resource
from gateway.store.database import upgrade
from gateway.store.schema import message, outbox, resource_version
from tests.journeys.flows.network import Effect, Named, Network
from tests.journeys.flows.parties import Party
from tests.journeys.flows.test_state_space import MOVES, STATUSES

FINAL = {"rejected", "cancelled", "failed", "completed", "entered-in-error"}
OPEN = {"requested", "received"}
REQUEST_STATUSES = ("requested", "received", "accepted", "rejected", "cancelled", "completed", "entered-in-error")
BY_ANY = {(old, new) for moves in MOVES.values() for old, following in moves.items() for new in following}
ON_REQUEST = {(old, "cancelled") for old in ("in-progress", "on-hold")}


class TwoPartiesAndAThird(RuleBasedStateMachine):
    """The hospital places orders with the laboratory; an outsider tries what they do."""

    orders: Bundle[Named] = Bundle("orders")
    requests: Bundle[Named] = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        url = f"sqlite:///{Path(self._directory.name) / 'gateway.db'}"
        upgrade(url)
        self._network = Recording(url)
        self._parties: dict[str, Party] = {}
        self._placed: list[Named] = []
        self._about: dict[Named, tuple[Named, str]] = {}

    @initialize()
    def meet(self) -> None:
        self._parties = {n: Party(self._network, n) for n in ("hospital", "laboratory", "outsider")}

    @precondition(lambda self: len(self._placed) < 2)
    @rule(target=orders, is_begun=st.booleans())
    def place(self, is_begun: bool) -> Named:
        hospital, laboratory = self._parties["hospital"], self._parties["laboratory"]
        patient = hospital.writes("Patient")
        request = hospital.writes("ServiceRequest", status="active", intent="order", subject=patient)
        order = hospital.orders(request, of=laboratory)
        assert hospital.places(order).code == "ok"
        for status in ("accepted", "in-progress") if is_begun else ():
            assert laboratory.updates(order, status).code == "ok"
        self._placed.append(order)
        return order

    @rule(order=orders, name=st.sampled_from(("hospital", "laboratory", "outsider")), status=st.sampled_from(STATUSES))
    def move(self, order: Named, name: str, status: str) -> None:
        self._parties[name].updates(order, status)

    @rule(order=orders, chance=st.randoms(use_true_random=False))
    def work(self, order: Named, chance: Any) -> None:
        """The laboratory goes on as it may."""
        if ahead := sorted(MOVES["laboratory"].get(order.status, ())):
            assert self._parties["laboratory"].updates(order, chance.choice(ahead)).code == "ok"

    @rule(
        target=requests,
        order=orders,
        name=st.sampled_from(("hospital", "hospital", "hospital", "laboratory", "outsider")),
        code=st.sampled_from(("abort", "abort", "suspend", "resume")),
    )
    def ask(self, order: Named, name: str, code: str) -> Named:
        asker, asked = self._parties[name], self._parties["hospital" if name == "laboratory" else "laboratory"]
        request = asker.request(code, order, of=asked, reason="It is better so")
        asker.asks(request)
        self._about[request] = order, code
        return request

    @rule(request=requests, status=st.sampled_from(("accepted", "rejected")))
    def decide(self, request: Named, status: str) -> None:
        if request.is_kept:
            self._parties["laboratory"].updates(request, status)

    @rule(
        request=requests,
        name=st.sampled_from(("hospital", "laboratory", "outsider")),
        status=st.sampled_from(REQUEST_STATUSES),
    )
    def answer(self, request: Named, name: str, status: str) -> None:
        if request.is_kept:
            self._parties[name].updates(request, status, statusReason={"text": "So it is"})

    @rule(chance=st.randoms(use_true_random=False))
    def send_again(self, chance: Any) -> None:
        """The same message once more: the same answer, and nothing new."""
        if self._network.sent:
            bundle, reply = chance.choice(self._network.sent)
            before = self._network.rows()
            assert self._network.answer_again(bundle) == reply
            assert self._network.rows() == before

    @invariant()
    def every_order_has_one_lawful_history(self) -> None:
        for order in self._placed:
            statuses = [status for status, _ in order.history]
            for old, new in pairwise(statuses):
                assert old == new or new == "entered-in-error" or (old, new) in BY_ANY | ON_REQUEST, statuses
                assert old != "entered-in-error"

    @invariant()
    def no_request_contradicts_its_order(self) -> None:
        for request, (order, code) in self._about.items():
            if not request.is_kept:
                continue
            assert not (request.status in OPEN and order.status in FINAL), (code, request.status, order.status)
            if code == "abort" and request.status == "completed":
                assert order.status in ("cancelled", "entered-in-error")
            if code == "abort" and order.status == "completed":
                assert request.status in ("rejected", "cancelled", "entered-in-error")

    @invariant()
    def an_order_has_one_open_request_of_a_kind(self) -> None:
        asked = [(about, code) for r, (about, code) in self._about.items() if r.is_kept and r.status in OPEN]
        assert len(asked) == len({*asked})

    def teardown(self) -> None:
        self._network.close()
        self._directory.cleanup()


class Recording(Network):
    """A network that remembers what was sent and what was answered."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.sent: list[tuple[Resource, Resource]] = []

    def answer_again(self, bundle: Resource) -> Resource:
        return self._gateway.send(bundle).bundle

    def rows(self) -> list[int]:
        """How many versions, entries of the outbox and messages there are."""
        with self._engine.connect() as connection:
            tables = (resource_version, outbox, message)
            return [connection.execute(sa.select(sa.func.count()).select_from(one)).scalar_one() for one in tables]

    def send(self, bundle: Resource) -> Effect:
        effect = super().send(bundle)
        self.sent.append((bundle, self.answer_again(bundle)))
        return effect


TestInterleavings = TwoPartiesAndAThird.TestCase
TestInterleavings.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
