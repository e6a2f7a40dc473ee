"""`fhir-gateway validate`: a report for people, or an OperationOutcome for each file; 1 if any has an error."""

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest
from click.testing import CliRunner, Result
from fhir.resources.R4B.operationoutcome import OperationOutcome

from gateway.cli import main
from gateway.fhir import json
from gateway.fhir.outcome import FILE
from tests.conftest import ROOT

SOUND = b'{"resourceType": "Parameters"}'
WRONG = b'{"resourceType": "Patient",\n "gender": 1}'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sound.json").write_bytes(SOUND)
    (tmp_path / "wrong.json").write_bytes(WRONG)
    (tmp_path / "order.xml").write_bytes(b'<Task xmlns="http://hl7.org/fhir">\n <status value="requested"/></Task>')
    (tmp_path / "broken.json").write_bytes(b"{")
    return tmp_path


def validate(*arguments: str, stdin: bytes = b"", color: bool = False) -> Result:
    return CliRunner().invoke(main, ["validate", *arguments], input=stdin, color=color)


def run_validate(*arguments: str, stdout: IO[bytes]) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", "from gateway.cli import main; main()", "validate", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, env=environment, timeout=60, check=False)


def test_a_sound_file_is_said_to_have_no_errors() -> None:
    result = validate("sound.json")

    assert (result.exit_code, result.stdout) == (0, "1 file, none with errors: no issues\n")


def test_an_error_is_a_line_with_its_place_and_rule() -> None:
    result = validate("wrong.json", "sound.json")

    lines = result.stdout.splitlines()
    assert result.exit_code == 1
    assert [line for line in lines if line.startswith("wrong.json:2:12: error type: Patient.gender is 1.")]
    assert lines[-1].startswith("2 files, 1 with errors: 1 error")


def test_standard_input_is_a_file_too() -> None:
    result = validate("-", stdin=WRONG)

    assert result.exit_code == 1
    assert result.stdout.startswith("-:2:12: error")


def test_xml_has_lines_and_columns_too() -> None:
    assert "order.xml:1:1: error cardinality-min: Task.intent is missing" in validate("order.xml").stdout


def test_bad_files_do_not_stop_the_others() -> None:
    result = validate("broken.json", "none.json", ".", "wrong.json")

    assert result.exit_code == 1
    for line in (
        "broken.json",
        "none.json: error processing: The file cannot be read: No such file",
        ".: error",
        "wrong.json:2",
    ):
        assert line in result.stdout
    assert "4 files, 4 with errors: 4 errors" in result.stdout


def test_each_file_is_an_operation_outcome_on_a_line() -> None:
    result = validate("--json", "sound.json", "broken.json", "none.json", "wrong.json")

    outcomes = [json.parse(line) for line in result.stdout_bytes.splitlines()]
    assert result.exit_code == 1
    assert [outcome["extension"] for outcome in outcomes] == [
        [{"url": FILE, "valueString": name}] for name in ("sound.json", "broken.json", "none.json", "wrong.json")
    ]
    assert [outcome["issue"][0]["severity"] for outcome in outcomes] == ["information", "fatal", "fatal", "error"]
    for outcome in outcomes:
        OperationOutcome.model_validate(outcome)


def test_a_terminal_gets_colours() -> None:
    assert "\x1b[31m" in validate("wrong.json", color=True).stdout
    assert "\x1b" not in validate("wrong.json").stdout


def test_what_a_file_quotes_cannot_command_the_terminal() -> None:
    result = validate("-", stdin='{"resourceType": "Patient", "gender": "\x9b2J\u202e"}'.encode())

    assert not {"\x9b", "\u202e"} & {*result.stdout}


def test_the_levels_of_the_settings_are_in_force(folder: Path) -> None:
    (folder / "conf").mkdir()
    (folder / "conf" / "gateway.toml").write_text('[check_levels]\n"cardinality-min" = "inform"\n')

    assert validate("order.xml").exit_code == 0


def test_a_file_larger_than_a_message_may_be_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_MAX_MESSAGE_BYTES", "1024")

    assert "larger than the 1024 bytes" in validate("-", stdin=b" " * 1025).stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize("files", [["sound.json"], ["wrong.json", "sound.json"]])
def test_a_report_that_cannot_be_written_is_one_sentence_and_status_2(options: list[str], files: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        result = run_validate(*options, *files, stdout=full)

    assert (result.returncode, result.stderr) == (2, b"The report cannot be written: No space left on device.\n")


def test_a_reader_that_has_gone_away_is_told_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        result = run_validate("wrong.json", stdout=pipe)

    assert (result.returncode, result.stderr) == (2, b"")


def test_usage_that_is_wrong_is_status_2() -> None:
    assert validate().exit_code == 2
    assert validate("--fhir-version", "0.1", "sound.json").exit_code == 2


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("CHECK_LEVELS", "{ dom6 = 'warn' }", "there is no rule dom6"),
        ("PROFILES", "['nowhere']", "nowhere is not there"),
        ("HANDLERS", "['nowhere']", "nowhere"),
    ],
)
def test_settings_that_are_wrong_are_status_2(
    monkeypatch: pytest.MonkeyPatch, setting: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"GATEWAY_{setting}", value)

    result = validate("sound.json")

    assert (result.exit_code, said in result.stderr) == (2, True)
