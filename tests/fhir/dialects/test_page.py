"""docs/dialects.md: every dialect, key and translation is on it, and its example works."""

import re
from pathlib import Path

import pytest

from gateway.fhir import dialects
from gateway.fhir.dialects import composing, loading, reading
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "dialects.md").read_text()


@pytest.mark.parametrize("name", [pack.stem for pack in loading.SHIPPED.glob("*.toml")])
def test_every_dialect_has_a_page(name: str) -> None:
    [row] = re.findall(rf"^\| `{name}` \| .* \| \[.*\]\((\S+)\) \|$", PAGE, re.MULTILINE)
    page, _, part = row.partition("#")
    text = (ROOT / "docs" / page).read_text()
    assert f"`{name}`" in text
    assert not part or f"## {part.capitalize()}" in text


@pytest.mark.parametrize("key", [*reading.PACK, *reading.REPLY, *reading.RULE])
def test_every_key_is_documented(key: str) -> None:
    assert re.search(rf"^\| [^|]*`\[*(reply\.)?{key}\]*`", PAGE, re.MULTILINE)


@pytest.mark.parametrize("word", [*reading.MEANINGS, *composing.TRANSLATIONS])
def test_every_word_of_a_rule_is_documented(word: str) -> None:
    assert f"`{word}`" in PAGE


@pytest.mark.parametrize("name", [pack.stem for pack in loading.SHIPPED.glob("*.toml")])
def test_the_rules_of_a_dialect_name_translations_that_there_are(name: str) -> None:
    pack = dialects.get(name).pack
    assert {rule.translation for rule in pack.rules} <= {*composing.TRANSLATIONS, *loading.module_of(name).translations}
    assert pack.name == name


def test_the_example_on_the_page_is_a_dialect(tmp_path: Path) -> None:
    [example] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "labs.toml").write_text(example)
    assert loading.load([tmp_path])["labs"].retry_schedule == (60.0, 600.0, 3600.0)
