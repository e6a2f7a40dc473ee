"""The check on the specification's examples and on real messages, beside the models of fhir.resources."""

import contextlib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import Issue, Refused
from gateway.fhir import json, xml
from gateway.fhir.check import check
from gateway.fhir.second_opinion import second_opinion

STRUCTURE = {"cardinality-min", "cardinality-max", "choice", "empty", "format", "null", "type", "unknown-element"}
"""The rules that the models know too."""


@pytest.mark.parametrize(("ending", "parse"), [(".json", json.parse), (".xml", xml.parse)])
def test_no_example_of_the_specification_is_refused(
    ending: str, parse: Callable[[bytes], dict[str, Any]], corpus: Path
) -> None:
    with zipfile.ZipFile(corpus / "r4-pairs.zip") as archive:
        examples = {name: archive.read(name) for name in archive.namelist() if name.endswith(ending)}

    refused = {name: issues for name, data in examples.items() if (issues := errors(parse(data)))}

    assert len(examples) == 445
    assert refused == {}


def test_what_the_models_object_to_in_real_messages_is_found_too(corpus: Path) -> None:
    missed = {
        f"{file.name}: {issue.expression}: {issue.text}"
        for file, message in parsed(corpus)
        for issue in second_opinion(message)
        if not structural(message)
    }

    assert missed == set()


def errors(resource: dict[str, Any]) -> list[Issue]:
    return [issue for issue in check(resource) if issue.severity == "error"]


def structural(resource: dict[str, Any]) -> list[Issue]:
    return [issue for issue in check(resource) if issue.rule in STRUCTURE]


def parsed(corpus: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for file in corpus.glob("*/*.json"):
        with contextlib.suppress(Refused):
            yield file, json.parse(file.read_bytes())
