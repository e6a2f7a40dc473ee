"""The house itself: what must be documented is, and every module keeps to the measure."""

import ast
import re
from pathlib import Path

import pytest

from gateway.cli import COMMANDS
from gateway.settings import DEFAULT_FILE, SETTINGS, Settings, load
from tests.conftest import ROOT

MODULES = sorted(path for name in ("gateway", "handlers", "tests") for path in (ROOT / name).rglob("*.py"))
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SETTING = re.compile(r"^# ([a-z_]+) = (.*)$", re.MULTILINE)
EMPTY_WORDS = {"utils", "util", "manager", "helper", "helpers", "service"}


def documented() -> dict[str, str]:
    """Each setting that the file of settings names, with the default it names."""
    return dict(SETTING.findall((ROOT / DEFAULT_FILE).read_text()))


def test_the_file_of_settings_names_exactly_the_settings() -> None:
    assert sorted(documented()) == sorted(SETTINGS)


def test_every_default_in_the_file_of_settings_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings()
    written = "".join(f"{name} = {value}\n" for name, value in documented().items())
    for placeholder in ("base_url", "var", "host", "port"):
        written = written.replace(f"<{placeholder}>", str(getattr(settings, placeholder)))
    (tmp_path / "written.toml").write_text(written)
    assert load({"GATEWAY_CONFIG": str(tmp_path / "written.toml")}) == settings


def test_every_setting_in_the_file_comes_after_a_sentence() -> None:
    paragraphs = [lines for lines in (ROOT / DEFAULT_FILE).read_text().split("\n\n") if SETTING.search(lines)]
    assert len(paragraphs) == len(SETTINGS)
    for paragraph in paragraphs:
        sentence = SETTING.sub("", paragraph).strip()
        assert sentence.startswith("# ")
        assert sentence.endswith(".")


def test_the_file_of_settings_changes_nothing_as_it_is(tmp_path: Path) -> None:
    assert load({"GATEWAY_CONFIG": str(ROOT / DEFAULT_FILE)}) == Settings()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_documents(command: str) -> None:
    assert any(f"fhir-gateway {command}" in document.read_text() for document in DOCUMENTS if document.exists())


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_what_it_is_for_and_keeps_to_the_measure(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert (ast.get_docstring(tree) or "").strip(), "its first line says what it is for"
    assert len(text.splitlines()) < (600 if "tests" in path.parts else 400), "a module is short"
    assert not EMPTY_WORDS & set(path.stem.split("_")), "a name that says nothing"
    long = [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= 50
    ]
    if path.parent.name == "versions":  # a migration is a list of tables, as long as they are
        return
    assert not long, "a function has fewer than 50 lines"
