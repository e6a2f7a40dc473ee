"""The short fuzz: what is kept in the corpus, and some thousands of inputs made of it, the same at each run.

The long one is `make fuzz`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tests.conftest import ROOT
from tests.fuzz import CORPUS, is_guided
from tests.fuzz.measuring import TooCostlyError, within_memory, within_time
from tests.fuzz.mutating import mutate
from tests.fuzz.targets import TARGETS

MUTATIONS = 2000
ALLOWANCE = 8.0
"""The processor is shared with other tests, and with the measuring of coverage."""
MOST_KEPT = 300_000


def kept(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_kept_is_survived_within_the_bounds(name: str) -> None:
    run = TARGETS[name].run
    inputs = kept(name)
    run(inputs[0])  # what is made once is no input's cost

    for data in inputs:
        within_time(run, data, ALLOWANCE)
        within_memory(run, data)


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_made_of_it_is_survived_too(name: str) -> None:
    target, pool, rng = TARGETS[name], kept(name), Random(name)
    weights = [min(len(data), 1000) for data in pool]

    for number, chosen in enumerate(rng.choices(pool, weights, k=MUTATIONS)):
        data = mutate(chosen, target, pool, rng)
        try:
            within_time(target.run, data, ALLOWANCE)
        except TooCostlyError:
            raise
        except Exception as error:
            raise AssertionError(f"input {number} of {name}, {data!r}") from error


def test_the_same_inputs_are_made_at_each_run() -> None:
    pool = kept("json")
    longest = max(pool, key=len)
    made = [[mutate(longest, TARGETS["json"], pool, rng) for _ in range(100)] for rng in (Random(1), Random(1))]

    assert made[0] == made[1]
    assert len(set(made[0])) > 90


def test_the_corpus_is_small_and_has_each_target() -> None:
    paths = [path for path in CORPUS.rglob("*") if path.is_file()]

    assert {path.parent.name for path in paths} == set(TARGETS)
    assert sum(path.stat().st_size for path in paths) < MOST_KEPT


@pytest.mark.skipif(not is_guided(), reason="atheris is not here: there are wheels for Linux on x86-64 only")
def test_the_long_fuzz_runs_and_tells_its_figures(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", "2", "--target", "negotiation", "--work", str(tmp_path)]

    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    heading, figures, *failures = ended.stdout.splitlines()
    assert heading.split()[:3] == ["target", "executions", "exec/s"]
    assert figures.split()[0] == "negotiation"
    assert int(figures.split()[1]) > 0
    assert (ended.returncode, failures) == (0, [])
