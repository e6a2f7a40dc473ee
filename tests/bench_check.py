"""How long checking takes, beside the models of fhir.resources on the same messages: `python -m tests.bench_check`.

Over real messages, by their size as JSON; milliseconds, the best of RUNS runs of each. What a reply tells is errors and
warnings; $validate tells advice too. The sound message is one of our own, with nothing to tell.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean, median
from time import perf_counter
from typing import Any

from gateway.errors import Refused
from gateway.fhir import json
from gateway.fhir.check import check
from gateway.fhir.check.levels import Levels
from gateway.fhir.second_opinion import second_opinion
from tests.fhir.check.mutants.findings import MESSAGE

CORPUS = Path(__file__).parents[2] / "shared" / "corpus"
RUNS = 20
KILOBYTES = ((4, 6), (12, 20), (28, 36))
IN_A_REPLY = Levels().without_advice()


def main() -> int:
    size = len(json.serialize(MESSAGE))
    sound, model = _time(_of_reply, MESSAGE), _time(second_opinion, MESSAGE)
    print(
        f"one sound message of {size / 1024:.1f} KB: {sound:.3f} ms, {sound / size * 5120:.3f} ms for 5 KB;"
        f" models {model:.1f} ms"
    )
    if not CORPUS.is_dir():
        print(f"there is nothing else to measure on: {CORPUS} is missing", file=sys.stderr)
        return 1
    messages = [(len(json.serialize(message)), message) for message in _messages()]
    print(f"{'KB':>9} {'messages':>9} {'reply':>8} {'p50':>8} {'max':>8} {'$validate':>10} {'models':>8}  ms")
    for least, most in KILOBYTES:
        some = [message for size, message in messages if least * 1024 <= size < most * 1024]
        reply, everything, models = ([_time(look, one) for one in some] for look in (_of_reply, check, second_opinion))
        print(
            f"{least:>4}-{most:<4} {len(some):>9} {fmean(reply):>8.3f} {median(reply):>8.3f} {max(reply):>8.3f}"
            f" {fmean(everything):>10.3f} {fmean(models):>8.2f}"
        )
    return 0


def _messages() -> Iterator[json.Resource]:
    for path in sorted(CORPUS.glob("*/*.json")):
        try:
            yield json.parse(path.read_bytes())
        except Refused:
            continue


def _of_reply(message: json.Resource) -> object:
    return check(message, levels=IN_A_REPLY, most_alike=3)


def _time(function: Callable[[Any], object], argument: Any) -> float:
    taken = []
    for _ in range(RUNS):
        start = perf_counter()
        function(argument)
        taken.append(perf_counter() - start)
    return min(taken) * 1e3


if __name__ == "__main__":
    sys.exit(main())
