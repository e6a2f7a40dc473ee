"""One target under atheris, for a time: python -m tests.fuzz.guided TARGET SECONDS FOUND CORPUS…

libFuzzer ends the process; what it found is in the directory FOUND, the figures are the last lines of standard error.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

LONGEST = 4096
ALLOWANCE = 20.0
"""Instrumented code is slower, and shares its processor."""
_MOST_MEGABYTES = 2048


def main(name: str, seconds: str, found: str, *corpora: str) -> None:
    import atheris  # where there is a wheel of it: see setup.cfg

    with atheris.instrument_imports(include=["gateway", "gunicorn.http", "json"]):
        from tests.fuzz import targets
    from tests.fuzz.measuring import within_time

    target = targets.TARGETS[name]

    def run(data: bytes) -> None:
        within_time(target.run, data, ALLOWANCE)

    def mutated(data: bytes, most: int, seed: int) -> bytes:
        from tests.fuzz.mutating import mutate_tree

        rng = Random(seed)
        resource = targets.bounded_resource(data) if rng.random() < 0.5 else None
        new = mutate_tree(resource, rng) if resource is not None else atheris.Mutate(data, most)
        return bytes(new) if len(new) <= most else bytes(data)

    with tempfile.NamedTemporaryFile("w", suffix=".dict") as dictionary:
        dictionary.write("\n".join(f'"{_escaped(word)}"' for word in target.words) + "\n")
        dictionary.flush()
        options: Mapping[str, Any] = {
            "max_total_time": seconds,
            "max_len": LONGEST,
            "rss_limit_mb": _MOST_MEGABYTES,
            "timeout": 30,
            "dict": dictionary.name,
            "artifact_prefix": f"{found}/",
            "print_final_stats": 1,
            "verbosity": 1,
            "reload": 0,
        }
        arguments = [sys.argv[0], *(f"-{option}={value}" for option, value in options.items()), *corpora]
        more = {"custom_mutator": mutated} if target.shape == "json" else {}
        atheris.Setup(arguments, run, **more)
        atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    Path(sys.argv[3]).mkdir(parents=True, exist_ok=True)
    main(*sys.argv[1:])
