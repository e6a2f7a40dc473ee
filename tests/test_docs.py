"""What a user can reach is documented: endpoints, events, outcomes, settings and metrics."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import metrics, routing
from gateway.fhir.task import Outcome
from gateway.settings import SETTINGS, Settings
from gateway.web.application import create
from tests.conftest import ROOT

DOCS = ROOT / "docs"


def text_of(name: str) -> str:
    return (DOCS / name).read_text()


def test_every_endpoint_is_documented(tmp_path: Path, redis_url: str) -> None:
    app = create(Settings(database_url=f"sqlite:///{tmp_path}/gateway.db", redis_url=redis_url))
    for rule in app.url_map.iter_rules():
        [method] = rule.methods - {"HEAD", "OPTIONS"} if rule.methods else [""]
        assert f"`{method} {rule.rule}`" in text_of("operations.md")


def test_every_event_is_documented() -> None:
    for handler in routing.load(["handlers"]):
        assert f"| `{handler.event.code}` | `{handler.event.system}` | {handler.category} |" in text_of("messages.md")


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_of_a_cancellation_is_documented(outcome: Outcome) -> None:
    assert f"| `{outcome}` |" in text_of("messages.md")


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_is_documented(setting: str) -> None:
    assert f"`{setting}`" in text_of("settings.md")


def test_every_metric_is_documented() -> None:
    depth = metrics.Depth("inbox", "dead", 0)
    exposed = metrics.exposition([depth]).decode()
    names = {line.split()[2] for line in exposed.splitlines() if line.startswith("# TYPE fhir_gateway")}
    told = {name.removesuffix("_created") for name in names}
    assert told
    for name in told:
        assert f"`{name}`" in text_of("operations.md") or f"`{name}_total`" in text_of("operations.md")
