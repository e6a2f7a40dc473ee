"""The invariants in Python: all of R4's, each as its FHIRPath says, whatever they are given."""

import json
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZipFile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.fhir import definitions
from gateway.fhir.check.invariants import LEFT_OUT, Context, Invariant, of
from gateway.fhir.check.invariants.datatypes import SIMPLE_QUANTITIES
from gateway.fhir.check.invariants.definitional import NAME_RULES
from gateway.fhir.definitions import Constraint, get_type, type_names
from gateway.fhir.json import Number, parse
from tests.fhir.check.typed import elements
from tests.fhirpath import outcomes

Element = dict[str, Any]
VERSIONS = tuple(definitions.TABLES)


class Case(NamedTuple):
    """Elements of a type that an invariant holds of, and some that break it; `resource` is the one they are in."""

    type: str
    key: str
    holds: list[Element]
    breaks: list[Element]
    version: definitions.Version = "R4"
    resource: Element | None = None
    within: str = ""

    def context(self, element: Element) -> Context:
        resource = element if self.resource is None else {**self.resource}
        if self.within:
            resource[self.within] = element
        return Context(resource, resource)


def read_cases() -> list[Case]:
    lines = Path(__file__).with_name("invariants.jsonl").read_text(encoding="utf-8").splitlines()
    return [Case(**json.loads(line, parse_float=Number)) for line in lines]


CASES = read_cases()


def name_of(case: Case) -> str:
    return f"{case.type} {case.key} {case.version}"


def invariant(type_name: str, key: str, version: definitions.Version = "R4") -> Invariant:
    (found,) = [found for found in of(type_name, version) if found.key == key]
    return found


# --- completeness ----------------------------------------------------------------------------------------------------


def defined(type_name: str, version: definitions.Version) -> dict[tuple[str, str], Constraint]:
    """The constraints that the definitions give a type, but for those that are left out."""
    left_out = {key for name, key in LEFT_OUT if name in (type_name, "Element", "DomainResource")}
    return {
        (said.key, said.element.removesuffix("[x]")): said
        for said in get_type(type_name, version).constraints
        if said.key not in left_out
    }


def test_every_constraint_of_r4_is_there_or_left_out_with_a_reason() -> None:
    for type_name in type_names():
        found = {(rule.key, rule.path): rule for rule in of(type_name) if rule.key != "sqty-1"}
        assert found.keys() == defined(type_name, "R4").keys(), type_name


def test_the_sentences_and_severities_are_those_of_the_specification() -> None:
    for type_name in type_names():
        for where, said in defined(type_name, "R4").items():
            (rule,) = [rule for rule in of(type_name) if (rule.key, rule.path) == where]
            assert (rule.human, rule.severity) == (said.human, said.severity), (type_name, where)


def test_what_is_left_out_is_defined_and_has_a_reason() -> None:
    ours = {(name, key) for (name, key), reason in LEFT_OUT.items() if "(R4B)" not in reason}
    assert ours <= {(name, said.key) for name in type_names() for said in get_type(name).constraints}
    assert all(LEFT_OUT.values())


def test_every_invariant_has_cases() -> None:
    inherited = {(name, rule.key) for name in type_names() for rule in of(name)}
    told = {(case.type, case.key) for case in CASES if case.version == "R4"}
    told |= {
        (name, rule.invariant.key)
        for rules in (NAME_RULES, SIMPLE_QUANTITIES)
        for name in rules
        for rule in rules[name]
    }
    bases = ("DomainResource", "Quantity")

    assert [(name, key) for name, key in inherited if not told & {(one, key) for one in (name, *bases)}] == []
    assert [case for case in CASES if len(case.holds) < 2 or not case.breaks] == []


def test_a_type_that_is_not_there_has_no_invariants() -> None:
    assert of("Nothing") == ()


def test_the_invariants_of_a_type_are_looked_up_once() -> None:
    assert of("Observation") is of("Observation")


# --- cases -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_it_holds_and_is_broken(case: Case) -> None:
    rule = invariant(case.type, case.key, case.version)

    assert [element for element in case.holds if not rule.holds(element, case.context(element))] == []
    assert [element for element in case.breaks if rule.holds(element, case.context(element))] == []


@pytest.mark.parametrize(
    ("type_name", "key"),
    [(name, rule.invariant.key) for name in NAME_RULES for rule in NAME_RULES[name] if "R4" in rule.versions],
)
def test_a_name_is_usable_as_an_identifier(type_name: str, key: str) -> None:
    rule, nowhere = invariant(type_name, key), Context({}, {})

    assert all(rule.holds(element, nowhere) for element in ({"name": "AbcDef_1"}, {"name": "X"}, {}))
    assert not any(rule.holds({"name": name}, nowhere) for name in ("abc", "Abc Def", "1A", "A" * 256, "Ä", ""))


