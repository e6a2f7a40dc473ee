"""`fhir-gateway partners`: as an operator uses it, on a database of its own."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.partners import files

LAB = {"name": "Lab", "identifiers": ["urn:org|L"], "tell": "poll"}
Run = Callable[..., Result]


@pytest.fixture
def run(sqlite_template: Path, tmp_path: Path) -> Run:
    path, registered = tmp_path / "gateway.db", tmp_path / "partners.toml"
    path.write_bytes(sqlite_template.read_bytes())
    registered.write_text(files.dump([LAB]))
    environment = {"GATEWAY_DATABASE_URL": f"sqlite:///{path}", "GATEWAY_PARTNERS": f'["{registered}"]'}

    def run_one(*words: str, given: str | None = None, status: int = 0) -> Result:
        result = CliRunner(env=environment).invoke(main, ["partners", *words], input=given)
        assert result.exit_code == status, result.output
        return result

    return run_one


def test_partners_are_listed_and_shown(run: Run) -> None:
    assert run("list").output.split() == ["Lab", "active", "cow", "poll", "urn:org|L"]
    shown = run("show", "Lab").output
    assert shown.startswith("# version 1 of ")
    assert tomllib.loads(shown) == {"partner": [LAB]}
    assert orjson.loads(run("show", "Lab", "--json").output) == LAB
    assert "Did you mean Lab?" in run("show", "Lap", status=1).output


def test_a_partner_is_added_from_toml_and_from_json(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "ward.toml"
    file.write_text(files.dump([{"name": "Ward", "identifiers": ["urn:org|W"], "tell": "nothing"}]))
    assert "Ward is added." in run("add", str(file)).output
    given = orjson.dumps({"name": "Bed", "identifiers": ["urn:org|B"], "tell": "nothing"}).decode()
    assert "Bed is added." in run("add", "-", given=given).output
    assert "There is a partner Bed already" in run("add", "-", given=given, status=1).output
    assert "-, partner 1: nam is no key" in run("add", "-", given="[[partner]]\nnam = 1", status=1).output


def test_keys_of_a_partner_are_changed(run: Run) -> None:
    words = ("tell=nothing", "delivery.timeout=10", "delivery.at_once=2", 'endpoints=["urn:lab"]', "contact.phone=123")
    assert "version 2" in run("change", "Lab", *words).output
    assert orjson.loads(run("show", "Lab", "--json").output) == {
        "name": "Lab",
        "identifiers": ["urn:org|L"],
        "endpoints": ["urn:lab"],
        "tell": "nothing",
        "delivery": {"timeout": 10, "at_once": 2},
        "contact": {"phone": "123"},
    }
    run("change", "Lab", "delivery=", "contact.phone=", "endpoints=", "tell=poll")
    assert orjson.loads(run("show", "Lab", "--json").output) == LAB
    assert "is no key of a partner. Did you mean timeout?" in run("change", "Lab", "delivery.timeot=1", status=1).output
    assert "is no KEY=VALUE" in run("change", "Lab", "tell", status=2).output


def test_a_partner_is_paused_blocked_resumed_and_removed_and_all_of_it_told(run: Run) -> None:
    for command, state in (("pause", "paused"), ("block", "blocked"), ("resume", "active")):
        assert run(command, "Lab").output == f"Lab is {state}.\n"
        assert run("list").output.split()[1] == state
    assert "Aborted" in run("remove", "Lab", given="n\n", status=1).output
    run("remove", "Lab", "--yes")
    rows = [line.split() for line in run("history", "Lab").output.splitlines()]
    assert [row[3] for row in rows[:4]] == ["removed", "resumed", "blocked", "paused"]
    assert rows[1][4:] == ["state"]
    assert "never been a partner Nobody" in run("history", "Nobody", status=1).output


def test_an_api_key_goes_to_standard_output_alone(run: Run) -> None:
    first = run("key", "Lab", "--expires", "2099-01-31")
    assert first.stdout.startswith("fgk_")
    assert len(first.stdout.split()) == 1
    assert "2099-01-31 00:00:00 UTC" in first.stderr
    second = run("rotate", "Lab", "--grace", "0")
    listed = run("keys", "Lab").output
    assert first.stdout.strip() not in listed
    hints = [line.split()[0] for line in listed.splitlines()]
    assert sorted(hints) == sorted(key[: len(hints[0])] for key in (first.stdout, second.stdout))
    assert listed.count("(ended)") == 1
    run("revoke", "Lab", second.stdout[: len(hints[0])])
    assert "has no valid key" in run("revoke", "Lab", hints[0], status=1).output
    run("keys", "Nobody", status=1)


def test_files_are_compared_brought_in_and_written(run: Run, tmp_path: Path) -> None:
    assert run("diff").output == ""
    run("change", "Lab", "tell=nothing")
    file = tmp_path / "more.toml"
    file.write_text(files.dump([LAB, {"name": "Ward", "identifiers": ["urn:org|W"], "tell": "nothing"}]))
    told = run("diff", str(file), status=1).output
    assert '~ Lab\n    tell: "poll" in the files, "nothing" registered' in told
    assert "+ Ward: in the files only" in told
    assert "Ward is as the files have it." in run("import", str(file)).output
    assert "Nothing differs." in run("import", str(file)).output
    assert run("diff").output == "- Ward: registered only\n"
    assert tomllib.loads(run("export").output) == tomllib.loads(file.read_text())
    assert tomllib.loads(run("export", "Lab").output) == {"partner": [LAB]}


def test_a_partner_is_tested_and_what_fails_is_said(run: Run, tmp_path: Path) -> None:
    assert "fetches what it is told by $poll" in run("test", "Lab").output
    secret = tmp_path / "secret"
    file = ("delivery.credentials.kind=bearer", f"delivery.credentials.secret_file={secret}")
    run("change", "Lab", "endpoints=['http://127.0.0.1:1/fhir']", "tell=message", *file)
    told = run("test", "Lab", status=1).output
    assert f"{secret}, which cannot be read: No such file or directory" in told.replace("\n", "")


def test_without_a_schema_it_says_what_to_run(tmp_path: Path) -> None:
    environment = {"GATEWAY_DATABASE_URL": f"sqlite:///{tmp_path}/none.db"}
    result = CliRunner(env=environment).invoke(main, ["partners", "list"])
    assert result.exit_code == 1
    assert "Run `fhir-gateway db upgrade`" in result.output


def test_an_upgrade_brings_the_files_in_and_later_tells_where_they_differ(tmp_path: Path) -> None:
    registered = tmp_path / "partners.toml"
    registered.write_text(files.dump([LAB]))
    environment = {"GATEWAY_VAR": str(tmp_path / "var"), "GATEWAY_PARTNERS": f'["{registered}"]'}
    runner = CliRunner(env=environment)
    assert runner.invoke(main, ["db", "upgrade"]).output == ""
    registered.write_text(files.dump([LAB | {"tell": "nothing"}]))
    again = runner.invoke(main, ["db", "upgrade"])
    assert "Registered otherwise than in the files of the setting `partners`: Lab." in again.output
    assert runner.invoke(main, ["partners", "list"]).output.split()[3] == "poll"
