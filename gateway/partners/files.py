"""Partners as they are written in TOML files: docs/partners.md."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from gateway.partners import document
from gateway.partners.contradictions import find_forbidden
from gateway.partners.document import Document
from gateway.partners.model import Partner, Partners
from gateway.settings import SettingsError

OWN = Path("conf/partners")
"""The default of the setting `partners`: it may be missing."""
_JSON = re.compile(r"\s*(\{|\[\s*\{)")
_BARE = re.compile(r"[A-Za-z0-9_-]+")

Found = list[tuple[str, Partner]]
"""Partners, each with the place that it was found at."""


def load(paths: Iterable[Path], *, loopback: bool = True) -> Partners:
    """The partners in TOML files and in directories of such. Raises SettingsError with every fault in them.

    `loopback` is whether their addresses may be on this machine.
    """
    wrong: list[str] = []
    found = read(paths, wrong)
    wrong += document.find_shared(found)
    for place, partner in found:
        wrong += (f"{place}: {sentence}" for sentence in find_forbidden(partner, loopback=loopback))
    if wrong:
        raise SettingsError(*wrong)
    return Partners(tuple(partner for _, partner in found))


def read(paths: Iterable[Path], wrong: list[str]) -> Found:
    """The partners in files that are sound each by itself; what is wrong is added to `wrong`."""
    found: Found = []
    for file in [file for path in paths for file in _files(path, wrong)]:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            wrong.append(f"{file} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}.")
            continue
        found += read_text(text, str(file), wrong)
    return found


def read_text(text: str, file: str, wrong: list[str]) -> Found:
    """The partners in the text of a file: TOML, or as JSON one of them, or a list."""
    said = _parse(text, file, wrong)
    found: Found = []
    for number, one in enumerate(said, 1):
        place = f"{file}, partner {number}"
        if (partner := document.read(one, place, wrong)) is not None:
            found.append((place, partner))
    return found


def dump(documents: Iterable[Document]) -> str:
    """Documents as TOML."""
    return "\n".join("".join(_table(("partner",), one, listed=True)) for one in documents)


def _files(path: Path, wrong: list[str]) -> list[Path]:
    if path.is_dir():
        return sorted(path.glob("*.toml"))
    if path.exists():
        return [path]
    if path != OWN:
        wrong.append(f"{path} is not there. Let the setting `partners` name files and directories that are.")
    return []


def _parse(text: str, file: str, wrong: list[str]) -> list[Any]:
    if _JSON.match(text):
        try:
            said = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            wrong.append(f"{file} is not JSON: {error}.")
            return []
        return said if isinstance(said, list) else [said]
    try:
        top = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        wrong.append(f"{file} is not TOML: {error}.")
        return []
    listed = top.pop("partner", [])
    if top or not isinstance(listed, list):
        unknown = ", ".join(top) or "partner"
        wrong.append(f"{file} has {unknown} at its top. Write [[partner]] before each partner, and nothing else there.")
    return listed if isinstance(listed, list) else []


def _table(path: tuple[str, ...], said: Document, *, listed: bool = False) -> Iterator[str]:
    """The lines of a table, those of the tables in it after its own."""
    head = ".".join(path)
    inner = {key: value for key, value in said.items() if isinstance(value, dict) and key != "jwks"}
    yield f"[[{head}]]\n" if listed else f"\n[{head}]\n"
    yield from (f"{_key(key)} = {_value(value)}\n" for key, value in said.items() if key not in inner)
    for key, value in inner.items():
        yield from _table((*path, _key(key)), value)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _value(key)


def _value(value: Any) -> str:
    """As TOML has it, on one line; a text of JSON is one of TOML."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return orjson.dumps(value).decode()
