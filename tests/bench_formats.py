"""How long converting takes, beside the bare parsers on the same bytes: `python -m tests.bench_formats`.

Over the published pairs and the corpus of messages; milliseconds, the best of RUNS runs of each file.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any
from zipfile import ZipFile

import orjson
from lxml import etree

from gateway.errors import Refused
from gateway.fhir import json, xml

CORPUS = Path(__file__).parents[2] / "shared" / "corpus"
RUNS = 15


def main() -> int:
    if not CORPUS.is_dir():
        print(f"there is nothing to measure on: {CORPUS} is missing", file=sys.stderr)
        return 1
    files = list(_files())
    _report("JSON", [data for name, data in files if name.endswith(".json")], json, xml, orjson.loads)
    _report("XML", [data for name, data in files if name.endswith(".xml")], xml, json, etree.fromstring)
    return 0


def _files() -> list[tuple[str, bytes]]:
    with ZipFile(CORPUS / "r4-pairs.zip") as pairs:
        files = [(name, pairs.read(name)) for name in sorted(pairs.namelist())]
    return files + [(path.name, path.read_bytes()) for path in sorted(CORPUS.glob("*/*"))]


def _report(name: str, files: list[bytes], source: Any, target: Any, floor: Callable[[bytes], Any]) -> None:
    readable = [data for data in files if _converts(data, source, target)]
    resources = [source.parse(data) for data in readable]
    sizes = [len(data) for data in readable]
    counts = f"{len(readable)} of {len(files)} files that convert"
    print(f"{name}: {counts}, {sum(sizes) / 1e6:.1f} MB, median {median(sizes):.0f} bytes")
    floors = [_time(floor, data) for data in readable]
    times = {
        "bare parse": floors,
        "parse": [_time(source.parse, data) for data in readable],
        "serialize": [_time(source.serialize, resource) for resource in resources],
        "convert": [_time(lambda data: target.serialize(source.parse(data)), data) for data in readable],
    }
    for what, taken in times.items():
        each = [one / least for one, least in zip(taken, floors, strict=True)]
        print(
            f"  {what:<11} p50 {median(taken) * 1e3:7.3f} ms  total {sum(taken) * 1e3:7.1f} ms"
            f"  {sum(taken) / sum(floors):5.1f} times the bare parse (p50 {median(each):.1f}, worst {max(each):.1f})"
        )


def _converts(data: bytes, source: Any, target: Any) -> bool:
    try:
        target.serialize(source.parse(data))
    except Refused:
        return False
    return True


def _time(function: Callable[[Any], Any], argument: Any) -> float:
    taken = []
    for _ in range(RUNS):
        start = perf_counter()
        function(argument)
        taken.append(perf_counter() - start)
    return min(taken)


if __name__ == "__main__":
    sys.exit(main())