def test_a_simple_quantity_has_no_comparator() -> None:
    nowhere = Context({}, {})
    for type_name, rules in SIMPLE_QUANTITIES.items():
        for rule in (rule.invariant for rule in rules):
            fields = get_type(type_name).fields.values()
            (field,) = [field for field in fields if field.element == rule.path and field.type == "Quantity"]
            for quantity, expected in (({"value": 1}, True), ({"value": 1, "comparator": "<"}, False)):
                value = [quantity] if field.many else quantity
                assert rule.holds({field.name: value}, nowhere) is expected, (type_name, rule.path)


def test_a_contained_resource_needs_no_narrative() -> None:
    resource, root = {"resourceType": "Patient"}, {"resourceType": "Basic"}

    assert invariant("Patient", "dom-6").holds(resource, Context(resource, root))
    assert not invariant("Patient", "dom-6").holds(resource, Context(resource, resource))


# --- the FHIRPath of the specification -------------------------------------------------------------------------------

_PARTIAL = "fhirpathpy compares dates of differing precision or offset as strings."
_NOT_THE_CODE = "The FHIRPath has another code or code system than the specification elsewhere."
_MENDED = "The FHIRPath is not what the sentence says; R4B has mended it."
_SEARCHED = "The FHIRPath looks for a part of the path that is right, the sentence is about all of it."
UNLIKE = {
    ("Period", "per-1"): _PARTIAL,
    ("MedicationDispense", "mdd-1"): _PARTIAL,
    ("Task", "inv-1"): _PARTIAL,
    ("Range", "rng-2"): "fhirpathpy does not compare Quantities.",
    ("Timing.repeat", "tim-9"): "The FHIRPath asks of one `when` only.",
    ("DomainResource", "dom-3"): "fhirpathpy allows `as` on a single item only.",
    ("CareTeam.participant", "ctm-1"): "What a reference leads to is not there to be resolved; its type is known.",
    ("Appointment", "app-4"): _NOT_THE_CODE,
    ("Consent", "ppc-2"): _NOT_THE_CODE,
    ("Consent", "ppc-3"): _NOT_THE_CODE,
    ("Consent", "ppc-4"): _NOT_THE_CODE,
    ("Consent", "ppc-5"): _NOT_THE_CODE,
    ("Condition", "con-3"): _MENDED,
    ("Questionnaire.item", "que-12"): _MENDED,
    ("Questionnaire.item.enableWhen", "que-7"): _MENDED,
    ("ElementDefinition", "eld-11"): "The FHIRPath holds of any type: it asks whether there are comparisons.",
    ("ElementDefinition", "eld-19"): _SEARCHED,
    ("ElementDefinition", "eld-20"): _SEARCHED,
}
"""Where the FHIRPath, as `fhirpathpy` evaluates it, is not what the sentence says of one of the cases, and why."""


def differences(case: Case) -> list[Element]:
    """The elements of which the FHIRPath says, for certain, something else than the case; empty says nothing."""
    (said,) = [said for said in get_type(case.type).constraints if said.key == case.key]
    unlike = []
    for expected, some in ((True, case.holds), (False, case.breaks)):
        for element in map(plain, some):
            found = [one for one in outcomes(said, case.type, element, case.context(element)) if one]
            if found and (all(one == [True] for one in found) is not expected):
                unlike.append(element)
    return unlike


