"""Where the gateway may call: nobody gets it to call where it should not by any spelling, name, or change of a name."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from gateway.transport import Answer, Target, Transport, check_address
from gateway.transport.addresses import Resolver, resolve, wrong_with
from tests.transport.receivers import LOCALHOST, receiver

LOOPBACK = (
    "127.0.0.1",
    "127.9.9.9",
    "127.1",
    "127.0.0.1.",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "017700000001",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[0:0:0:0:0:ffff:7f00:1]",
    "127。0。0。1",
    "localhost",
    "LOCALHOST.",
    "a.localhost",
)
NEVER = (
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "169.254.170.2",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "[fd00:ec2::254]",
    "[fd20:ce::254]",
    "[fd00:42::42]",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "[::169.254.169.254]",
    "[fe80::1]",
    "0.0.0.0",
    "0",
    "[::]",
    "224.0.0.1",
    "255.255.255.255",
    "[ff02::1]",
)
PRIVATE = (
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "198.18.0.1",
    "192.0.2.1",
    "240.0.0.1",
    "fd12::1",
    "fec0::1",
    "::ffff:10.0.0.1",
    "::10.0.0.1",
    "64:ff9b::a00:1",
    "64:ff9b:1::1",
    "2002:a00:1::1",
    "2001:0:808:808::1",
    "2001:db8::1",
)
PUBLIC = ("9.9.9.9", "2620:fe::fe", "::ffff:9.9.9.9", "64:ff9b::909:909", "2002:909:909::1")
EVERYTHING = ("0.0.0.0/0", "::/0")


def called(resolver: Resolver, target: Target) -> Answer:
    with closing(Transport(user_agent="test", resolver=resolver)) as transport:
        return transport.post(target, b"{}", "application/fhir+json")


@pytest.mark.parametrize("host", LOOPBACK)
def test_loopback_is_this_machine_however_it_is_spelt(host: str) -> None:
    assert check_address(f"https://{host}/fhir", (), False)
    assert check_address(f"http://{host}/fhir", (), True) is None


@pytest.mark.parametrize("host", NEVER)
def test_what_is_never_called_is_not_though_everything_is_allowed(host: str) -> None:
    assert check_address(f"https://{host}/latest/meta-data", EVERYTHING, True)


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_called_only_within_the_partners_networks(address: str) -> None:
    literal = ipaddress.ip_address(address)
    assert wrong_with(literal, "https", (), True)
    host = f"[{address}]" if ":" in address else address
    assert check_address(f"https://{host}/", (), True)
    assert check_address(f"http://{host}/", EVERYTHING, False) is None


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_called_with_tls_only(address: str) -> None:
    assert wrong_with(ipaddress.ip_address(address), "https", (), False) is None
    assert wrong_with(ipaddress.ip_address(address), "http", (), True)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "partner.example",
        "//partner.example/",
        "ftp://partner.example/",
        "file:///etc/passwd",
        "gopher://partner.example/",
        "https://",
        "https:partner.example",
        " https://partner.example/",
        "https://user@partner.example/",
        "https://user:secret@partner.example/",
        "https://@partner.example/",
        "https://partner.example:0/",
        "https://partner.example:65536/",
        "https://partner.example:a/",
        "https://partner example/",
        "https://partner.example\n/",
        "https://%31%30.0.0.1/",
        "https://[fe80::1%25eth0]/",
        "https://[fe80::1%eth0]/",
        "https://[::1/",
        "https://ⓛocalhost/",
        f"https://{'a.' * 40000}example/",
        "http://partner.example/",
    ],
)
def test_what_is_no_address_to_call_is_told_without_its_secrets(url: str) -> None:
    wrong = check_address(url, (), False)
    assert wrong
    assert wrong.endswith(".")
    assert "secret" not in wrong
    assert called(lambda host, port: [LOCALHOST], Target(url)).outcome == "forbidden"


def test_an_address_to_call() -> None:
    assert check_address("https://partner.example:8443/fhir/$process-message?a=b", (), False) is None
    assert check_address("https://bücher.example/", (), False) is None
    assert check_address("http://partner.internal/", ("10.3.0.0/16",), False) is None
    assert check_address("http://10.3.7.7/", ("10.3.0.0/16",), False) is None
    assert check_address("http://10.4.7.7/", ("10.3.0.0/16",), False)


def test_a_network_that_is_none_is_told() -> None:
    assert "10.3.0.1/16" in (check_address("https://partner.example/", ("10.3.0.1/16",), False) or "")
    assert called(resolve, Target("https://partner.example/", networks=("10.3.0.1/16",))).outcome == "forbidden"


@pytest.mark.parametrize("found", [[LOCALHOST], ["9.9.9.9", "10.0.0.1"], ["::1", "9.9.9.9"], ["169.254.169.254"]])
def test_a_name_is_not_called_if_one_of_its_addresses_may_not_be(found: Sequence[str]) -> None:
    answer = called(lambda host, port: found, Target("https://partner.example/"))
    assert (answer.outcome, answer.status) == ("forbidden", None)


def test_what_is_forbidden_is_not_connected_to() -> None:
    with receiver() as server:
        for name in (None, "partner.example", "localhost", "2130706433"):
            target = server.target(name=name, loopback=False)
            assert called(lambda host, port: [LOCALHOST], target).outcome == "forbidden"
        assert server.requests == []


@pytest.mark.parametrize("options", [{"loopback": True}, {"loopback": False, "networks": ("127.0.0.0/8",)}])
def test_what_is_allowed_is_called(options: dict[str, object]) -> None:
    with receiver() as server:
        assert called(resolve, server.target(**options)).outcome == "delivered"
        assert called(resolve, server.target(name="2130706433", **options)).outcome == "delivered"


def test_a_name_that_changes_between_check_and_use_is_harmless() -> None:
    answers = iter([[LOCALHOST], ["10.0.0.1"]])
    with receiver() as server:
        target = server.target(name="partner.example")
        assert called(lambda host, port: next(answers), target).outcome == "delivered"
        assert called(lambda host, port: next(answers), target).outcome == "forbidden"
        assert next(answers, None) is None, "it is looked up once for a connection"
        assert [request.headers["host"] for request in server.requests] == [f"partner.example:{server.server_port}"]


def test_a_connection_that_one_partner_may_have_is_not_anothers() -> None:
    with (
        receiver() as server,
        closing(Transport(user_agent="test", resolver=lambda host, port: [LOCALHOST])) as transport,
    ):
        networks = {"networks": ("10.3.0.0/16",)}
        assert transport.get(server.target(name="partner.example", **networks)).outcome == "delivered"
        answer = transport.get(server.target(name="partner.example", loopback=False, **networks))
        assert answer.outcome == "forbidden"
        assert transport.get(server.target(name="partner.example")).outcome == "delivered"
        assert len({request.connection for request in server.requests}) == 2


def test_the_next_address_is_tried_where_one_does_not_answer() -> None:
    with receiver() as server:
        assert (
            called(lambda host, port: ["127.0.0.9", LOCALHOST], server.target(name="a.example")).outcome == "delivered"
        )


def no_such_name(host: str, port: int) -> Sequence[str]:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.mark.parametrize("resolver", [no_such_name, lambda host, port: [], lambda host, port: ["9.9.9.9"] * 2 + ["?"]])
def test_a_name_without_addresses_is_unreachable(resolver: Resolver) -> None:
    answer = called(resolver, Target("https://partner.example/?secret"))
    assert (answer.outcome, answer.detail) == (
        "unreachable",
        "POST https://partner.example/: the name partner.example has no address.",
    )


def test_a_label_that_is_too_long_is_no_name() -> None:
    assert called(resolve, Target(f"https://{'a' * 64}.example/")).outcome in {"forbidden", "unreachable"}


def test_a_name_that_is_not_resolved_in_time_costs_no_more_than_the_time_and_one_look_up() -> None:
    release, asked = threading.Event(), []

    def stuck(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        release.wait(60)
        return [LOCALHOST]

    with closing(Transport(user_agent="test", resolver=stuck)) as transport, ThreadPoolExecutor() as threads:
        target = Target("https://partner.example/", timeout=0.3)
        answers = [*threads.map(lambda _: transport.get(target), range(3))]
        release.set()
    assert {answer.outcome for answer in answers} == {"unreachable"}
    assert asked == ["partner.example"]
