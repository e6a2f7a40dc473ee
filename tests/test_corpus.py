"""Real messages of many senders, and files that are none: whatever is posted gets an answer that is valid FHIR."""

from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from gateway.fhir import formats
from tests.live import FHIR_JSON, FHIR_XML, Gateway

MEDIA_TYPES = {".json": FHIR_JSON, ".xml": FHIR_XML}


def test_every_file_of_the_corpus_gets_a_valid_answer(whole_gateway: Gateway, corpus: Path) -> None:
    files = sorted(path for path in corpus.rglob("*") if path.suffix in MEDIA_TYPES)
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for path in files:
        try:
            answer = whole_gateway.post(path.read_bytes(), MEDIA_TYPES[path.suffix])
            counts[outcome(answer, MEDIA_TYPES[path.suffix])] += 1
        except AssertionError as error:
            wrong.append(f"{path.relative_to(corpus)}: {error}")
    print(f"\n{len(files)} files\n" + "\n".join(f"{count:5} {what}" for what, count in counts.most_common()))
    assert len(files) > 200
    assert not wrong, "\n".join(wrong)


def outcome(answer: httpx.Response, media_type: str) -> str:
    """The status, the response code if any, and the issue codes. AssertionError: it is none that there should be."""
    assert answer.status_code in (200, 202, 400, 413, 422), answer.text[:500]
    assert answer.headers["Content-Type"].split(";")[0] == media_type
    resource, _ = formats.parse_told(answer.content, formats.format_of(media_type), None)
    if resource["resourceType"] == "OperationOutcome":
        return f"{answer.status_code} {codes(resource)}"
    assert resource["resourceType"] == "Bundle"
    assert answer.status_code == httpx.codes.OK
    header = resource["entry"][0]["resource"]
    assert header["resourceType"] == "MessageHeader"
    outcomes = [e["resource"] for e in resource["entry"] if e["resource"]["resourceType"] == "OperationOutcome"]
    return " ".join([str(answer.status_code), header["response"]["code"], *map(codes, outcomes)])


def codes(operation_outcome: dict[str, Any]) -> str:
    """The codes of the issues that are errors, each once."""
    errors = {issue["code"] for issue in operation_outcome["issue"] if issue["severity"] in ("error", "fatal")}
    return "+".join(sorted(errors)) or "(no error)"
