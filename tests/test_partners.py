"""The partners that a site registers: read from TOML, each fault in a sentence, all of them at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.cli import programs
from gateway.partners import Partner, Partners, Subscription, files, load
from gateway.partners.document import TABLES, defaults
from gateway.settings import SettingsError
from tests.conftest import ROOT

WHOLE = """
[[partner]]
name = "Street Pharmacy"
identifiers = ["http://registry.example/org|P-7", "urn:oid:1.2.3|P 8"]
endpoints = ["https://pharmacy.example/fhir", "urn:demo:pharmacy"]
tell = "subscription"
version = "R5"
format = "xml"
accepts_cancellation = true

[partner.subscription]
reference = "https://pharmacy.example/fhir/Subscription/7"
topic = "https://pharmacy.example/topics/tasks"
content = "full-resource"
"""
SMALL = """
[[partner]]
name = "Hospital"
identifiers = ["urn:org|H"]
endpoints = ["urn:demo:hospital"]
"""


def read(tmp_path: Path, content: str) -> Partners:
    (tmp_path / "partners.toml").write_text(content)
    return load([tmp_path])


def faults(tmp_path: Path, content: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as wrong:
        read(tmp_path, content)
    return wrong.value.sentences


def test_a_partner_has_what_is_written(tmp_path: Path) -> None:
    [partner] = read(tmp_path, WHOLE).partners
    assert partner == Partner(
        name="Street Pharmacy",
        identifiers=("http://registry.example/org|P-7", "urn:oid:1.2.3|P 8"),
        endpoints=("https://pharmacy.example/fhir", "urn:demo:pharmacy"),
        tell="subscription",
        version="R5",
        format="xml",
        accepts_cancellation=True,
        subscription=Subscription(
            "https://pharmacy.example/fhir/Subscription/7", "https://pharmacy.example/topics/tasks", "full-resource"
        ),
    )


def test_what_is_not_written_has_its_default(tmp_path: Path) -> None:
    [partner] = read(tmp_path, SMALL).partners
    assert (partner.tell, partner.version, partner.format) == ("message", "R4", "json")
    assert (partner.accepts_cancellation, partner.subscription) == (False, None)


def test_files_and_directories_are_read_and_conf_partners_may_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.toml").write_text(SMALL)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.toml").write_text(WHOLE)
    (tmp_path / "more" / "readme.txt").write_text("no TOML")
    found = load([files.OWN, tmp_path / "a.toml", tmp_path / "more"])
    assert [partner.name for partner in found.partners] == ["Hospital", "Street Pharmacy"]
    with pytest.raises(SettingsError, match="elsewhere is not there"):
        load([Path("elsewhere")])


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    content = """
    [[partner]]
    nam = "A"
    identifiers = ["A"]
    endpoints = []

    [[partner]]
    name = "B"
    identifiers = ["urn:org|B"]
    tell = "email"
    version = "R6"
    accepts_cancellation = "yes"
    """
    told = "\n".join(faults(tmp_path, content))
    for place, key in [
        ("partner 1", "nam is no key"),
        ("partner 1", "name is missing"),
        ("partner 1", "identifiers is"),
        ("partner 1", "endpoints is"),
        ("partner 2", "tell is 'email', but takes one of message, subscription, poll, nothing"),
        ("partner 2", "version is 'R6', but takes one of"),
        ("partner 2", "accepts_cancellation is 'yes', but takes true or false"),
    ]:
        assert f"partners.toml, {place}: {key}" in told


@pytest.mark.parametrize(
    "identifier",
    ["A", "|A", "urn:org|", "urn:org| ", "org|A", "urn:o rg|A", "urn:x-fhir-gateway:a|A", "urn:org|A\\nB", 7],
)
def test_an_identifier_is_a_system_and_a_value(tmp_path: Path, identifier: Any) -> None:
    written = identifier if isinstance(identifier, int) else f'"{identifier}"'
    [told] = faults(tmp_path, SMALL.replace('"urn:org|H"', str(written)))
    assert "a business identifier as system|value" in told


@pytest.mark.parametrize("endpoint", ["", "nowhere", "urn:a b", "urn:x-fhir-gateway:clock", "urn:org|H"])
def test_an_endpoint_is_an_address_and_none_of_the_gateways_own(tmp_path: Path, endpoint: str) -> None:
    [told] = faults(tmp_path, SMALL.replace("urn:demo:hospital", endpoint))
    assert "endpoints is" in told


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ('tell = "subscription"', 'tell = "message"', "it has a subscription, but tell is message"),
        ('version = "R5"', 'version = "STU3"', "STU3 has no topic-based subscriptions"),
        ('content = "full-resource"', 'content = "all"', "content is 'all', but takes one of empty, id-only"),
        ('topic = "https://pharmacy.example/topics/tasks"', "", "subscription: topic is missing"),
        ("https://pharmacy.example/fhir/Subscription/7", "a b", "the url of a Subscription, or its id"),
        ("[partner.subscription]", "[partner.abonnement]", "abonnement is no key of a partner"),
        ("[partner.subscription]", "[partner.subscriptions]", "Did you mean subscription?"),
        (
            'endpoints = ["https://pharmacy.example/fhir", "urn:demo:pharmacy"]',
            "",
            "tell is subscription, but it has no endpoints to send to",
        ),
    ],
)
def test_what_contradicts_itself_is_a_fault(tmp_path: Path, before: str, after: str, sentence: str) -> None:
    told = "\n".join(faults(tmp_path, WHOLE.replace(before, after)))
    assert sentence in told


def test_who_is_told_by_subscription_has_one(tmp_path: Path) -> None:
    [told] = faults(tmp_path, SMALL + 'tell = "subscription"')
    assert "Write [partner.subscription] with its reference and topic" in told


def test_a_subscription_that_is_no_table_is_a_fault(tmp_path: Path) -> None:
    [told] = faults(tmp_path, SMALL + "subscription = 7")
    assert "subscription is no table" in told


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ('name = "Hospital"\nidentifiers = ["urn:org|X"]', "the name Hospital is that of"),
        ('name = "X"\nidentifiers = ["urn:org|H"]', "the identifier urn:org|H is that of"),
        (
            'name = "X"\nidentifiers = ["urn:org|X"]\nendpoints = ["urn:demo:hospital"]',
            "the endpoint urn:demo:hospital is",
        ),
    ],
)
def test_what_two_partners_share_tells_neither(tmp_path: Path, other: str, sentence: str) -> None:
    nothing = "" if "endpoints" in other else '\ntell = "nothing"'
    [told] = faults(tmp_path, f"{SMALL}\n[[partner]]\n{other}{nothing}")
    assert "partner 2" in told
    assert sentence in told


@pytest.mark.parametrize("content", ["name = ", 'title = "x"', "partner = 7", "partner = [7]"])
def test_a_file_that_has_no_partners_in_it_as_they_are_written_is_a_fault(tmp_path: Path, content: str) -> None:
    [told] = faults(tmp_path, content)
    assert "partners.toml" in told


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="not UTF-8"):
        load([tmp_path])


def test_partners_that_cannot_be_used_stop_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "partners.toml").write_text(SMALL.replace("name", "nam"))
    monkeypatch.setenv("GATEWAY_PARTNERS", f'["{tmp_path / "partners.toml"}"]')
    with pytest.raises(SettingsError, match=r"nam is no key of a partner\. Did you mean name\?"):
        programs.load_settings()


def test_a_partner_is_found_by_each_of_its_names_and_only_alone() -> None:
    a, b = Partner("A", ("urn:org|A", "urn:old|1"), ("urn:a",)), Partner("B", ("urn:org|B",))
    known = Partners((a, b))
    assert [known.find([name]) for name in ("urn:org|A", "urn:old|1", "urn:a", "urn:org|B")] == [a, a, a, b]
    assert (known.find(["urn:org|A", "urn:org|B"]), known.find(["urn:org|C"])) == (None, None)
    assert known.recognise(frozenset({"urn:a", "urn:x"})) == a.names
    assert known.recognise(frozenset({"urn:x"})) == {"urn:x"}
    assert known.recognise(frozenset({"urn:org|A", "urn:org|B"})) == frozenset()


@pytest.mark.parametrize("place", TABLES)
def test_every_key_of_a_partner_is_documented_with_its_default(place: str) -> None:
    table, head = TABLES[place], f"key of `{place}`" if place else "key"
    page = (ROOT / "docs" / "partners.md").read_text()
    [section] = re.findall(rf"^\| {re.escape(head)} \|[^\n]*\n\|[-|]+\n((?:\|[^\n]*\n)+)", page, re.MULTILINE)
    rows = [re.split(r"(?<!\\)\|", line) for line in section.splitlines()]
    documented = {cells[1].strip(" `"): cells[-2].strip() for cells in rows}
    assert documented.keys() == table.keys.keys()
    assert all(documented[key] == "required" for key, told in table.keys.items() if told.required)
    for key, default in defaults(table).items():
        assert documented[key] == (f"`{shown(default)}`" if default is not None else "none")


def shown(default: Any) -> str:
    return default if isinstance(default, str) else orjson.dumps(default).decode()


def test_the_partner_in_the_documents_can_be_used(tmp_path: Path) -> None:
    [example] = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "partners.md").read_text(), re.DOTALL)
    assert read(tmp_path, example).partners


def test_the_partners_of_the_demonstration_are_those_of_its_messages() -> None:
    endpoints = {endpoint for partner in load([ROOT / "conf" / "partners"]).partners for endpoint in partner.endpoints}
    sent = "".join(path.read_text() for path in (ROOT / "conf" / "demo").glob("*.json"))
    assert set(re.findall(r'"(urn:demo:[a-z]+)"', sent)) <= endpoints
