"""The structure check on the specification's examples and on real messages, beside the models of fhir.resources."""

import contextlib
import zipfile
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class
from pydantic import ValidationError

from gateway.errors import Refused
from gateway.fhir import json, xml
from gateway.fhir.check import check_structure


@pytest.mark.parametrize(("ending", "parse"), [(".json", json.parse), (".xml", xml.parse)])
def test_no_example_of_the_specification_is_refused(
    ending: str, parse: Callable[[bytes], dict[str, Any]], corpus: Path
) -> None:
    with zipfile.ZipFile(corpus / "r4-pairs.zip") as archive:
        examples = {name: archive.read(name) for name in archive.namelist() if name.endswith(ending)}

    refused = {name: issues for name, data in examples.items() if (issues := check_structure(parse(data)))}

    assert len(examples) == 445
    assert refused == {}


def test_real_messages_are_judged_as_fhir_resources_judges_them(corpus: Path) -> None:
    """Leaving out what it judges wrongly: it lets null pass, and does not know `_value[x]` in an Extension."""
    messages = {file.name: without_what_is_misjudged(bundle) for file, bundle in parsed(corpus)}

    refused = {name for name, bundle in messages.items() if is_refused_by_its_model(bundle)}

    assert {name for name, bundle in messages.items() if check_structure(bundle)} == refused


def parsed(corpus: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for file in corpus.glob("*/*.json"):
        with contextlib.suppress(Refused):
            yield file, json.parse(file.read_bytes())


def without_what_is_misjudged(value: Any) -> Any:
    if isinstance(value, list):
        return [without_what_is_misjudged(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: without_what_is_misjudged(item)
        for name, item in value.items()
        if item is not None and not ("url" in value and name.startswith("_value"))
    }


def is_refused_by_its_model(bundle: dict[str, Any]) -> bool:
    try:
        get_fhir_model_class(bundle["resourceType"]).model_validate(with_decimals(bundle))
    except (ValidationError, KeyError):
        return True
    return False


def with_decimals(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: with_decimals(item) for name, item in value.items()}
    if isinstance(value, list):
        return [with_decimals(item) for item in value]
    return Decimal(value.lexeme) if isinstance(value, json.Number) else value
