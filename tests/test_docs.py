"""What a user can reach is documented: endpoints, events, outcomes, settings and metrics."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway import metrics, routing
from gateway.checking import Checking
from gateway.fhir import definitions
from gateway.fhir.check import invariants
from gateway.fhir.check.levels import FIXED, RULES, Levels
from gateway.fhir.message import Ourselves
from gateway.fhir.task.modification import ModificationOutcome
from gateway.fhir.task.outcomes import Outcome
from gateway.processing import Processor
from gateway.receiving import receive
from gateway.settings import SETTINGS, Settings
from gateway.store.database import Database
from gateway.web.application import create
from tests.conftest import ROOT
from tests.senders import Sender, read, submission
from tests.terms import TERMS

DOCS = ROOT / "docs"
OURSELVES = Ourselves("gateway", "http://gateway.example/fhir/$process-message", "http://gateway.example/fhir")


def text_of(name: str) -> str:
    return (DOCS / name).read_text()


def test_every_endpoint_is_documented(tmp_path: Path, redis_url: str) -> None:
    app = create(Settings(database_url=f"sqlite:///{tmp_path}/gateway.db", redis_url=redis_url))
    for rule in app.url_map.iter_rules():
        [method] = rule.methods - {"HEAD", "OPTIONS"} if rule.methods else [""]
        assert f"`{method} {rule.rule}`" in text_of("operations.md")


def test_every_event_is_documented() -> None:
    ours = [handler for handler in routing.load(["handlers"]) if handler.function.__module__.startswith("handlers.")]
    assert ours
    for handler in ours:
        assert f"| `{handler.event.code}` | `{handler.event.system}` | {handler.category} |" in text_of("messages.md")


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_of_a_cancellation_is_documented(outcome: Outcome) -> None:
    assert f"| `{outcome}` |" in text_of("messages.md")


@pytest.mark.parametrize("outcome", ModificationOutcome)
def test_every_outcome_of_a_modification_is_documented(outcome: ModificationOutcome) -> None:
    section = text_of("messages.md").partition("## Changing an order")[2]
    assert f"| `{outcome}` |" in section


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_is_documented(setting: str) -> None:
    assert f"`{setting}`" in text_of("settings.md")


def level_of(rule: str) -> str:
    return Levels().of(rule) + (", fixed" if rule in FIXED else "")


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_documented_with_its_level(rule: str) -> None:
    assert f"| `{rule}` | {level_of(rule)} |" in text_of("validation.md")


@pytest.mark.parametrize("version", definitions.TABLES)
def test_every_invariant_is_documented_with_its_level(version: definitions.Version) -> None:
    rows = re.findall(r"^\| `(\S+)` \| [^|]+ \| (\w+) \|", text_of("validation.md"), re.MULTILINE)
    of_types = [rule for name in definitions.type_names(version) for rule in invariants.of(name, version)]
    assert {(rule.key, level_of(rule.key)) for rule in of_types} <= {*rows}


def test_what_is_not_checked_is_documented() -> None:
    for _, key in invariants.LEFT_OUT:
        assert f"`{key}`" in text_of("validation.md")


def test_every_metric_is_documented() -> None:
    depth = metrics.Depth("inbox", "dead", 0)
    exposed = metrics.exposition([depth]).decode()
    names = {line.split()[2] for line in exposed.splitlines() if line.startswith("# TYPE fhir_gateway")}
    told = {name.removesuffix("_created") for name in names}
    assert told
    for name in told:
        assert f"`{name}`" in text_of("operations.md") or f"`{name}_total`" in text_of("operations.md")


def test_the_handler_in_the_readme_works(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "registry", routing.Registry())
    [example] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    exec(example, {})
    [handler] = routing.registry
    dispense = {"resourceType": "MedicationDispense", "status": "completed", "medicationCodeableConcept": {"text": "x"}}
    bundle = Sender().write(handler.event.code, dispense, system=handler.event.system or "")
    database = Database(database_url)
    received = receive(database, routing.registry, OURSELVES, read(bundle), submission(bundle))
    processor = Processor(database, routing.registry, OURSELVES, Checking(Settings()), TERMS, ())
    [processed] = processor.process(processor.find_due([received.lane]))
    database.close()
    assert processed.outcome == "ok"
