"""The long fuzz: make fuzz ARGS="--seconds 600 --target json"; every target in turn unless one is named.

Each is guided by coverage (atheris). What makes one fail is kept in var/fuzz/<target>/found; what reached something new
is kept in var/fuzz/<target>/corpus, and the next run begins with it.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz import CORPUS, is_guided
from tests.fuzz.targets import TARGETS

ROOT = CORPUS.parents[2]
_MOST_FAILURES = 10
_FIGURES = {
    "executions": re.compile(r"number_of_executed_units:\s+(\d+)"),
    "slowest": re.compile(r"slowest_unit_time_sec:\s+(\d+)"),
    "peak": re.compile(r"peak_rss_mb:\s+(\d+)"),
}
_COVERAGE = re.compile(r"\bcov: (\d+) ft: (\d+) corp: (\d+)")
_CAUSE = re.compile(r"^([\w.]+: .+|[\w.]+)\n+==\d+== ?ERROR: libFuzzer", re.MULTILINE)
_FAILURE = re.compile(r"Test unit written to (\S+)")


@dataclass
class Figures:
    """What came of one target."""

    executions: int = 0
    seconds: float = 0.0
    coverage: int = 0
    kept: int = 0
    megabytes: int = 0
    failures: list[str] = field(default_factory=list)


def fuzz(name: str, seconds: float, work: Path, *, verbose: bool) -> Figures:
    """Fuzzes a target, again from where it was after each failure, until the time is over."""
    corpus, found = work / name / "corpus", work / name / "found"
    corpus.mkdir(parents=True, exist_ok=True)
    figures, deadline = Figures(), time.monotonic() + seconds
    while (left := deadline - time.monotonic()) >= 1 and len(figures.failures) < _MOST_FAILURES:
        began = time.monotonic()
        command = [sys.executable, "-m", "tests.fuzz.guided", name, str(int(left)), str(found), str(corpus)]
        ended = subprocess.run([*command, str(CORPUS / name)], cwd=ROOT, capture_output=True, check=False)
        told = ended.stderr.decode(errors="replace")
        if verbose:
            print(told, file=sys.stderr)
        _read(told, figures, time.monotonic() - began)
        if ended.returncode and not _FAILURE.search(told):
            figures.failures.append(f"ended with {ended.returncode}: {told[-2000:]}")
            break
    return figures


def _read(told: str, figures: Figures, seconds: float) -> None:
    """Adds what libFuzzer says at the end to the figures."""
    figures.seconds += seconds
    count = _FIGURES["executions"].search(told)
    pulses = re.findall(r"^#(\d+)", told, re.MULTILINE)
    figures.executions += int(count[1]) if count else int(pulses[-1]) if pulses else 0
    for cover, _, kept in _COVERAGE.findall(told):
        figures.coverage, figures.kept = max(figures.coverage, int(cover)), int(kept)
    if peak := _FIGURES["peak"].search(told):
        figures.megabytes = max(figures.megabytes, int(peak[1]))
    if failure := _FAILURE.search(told):
        cause = _CAUSE.search(told)
        figures.failures.append(f"{failure[1]}: {cause[1] if cause else 'see the output of --verbose'}")


def main() -> int:
    options = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    options.add_argument("--seconds", type=float, default=60, help="for each target (60)")
    options.add_argument("--target", action="append", choices=[*TARGETS], help="only this one; may be repeated")
    options.add_argument("--work", type=Path, default=ROOT / "var" / "fuzz", help="where to keep what is found")
    options.add_argument("--fresh", action="store_true", help="forget what earlier runs have kept")
    options.add_argument("--verbose", action="store_true", help="show what libFuzzer says")
    given = options.parse_args()
    if not is_guided():
        print("The long fuzz needs atheris, of which there are wheels for Linux on x86-64 only.", file=sys.stderr)
        return 2
    if given.fresh:
        shutil.rmtree(given.work, ignore_errors=True)
    failed = 0
    print(
        f"{'target':12} {'executions':>11} {'exec/s':>7} {'edges':>6} {'kept':>5} {'MB':>5} {'failures':>8}", flush=True
    )
    for name in given.target or TARGETS:
        it = fuzz(name, given.seconds, given.work, verbose=given.verbose)
        speed = it.executions / it.seconds if it.seconds else 0
        line = f"{name:12} {it.executions:11} {speed:7.0f} {it.coverage:6} {it.kept:5} {it.megabytes:5}"
        print(f"{line} {len(it.failures):8}", flush=True)
        for failure in it.failures:
            print(f"  {failure}", flush=True)
        failed += len(it.failures)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
