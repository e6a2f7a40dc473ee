"""Every type of resource there and back: JSON to XML to JSON, of which nothing is lost, in each version of FHIR."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gateway.fhir import json, xml
from gateway.fhir.definitions import VERSIONS, Version
from tests.fhir.comparing import lexemes
from tests.fhir.generated import resource, resource_types, resources

_FEW = settings(
    max_examples=5,
    deadline=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
    database=None,
)


def _goes_round(generated: dict[str, Any], version: Version) -> None:
    data = json.serialize(generated)
    read = json.parse(data)
    assert lexemes(read) == lexemes(generated)

    written = xml.serialize(read, version)
    back = xml.parse(written, version)

    assert json.canonical(back) == json.canonical(generated)
    assert xml.serialize(json.parse(json.serialize(back)), version) == written


def test_there_are_all_the_types_of_r4() -> None:
    assert len(resource_types()) == 146


@pytest.mark.parametrize("name", resource_types())
def test_a_resource_of_each_type_survives_both_formats(name: str) -> None:
    @_FEW
    @given(resource(name, depth=2))
    def goes_round(generated: dict[str, Any]) -> None:
        _goes_round(generated, "R4")

    goes_round()


@pytest.mark.parametrize("version", VERSIONS)
@settings(_FEW, max_examples=25)
@given(data=st.data())
def test_resources_of_each_version_survive_both_formats(version: Version, data: st.DataObject) -> None:
    _goes_round(data.draw(resources(depth=2, version=version)), version)