def plain(value: Any) -> Any:
    """The value with numbers as Python has them."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return float(value) if isinstance(value, Number) else value


@pytest.mark.parametrize("case", [case for case in CASES if case.version == "R4"], ids=name_of)
def test_it_is_what_the_fhirpath_says(case: Case) -> None:
    if (case.type, case.key) not in UNLIKE:
        assert differences(case) == []
        return
    try:
        unlike = differences(case)
    except Exception as error:  # noqa: BLE001 - what the library has not got it says so
        unlike = [{"error": str(error)}]
    assert unlike, "the FHIRPath is no longer unlike"


# --- the other versions ----------------------------------------------------------------------------------------------


def test_every_constraint_of_r4b_is_there_or_left_out_with_a_reason() -> None:
    for type_name in type_names("R4B"):
        found = {(rule.key, rule.path) for rule in of(type_name, "R4B") if rule.key != "sqty-1"}
        assert found == defined(type_name, "R4B").keys(), type_name


SAID_OTHERWISE = {
    *("bdl-2", "bdl-7", "bdl-8", "csd-1", "ctm-1", "dom-3", "per-1", "que-7", "ras-2", "rat-1", "rng-2", "tim-9"),
    "que-12",  # R4's sentence, which its FHIRPath is not
}
"""Keys of which R5 or STU3 says the same as R4 in another FHIRPath."""


@pytest.mark.parametrize("version", ["R5", "STU3"])
def test_what_other_versions_have_of_r4_is_the_same_there(version: definitions.Version) -> None:
    in_r4 = {(name, said.key): said for name in type_names() for said in get_type(name).constraints}
    for type_name in type_names(version):
        found = {said.key: said for said in get_type(type_name, version).constraints}
        for rule in of(type_name, version):
            said, before = found[rule.key], in_r4.get((type_name, rule.key))
            assert said.severity == rule.severity, (type_name, rule.key)
            if before is not None and rule.key not in SAID_OTHERWISE:
                assert said.expression == before.expression, (type_name, rule.key)


# --- whatever they are given -----------------------------------------------------------------------------------------

_ALL = [rule for version in VERSIONS for name in type_names(version) for rule in of(name, version)]
HOLDS = list({rule.holds: rule for rule in _ALL}.items())


def names_in(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {*value, *(name for item in value.values() for name in names_in(item))}
    return {name for item in value for name in names_in(item)} if isinstance(value, list) else set()


NAMES = sorted({name for case in CASES for element in case.holds + case.breaks for name in names_in(element)})
CODES = [
    "history",
    "message",
    "document",
    "display",
    "group",
    "2024",
    "2024-02-30",
    "9999-12-31T23:59:59-14:00",
    "*",
    "#a",
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.just(Number("1e999"))
    | st.sampled_from(CODES)
    | st.text(max_size=5)
)
MEMBERS = st.sampled_from(NAMES) | st.sampled_from([f"_{name}" for name in NAMES]) | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS, inner, max_size=4), max_leaves=12
)
ELEMENTS = st.dictionaries(MEMBERS, VALUES, max_size=6)


@given(element=ELEMENTS, resource=ELEMENTS)
@settings(deadline=None)
def test_any_json_gives_a_bool(element: Element, resource: Element) -> None:
    context = Context(element, resource)

    assert {type(holds(element, context)) for holds, _ in HOLDS} == {bool}


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_anything_in_the_place_of_anything_gives_a_bool(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(CASES))
    rule = invariant(case.type, case.key, case.version)
    element = json.loads(json.dumps(plain(data.draw(st.sampled_from(case.holds + case.breaks)))))
    inside: Any = element
    while inside:
        step = data.draw(st.sampled_from(sorted(inside) if isinstance(inside, dict) else range(len(inside))))
        if not isinstance(inside[step], (dict, list)) or data.draw(st.booleans()):
            inside[step] = data.draw(VALUES)
            break
        inside = inside[step]

    assert type(rule.holds(element, case.context(element))) is bool


def test_very_long_lists_and_texts_take_no_time() -> None:
    concepts: list[Element] = []
    for number in range(20_000):
        concepts.append({"code": str(number), "concept": [{"code": f"{number}.1"}]})
    entries = [{"fullUrl": f"urn:uuid:{number}", "resource": {}} for number in range(20_000)]
    long = "A" * 1_000_000

    assert invariant("CodeSystem", "csd-1").holds({"concept": concepts}, Context({}, {}))
    assert invariant("Bundle", "bdl-7").holds({"type": "message", "entry": entries}, Context({}, {}))
    for name, key in (("ElementDefinition", "eld-19"), ("ElementDefinition", "eld-20"), ("ValueSet", "vsd-0")):
        assert not invariant(name, key).holds({"path": f"{long}. ", "name": long}, Context({}, {}))
    assert invariant("Period", "per-1").holds(
        {"start": long, "end": f"2024-01-01T00:00:00.{'1' * 100_000}Z"}, Context({}, {})
    )


# --- the official examples -------------------------------------------------------------------------------------------


def test_no_official_example_breaks_one(corpus: Path) -> None:
    broken = set()
    with ZipFile(corpus / "r4-pairs.zip") as pairs:
        for name in pairs.namelist():
            if name.endswith(".json"):
                for type_name, element, context in elements(parse(pairs.read(name))):
                    rules = [rule for rule in of(type_name) if rule.severity == "error"]
                    broken |= {(name, rule.key) for rule in rules if not rule.holds(element, context)}

    assert broken == set()
