"""`fhir-gateway policies`, and a pack that cannot be used, which nothing starts with; and packs out of a wheel."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli import main, programs
from gateway.settings import SettingsError
from tests.conftest import ROOT
from tests.fhir.policy.test_loading import SOUND


def test_every_pack_is_listed_with_its_title_and_its_file_and_a_star_at_the_one_in_force(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(SOUND)
    result = CliRunner(env={"GATEWAY_POLICIES": f'["{tmp_path}"]', "GATEWAY_POLICY": "fhir"}).invoke(main, ["policies"])
    assert result.exit_code == 0
    rows = [line.split() for line in result.output.splitlines()]
    assert [row[:2] for row in rows if row[0] == "*"] == [["*", "fhir"]]
    assert sorted(row[1 if row[0] == "*" else 0] for row in rows) == ["bser", "cow", "fhir", "own"]
    assert ["own", "Own", str(tmp_path / "own.toml")] in rows


def test_what_is_wrong_with_a_pack_is_said_with_status_1(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(SOUND.replace('["priority"]', '["priorty"]').replace("hold = 60", ""))
    result = CliRunner(env={"GATEWAY_POLICIES": f'["{tmp_path}"]'}).invoke(main, ["policies"])
    assert result.exit_code == 1
    assert "-     cannot be used" in result.output
    assert "the pack: hold is missing." in result.output
    assert "Did you mean priority?" in result.output


def test_a_policy_that_there_is_not_is_said_with_status_1() -> None:
    result = CliRunner(env={"GATEWAY_POLICY": "cwo"}).invoke(main, ["policies"])
    assert result.exit_code == 1
    assert "policy is 'cwo', which is no policy pack here. Did you mean cow?" in result.output


def test_nothing_starts_with_a_pack_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_POLICIES", f'["{tmp_path}"]')
    programs.load_settings()
    (tmp_path / "own.toml").write_text(SOUND.replace("hold = 60", ""))
    with pytest.raises(SettingsError, match="hold is missing"):
        programs.load_settings()


def test_the_packs_are_in_the_wheel(tmp_path: Path) -> None:
    source, unpacked, empty = (tmp_path / name for name in ("source", "unpacked", "empty"))
    for name in ("gateway", "handlers", "conf"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [
        "-m",
        "uv",
        "build",
        "--wheel",
        "--no-build-isolation",
        "--offline",
        "--out-dir",
        str(tmp_path),
        str(source),
    ]
    subprocess.run([sys.executable, *build], check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(unpacked)
    empty.mkdir()
    listing = "import sys; sys.path.insert(0, sys.argv.pop(1)); from gateway.cli import main; main()"
    listed = subprocess.run(
        [sys.executable, "-c", listing, str(unpacked), "policies"],
        cwd=empty,
        check=True,
        capture_output=True,
        text=True,
    )
    assert listed.stdout.count(str(unpacked)) == 3
    assert "*  cow" in listed.stdout
