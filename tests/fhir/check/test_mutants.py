"""The checker against faults made on purpose, and against what is odd and yet sound; both are in `mutants`."""

from collections.abc import Sequence

import pytest
from _pytest.mark import ParameterSet

from gateway.errors import Issue
from gateway.fhir import json
from gateway.fhir.check import check
from gateway.fhir.check.levels import DEFAULTS
from tests.fhir.check.mutants import FAULTS, SOUND
from tests.fhir.check.mutants.fault import Fault, is_caught
from tests.fhir.check.mutants.findings import MESSAGE
from tests.fhir.check.mutants.sound import Sound

MISSED = {
    "Coverage.costToBeneficiary[0].valueMoney.currency is 'XQQ', which currencies has not": (
        "ISO 4217 changes; only its form is checked, so that no new currency is refused"
    )
}
"""Known misses, and why they are left."""


def marks(fault: Fault) -> list[pytest.MarkDecorator]:
    return [pytest.mark.xfail(reason=MISSED[fault.name], strict=True)] if fault.name in MISSED else []


def case(group: str, fault: Fault, marks: Sequence[pytest.MarkDecorator] = ()) -> ParameterSet:
    return pytest.param(fault, id=f"{group}: {fault.name}".encode("ascii", "backslashreplace").decode(), marks=marks)


MUTANTS = [case(group, fault) for group, faults in FAULTS.items() for fault in faults]
TO_BE_FOUND = [case(group, fault, marks(fault)) for group, faults in FAULTS.items() for fault in faults]
ODD = [pytest.param(sound, id=sound.name.encode("ascii", "backslashreplace").decode()) for sound in SOUND]

LOWERED = {rule for rule, level in DEFAULTS.items() if level == "warn"}


def told(issues: list[Issue]) -> list[tuple[str | None, str | None, str]]:
    return [(issue.rule, issue.expression, issue.severity) for issue in issues]


def errors(message: json.Resource) -> list[Issue]:
    return [issue for issue in check(message) if issue.severity == "error"]


def test_the_message_that_the_faults_are_made_in_is_sound() -> None:
    assert told(errors(MESSAGE)) == []


def test_the_message_that_the_faults_are_made_in_has_all_that_it_refers_to() -> None:
    assert [issue.expression for issue in check(MESSAGE) if issue.rule == "reference-unresolved"] == []


@pytest.mark.parametrize("mutant", TO_BE_FOUND)
def test_a_fault_is_found_where_it_is(mutant: Fault) -> None:
    issues = check(mutant.message())

    assert is_caught(mutant, issues, LOWERED), told(issues)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_nothing_but_the_fault_is_an_error(mutant: Fault) -> None:
    assert told([issue for issue in errors(mutant.message()) if not mutant.accounts_for(issue)]) == []


@pytest.mark.parametrize("mutant", FAULTS["unknown elements"], ids=lambda mutant: mutant.name)
def test_an_unknown_element_is_called_by_its_name(mutant: Fault) -> None:
    name = next(iter(mutant.edits)).rpartition(".")[2]

    assert any(name in issue.text for issue in check(mutant.message()) if mutant.is_named_by(issue))


@pytest.mark.parametrize("odd", ODD)
def test_what_is_odd_and_yet_sound_is_not_refused(odd: Sound) -> None:
    assert told(errors(odd.message())) == []


def test_there_are_enough_mutants_and_no_two_have_one_name() -> None:
    names = [fault.name for faults in FAULTS.values() for fault in faults]

    assert len(names) == len(set(names)) >= 400
