"""Packs of dialects: what is read of a file, and what is said of one that cannot be used."""

from pathlib import Path

import pytest

from gateway.fhir import dialects
from gateway.fhir.dialects import DialectError, loading
from tests.conftest import ROOT

GOOD = """
name = "labs"
title = "Labs"
[[rule]]
event = ["order"]
means = "new-order"
"""


def written(directory: Path, text: str, name: str = "labs.toml") -> Path:
    (directory / name).write_text(text)
    return directory


def faults(directory: Path, text: str) -> list[str]:
    with pytest.raises(DialectError) as caught:
        loading.load([written(directory, text)])
    return [sentence.partition(", ")[2] for sentence in caught.value.sentences]


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    told = faults(
        tmp_path,
        """
name = "Labs"
identity = "bundel"
acknowledged = 201
headers = ["a b"]
surprise = 1
holds = "yes"
checking = { bdl-99 = "warn" }
[reply]
status = 20
[reply.statuses]
"not a code" = 400
[tell]
new-orders = "http://labs.example|x"
[[rule]]
means = "new-order"
[[rule]]
event = ["a*b"]
means = "new-orders"
translation = "prescription"
[[rule]]
event = ["x"]
means = "new-order"
becomes = "completed"
""",
    )
    assert len(told) == 16
    for part in (
        "name is 'Labs'",
        "title is missing. Write title = …",
        "did you mean bundle?",
        "one of 200, 202, 204",
        "names of HTTP headers",
        "there is no key surprise",
        "holds is 'yes', but takes true or false",
        "there is no rule bdl-99 (did you mean",
        "a status of HTTP from 200 to 599",
        "duplicate = 409",
        "events of ours (new-order, order-update",
        "rule 1: it has no condition",
        "rule 2: event is ['a*b']",
        "rule 2: means is 'new-orders', but takes one of",
        "rule 2: translation is 'prescription', which is none",
        "rule 3: becomes is for order-update only",
    ):
        assert any(part in sentence for sentence in told), part


def test_what_is_not_toml_is_told_with_a_page_to_begin_with(tmp_path: Path) -> None:
    with pytest.raises(DialectError, match=r"is not TOML: .*docs/dialects.md"):
        loading.load([written(tmp_path, "name = ")])


@pytest.mark.parametrize("name", ["cow", "nhs-eps"])
def test_a_name_that_there_is_already_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DialectError, match=rf"{name}.*Write another name"):
        loading.load([written(tmp_path, GOOD.replace("labs", name))])


def test_a_copy_of_a_shipped_file_is_no_fault(tmp_path: Path) -> None:
    copied = written(tmp_path, (loading.SHIPPED / "nhs-eps.toml").read_text())
    assert [*loading.load([copied])] == [*loading.load()]


def test_a_sites_dialect_is_in_force_once_it_is_used(tmp_path: Path) -> None:
    try:
        dialects.use([written(tmp_path, GOOD)])
        assert "labs" in dialects.names()
        assert dialects.get("labs").title == "Labs"
        with pytest.raises(DialectError):
            dialects.use([written(tmp_path, "name = 1")])
        assert "labs" in dialects.names()
    finally:
        dialects.use()
    with pytest.raises(KeyError):
        dialects.get("labs")


def test_the_packs_of_the_gateway_are_found_from_anywhere_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = loading.find([Path("conf/dialects"), ROOT / "conf" / "dialects"])
    assert sorted(pack.file for pack in found) == sorted((ROOT / "conf" / "dialects").glob("*.toml"))
    assert all(pack.pack and pack.pack.description and pack.pack.source for pack in found)
