"""How many of the mutants are caught, by group: `python -m tests.fhir.check.mutants`.

"found" is by our checker, at the right place and by the right rule; "as an error", if the levels are as they come and
the message is refused for it. fhir.resources counts as having caught a mutant whatever it says of it. The last line is
the sound messages of which something is refused.
"""

import sys
from collections.abc import Iterable
from typing import Any

import orjson
from fhir.resources.R4B import get_fhir_model_class

from gateway.fhir.check import check
from gateway.fhir.check.levels import DEFAULTS
from gateway.fhir.json import serialize
from tests.fhir.check.mutants import FAULTS, SOUND
from tests.fhir.check.mutants.fault import Fault, is_caught
from tests.fhir.check.mutants.sound import Sound

LOWERED = {rule for rule, level in DEFAULTS.items() if level == "warn"}
_MODEL: Any = get_fhir_model_class("Bundle")


def _is_refused(odd: Sound) -> bool:
    return any(issue.severity == "error" for issue in check(odd.message()))


def _is_found_by_us(mutant: Fault) -> bool:
    return is_caught(mutant, check(mutant.message()), LOWERED)


def _is_refused_by_us(mutant: Fault) -> bool:
    return any(issue.severity == "error" and mutant.is_named_by(issue) for issue in check(mutant.message()))


def _by_fhir_resources(mutant: Fault | Sound) -> bool:
    try:
        _MODEL.model_validate(orjson.loads(serialize(mutant.message())))
    except Exception:  # noqa: BLE001 - what it raises is told apart by nobody
        return True
    return False


def _lines() -> list[tuple[str | int, ...]]:
    lines = [
        (
            group,
            len(faults),
            *(_count(map(by, faults)) for by in (_is_found_by_us, _is_refused_by_us, _by_fhir_resources)),
        )
        for group, faults in FAULTS.items()
    ]
    totals = [sum(numbers) for numbers in zip(*(line[1:] for line in lines), strict=True)]
    wrongly = [_count(map(refuses, SOUND)) for refuses in (_is_refused, _is_refused, _by_fhir_resources)]
    return [*lines, ("all", *totals), ("sound, and refused", len(SOUND), *wrongly)]


def _count(answers: Iterable[bool]) -> int:
    return sum(answers)


def main() -> None:
    """Print the table."""
    rows = [
        ("group", "mutants", "found", "as an error", "fhir.resources"),
        *((name, *map(str, rest)) for name, *rest in _lines()),
    ]
    sys.stdout.writelines(f"{row[0]:28}{row[1]:>8}{row[2]:>8}{row[3]:>13}{row[4]:>16}\n" for row in rows)


if __name__ == "__main__":
    main()
