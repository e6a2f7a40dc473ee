"""`fhir-gateway convert`."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli.convert import convert
from gateway.fhir import json, xml

JSON = b'{"resourceType":"Basic","id":"1","extension":[{"url":"u","valueDecimal":1.00}]}'
XML = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b'<Basic xmlns="http://hl7.org/fhir"><id value="1"/>'
    b'<extension url="u"><valueDecimal value="1.00"/></extension></Basic>'
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "basic.json").write_bytes(JSON)
    (tmp_path / "other.xml").write_bytes(XML.replace(b'"1"', b'"2"'))
    (tmp_path / "bad.json").write_bytes(b'{"resourceType":"Basic","name":1,"id":2}')
    (tmp_path / "broken.xml").write_bytes(b"<Basic")
    return tmp_path


def _convert(*arguments: str | Path, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(convert, [str(argument) for argument in arguments], input=stdin)


def test_json_becomes_xml_on_standard_output(folder: Path) -> None:
    result = _convert(folder / "basic.json")

    assert (result.exit_code, result.stdout_bytes) == (0, XML + b"\n")


def test_xml_from_standard_input_becomes_json() -> None:
    result = _convert("-", stdin=XML)

    assert (result.exit_code, result.stdout_bytes) == (0, JSON + b"\n")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_the_format_is_seen_behind_a_byte_order_mark(encoding: str) -> None:
    document = '<Basic xmlns="http://hl7.org/fhir"><id value="ä"/></Basic>'

    result = _convert("-", stdin=document.encode(encoding))

    assert result.stdout == '{"resourceType":"Basic","id":"ä"}\n'


def test_a_file_may_be_written_in_its_own_format_again() -> None:
    result = _convert("--to", "json", "-", stdin=b'{ "resourceType" : "Basic" }')

    assert result.stdout_bytes == b'{"resourceType":"Basic"}\n'


def test_several_files_are_printed_one_after_another(folder: Path) -> None:
    result = _convert("--to", "json", folder / "basic.json", folder / "other.xml")

    first, second = result.stdout_bytes.splitlines()
    assert (json.parse(first)["id"], json.parse(second)["id"]) == ("1", "2")


def test_files_are_written_into_a_directory_that_is_made(folder: Path) -> None:
    out = folder / "new" / "out"

    result = _convert("--out", out, folder / "basic.json", folder / "other.xml")

    assert (result.exit_code, result.stdout_bytes) == (0, b"")
    assert xml.parse((out / "basic.xml").read_bytes()) == json.parse(JSON)
    assert json.parse((out / "other.json").read_bytes())["id"] == "2"


def test_a_bad_file_is_one_line_of_error_and_the_others_go_on(folder: Path) -> None:
    result = _convert(folder / "bad.json", folder / "broken.xml", folder / "none.json", folder, folder / "basic.json")

    errors = result.stderr.splitlines()
    assert result.exit_code == 1
    assert result.stdout_bytes == XML + b"\n"
    assert len(errors) == 4
    assert "bad.json: Basic: Basic has no element 'name' in FHIR R4." in errors[0]
    assert "Basic.id: Here is an integer, where FHIR R4 has a string." in errors[0]
    assert "broken.xml: Not well-formed XML" in errors[1]
    assert "none.json: No such file or directory" in errors[2]
    assert "Is a directory" in errors[3]


def test_a_long_list_of_issues_is_cut() -> None:
    result = _convert("-", stdin=b'<Basic xmlns="http://hl7.org/fhir">' + b"<x/>" * 9 + b"</Basic>")

    assert result.stderr.endswith("And 6 more.\n")


def test_two_files_of_one_name_do_not_overwrite_each_other(folder: Path) -> None:
    out = folder / "out"
    (folder / "basic.xml").write_bytes(XML.replace(b'"1"', b'"3"'))

    result = _convert("--to", "json", "--out", out, folder / "basic.json", folder / "basic.xml")

    assert result.exit_code == 1
    assert "has just been written from another file" in result.stderr
    assert json.parse((out / "basic.json").read_bytes())["id"] == "1"


def test_without_a_file_it_says_how_to_call_it() -> None:
    assert _convert().exit_code == 2
