"""Played partners: what goes wrong with them does, what they say is understood, and in the end nothing is missing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from gateway.cli.simulate import simulate
from gateway.fhir import dialects
from gateway.fhir.dialects import Manner
from gateway.fhir.message import read_message
from gateway.fhir.task.elements import request_code, status_of
from gateway.simulator import FaultError, Faults, Fulfiller, Part, Placer, Plan, Received, Receiver, templates
from gateway.simulator.calling import Gateway
from gateway.simulator.reading import dialects as played
from gateway.simulator.reading import find_word, read_words
from gateway.simulator.templates import TemplateError
from gateway.transport import Answer, Target, Transport
from tests import live
from tests.services import eventually, free_port

ORGANIZATIONS = "http://registry.example/identifier/organization"
HOSPITAL, PHARMACY = f"{ORGANIZATIONS}|HOSPITAL-1", f"{ORGANIZATIONS}|PHARMACY-7"
UUID = "0e1c8e60-60a5-4b0c-9d3b-6f0c1b6f8a1"

# --- what they say ---------------------------------------------------------------------------------------------------

MEANT = {
    "order": ("new-order", "requested"),
    "accepted": ("order-update", "accepted"),
    "started": ("order-update", "in-progress"),
    "completed": ("order-update", "completed"),
    "rejected": ("order-update", "rejected"),
    "cancel": ("cancellation-request", "requested"),
    "cancellation-accepted": ("cancellation-request", "accepted"),
    "cancellation-rejected": ("cancellation-request", "rejected"),
}
OTHERWISE = {("nphies", "accepted"): "received"}
SAID = [(dialect, name) for dialect in played() for name in templates.names(dialect) if name in MEANT]


def values() -> dict[str, str]:
    ids = ("bundle", "header", "heard.message", "previous", "line.value", "quoted")
    return {
        **Part("The Sender", HOSPITAL, "http://hospital.example/fhir").values("us"),
        **Part("The Receiver", PHARMACY, "http://pharmacy.example/fhir").values("them"),
        **{name: f"{UUID}{number}" for number, name in enumerate(ids)},
        "message": "1",
        "now": "2026-03-02T09:12:31+01:00",
        "gateway": "http://gateway.example/fhir/$process-message",
        "order.system": "http://hospital.example/identifier/order",
        "order.value": "ORD-1",
        "request.system": "http://hospital.example/identifier/cancellation",
        "request.value": "CXL-1",
    }


def test_every_network_can_be_played() -> None:
    assert set(played()) == {"cow", "nhs-eps", "nhs-bars", "nphies", "medcom", "ca-erec", "bser"}
    for dialect in played():
        assert {"order", "cancel"} <= {*templates.names(dialect)}


@pytest.mark.parametrize(("dialect", "name"), SAID)
def test_what_is_said_in_a_dialect_is_understood(dialect: str, name: str) -> None:
    said = templates.fill(templates.load(dialect, name), values())
    message = dialects.get(dialect).understand(read_message(said, datetime.now(UTC)), Manner(dialect, {}, HOSPITAL))
    assert message.refusal == ()
    tasks = [entry.resource for entry in message.focus() if entry.resource["resourceType"] == "Task"]
    event, status = MEANT[name]
    assert message.event.code == event
    assert {status_of(task) for task in tasks} == {OTHERWISE.get((dialect, name), status)}
    assert {request_code(task) for task in tasks} == {"abort" if event == "cancellation-request" else None}


def test_a_network_without_a_message_for_something_says_so() -> None:
    with pytest.raises(TemplateError, match=r"medcom has no message for 'completed'\. There are cancel, order"):
        templates.load("medcom", "completed")


def test_an_order_of_ones_own_is_another_one_each_time(tmp_path: Path) -> None:
    file = tmp_path / "order.json"
    file.write_bytes(orjson.dumps({"resourceType": "Task", "identifier": [{"value": "ORD-1"}]}))
    with pytest.raises(TemplateError, match="is always the same order"):
        templates.load_order(file)
    file.write_bytes(orjson.dumps({"resourceType": "Task", "identifier": [{"value": "{{order.value}}"}]}))
    filled = templates.fill(templates.load_order(file), {"order.value": "ORD-2"})
    assert filled["identifier"] == [{"value": "ORD-2"}]


@pytest.mark.parametrize(
    ("dialect", "status", "message", "outcome"),
    [
        ("ca-erec", 200, None, "cancelled"),
        ("ca-erec", 202, None, "pending"),
        ("nhs-eps", 400, "R-0003", "pending"),
        ("nhs-eps", None, "R-0003", "rejected"),
        ("nhs-eps", 200, "R-0001", "cancelled"),
        ("nhs-eps", 400, "R-0004", "too-late-completed"),
    ],
)
def test_an_outcome_is_read_in_the_words_of_the_network(
    dialect: str, status: int | None, message: str | None, outcome: str
) -> None:
    history = {"extension": [{"extension": [{"url": "status", "valueCoding": {"code": message}}]}]}
    bundle = {"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "MedicationRequest", **history}}]}
    word = find_word(read_words(dialect).outcome, bundle if message else None, status)
    assert word
    assert word.means == outcome


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_the_same_seed_has_the_same_faults() -> None:
    def drawn(seed: int, *more: str) -> list[bool]:
        faults = Faults.read(["twice=0.5", *more], seed)
        return ["twice" in faults.draw_sending() for _ in range(40)]

    assert drawn(1) == drawn(1) == drawn(1, "wrong=0.5")
    assert drawn(1) != drawn(2)


def test_a_script_says_when() -> None:
    faults = Faults.read(["status-503=@1-2+4", "retry-after=3"])
    assert [faults.draw_answering().status for _ in range(5)] == [503, 503, None, 503, None]
    assert faults.retry_after == 3


@pytest.mark.parametrize("written", ["slow=1", "drop=2", "late=soon", "twice=@0", "status-200=0.1", "drop=@1-", ""])
def test_a_fault_that_there_is_not_ends_with_a_sentence(written: str) -> None:
    with pytest.raises(FaultError, match=r"write|There are|how often"):
        Faults.read([written])


@pytest.mark.parametrize(
    ("fault", "outcome", "takes"),
    [
        ("status-500", "failed", False),
        ("status-400", "refused", False),
        ("status-429", "busy", False),
        ("garbage", "failed", True),
        ("half", "unreachable", True),
        ("drop", "unreachable", False),
    ],
)
def test_a_receiver_answers_wrongly_and_then_rightly(fault: str, outcome: str, takes: bool) -> None:
    with Receiver(Faults.read([f"{fault}=@1", "retry-after=3"])) as receiver:
        transport = Transport(user_agent="test")
        target = Target(receiver.url, loopback=True)

        def post(bundle_id: str) -> Answer:
            return transport.post(target, orjson.dumps({"resourceType": "Bundle", "id": bundle_id}), "application/json")

        first, second = post("1"), post("1")
        assert (first.outcome, second.outcome) == (outcome, "delivered")
        assert first.retry_after == (3 if fault == "status-429" else None)
        assert post("2").outcome == "delivered"
        transport.close()
        assert [one.bundle_id for one in receiver.received] == ["1", "1", "2"]
        assert [one.is_taken for one in receiver.received] == [takes, True, True]
        assert [one.bundle_id for one in receiver.taken()] == ["1", "2"]


def test_a_wrong_answer_quotes_another_message() -> None:
    fulfiller = Fulfiller(Part("Pharmacy", PHARMACY, "urn:p"), Gateway("http://127.0.0.1:1/fhir", PHARMACY))
    told = templates.fill(templates.load("cow", "order"), values())
    received = Received("/", {"content-type": "application/fhir+json"}, orjson.dumps(told), is_taken=True)
    quoted = [
        orjson.loads(fulfiller.answer(received, is_wrong).body)["entry"][0]["resource"]["response"]["identifier"]
        for is_wrong in (False, True)
    ]
    fulfiller.close()
    assert quoted[0] == values()["header"] != quoted[1]


# --- with a gateway --------------------------------------------------------------------------------------------------


class Network:
    """A gateway, and addresses that its partners are registered with."""

    def __init__(self, gateway: live.Gateway, ports: dict[str, int]) -> None:
        self.gateway = gateway
        self.base = f"{gateway.url}/fhir"
        self.ports = ports

    def partner(self, kind: Any, part: Part, receiver: Receiver, stack: ExitStack, **options: Any) -> Any:
        """Plays a partner, as long as the stack is open; what it does is printed with a test that fails."""
        gateway = Gateway(self.base, part.identifier)
        played = kind(
            part, gateway, receiver.faults, log=lambda line: print(f"{time.monotonic():.2f}", line), **options
        )
        receiver.hear, receiver.answer = played.hear, played.answer
        stack.enter_context(receiver)
        stack.callback(played.close)
        return played

    def receiver(self, name: str, *faults: str) -> Receiver:
        return Receiver(Faults.read(faults, seed=7), port=self.ports[name])


PARTNERS = {
    "HOSPITAL-1": "cow",
    "PHARMACY-7": "cow",
    "SURGERY-2": "nhs-eps",
}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    directory = tmp_path_factory.mktemp("simulator")
    ports = {name: free_port() for name in PARTNERS}
    told = "".join(
        f'[[partner]]\nname = "{name}"\nidentifiers = ["{ORGANIZATIONS}|{name}"]\ndialect = "{dialect}"\n'
        f'endpoints = ["http://127.0.0.1:{ports[name]}/fhir/$process-message"]\n'
        for name, dialect in PARTNERS.items()
    )
    (directory / "partners.toml").write_text(told)
    settings = {"partners": [str(directory / "partners.toml")], "delivery_schedule": [0.2] * 20}
    with live.gateway(directory / "var", worker_processes=1, **settings) as gateway:
        yield Network(gateway, ports)


def test_whatever_both_do_wrong_every_order_and_every_cancellation_is_accounted_for(network: Network) -> None:
    sending = ("twice=0.4", "wrong=0.4", "late=0.01,0.3")
    pharmacy = network.receiver("PHARMACY-7", *sending, "status-500=@2", "drop=@4", "half=@6", "garbage=@8")
    hospital = network.receiver("HOSPITAL-1", *sending, "out-of-order=@2", "status-503=@3", "half=@5")
    with ExitStack() as stack:
        part = Part("PHARMACY-7", PHARMACY, pharmacy.url)
        fulfiller = network.partner(Fulfiller, part, pharmacy, stack)
        plan = Plan(part, orders=6, update=0.5, cancel=0.5, hears=True, until="completed")
        part = Part("HOSPITAL-1", HOSPITAL, hospital.url)
        placer = network.partner(Placer, part, hospital, stack, plan=plan, seed=3)
        placer.place()
        assert placer.wait(40), [placer.report(), network.gateway.last_lines()]
        eventually(lambda: {*fulfiller.orders} == {*placer.orders})
        assert fulfiller.agenda.wait(20)
    assert [order.code for order in placer.orders.values()] == ["ok"] * 6
    assert {order.is_cancelled for order in placer.orders.values()} == {True, False}
    assert placer.report()[-2] == "missing: none"
    assert placer.tally["sent out of order"] == 1
    assert fulfiller.tally["told again"] > 0
    assert fulfiller.tally["sent twice"] > 0
    assert fulfiller.tally["sent wrongly"] > 0
    assert not any("otherwise" in what for what in (*placer.tally, *fulfiller.tally))


def test_a_placer_of_another_network_understands_what_became_of_its_cancellations(network: Network) -> None:
    with ExitStack() as stack:
        pharmacy, surgery = network.receiver("PHARMACY-7"), network.receiver("SURGERY-2")
        part = Part("PHARMACY-7", PHARMACY, pharmacy.url)
        fulfiller = network.partner(Fulfiller, part, pharmacy, stack, conduct="start", cancel="accept")
        own = Part("SURGERY-2", f"{ORGANIZATIONS}|SURGERY-2", surgery.url, "nhs-eps")
        plan = Plan(part, orders=1, cancel=1.0, cancel_after=1.5, hears=True)
        placer = network.partner(Placer, own, surgery, stack, plan=plan)
        placer.place()
        assert placer.wait(40), [placer.report(), network.gateway.last_lines()]
        fulfiller.agenda.wait(20)
    [order] = placer.orders.values()
    assert order.outcome
    assert (order.outcome.word, order.outcome.means) == ("R-0001", "cancelled")


@pytest.mark.parametrize(("arguments", "status"), [((), 0), (("--until", "completed", "--wait", "1"), 1)])
def test_the_exit_status_says_whether_anything_is_missing(
    network: Network, arguments: tuple[str, ...], status: int
) -> None:
    listen = f"127.0.0.1:{network.ports['HOSPITAL-1']}"
    command = ["placer", "--gateway", network.base, "--listen", listen, "--orders", "2", "--quiet", *arguments]
    with network.receiver("PHARMACY-7"):
        result = CliRunner().invoke(simulate, command)
    assert result.exit_code == status, result.output
    missing = "not told that it is completed 2" if status else "none"
    assert "answered: ok 2\n" in result.output
    assert f"missing: {missing}\n" in result.output


def test_what_cannot_be_played_is_said_before_anything_is_sent() -> None:
    for command, sentence in (
        (["fulfiller"], "say --listen HOST:PORT or --poll SECONDS"),
        (["fulfiller", "--poll", "1", "--dialect", "medcom"], "medcom has no message for 'completed'"),
        (["placer", "--fault", "slow=1"], "there is no fault 'slow'"),
        (["placer", "--until", "completed"], "It can be told nothing"),
        (["placer", "--listen", "9001x"], "write HOST:PORT"),
        (["placer", "--client-id", "x"], "--key-file"),
    ):
        result = CliRunner().invoke(simulate, command)
        assert result.exit_code == 2, result.output
        assert sentence in " ".join(result.output.split())
