"""Profiles of a site: what each kind of rule takes and refuses, and what is said of a file that cannot be used."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.fhir import json
from gateway.fhir.check.profiles import ProfileError, Profiles, Surroundings, load
from tests.conftest import ROOT
from tests.fhir.check.test_profiles import COW, SHIPPED, Resource, header, known, places, task

SITE = "https://site.example/StructureDefinition/"
EXAMPLE = ROOT / "conf" / "profiles" / "example.toml"


def site(directory: Path, rules: str, *, type_name: str = "Task", more: str = "") -> Profiles:
    """The profiles with one of the site's among them, `SITE`own, which has these rules."""
    about = f'[[profile]]\nurl = "{SITE}own"\nname = "own"\ntype = "{type_name}"\n'
    (directory / "own.toml").write_text(f"{about}{rules}\n{more}")
    return load([directory])


def rule(text: str) -> str:
    return f"[[profile.rule]]\n{text}\n"


RULES: list[tuple[str, Resource, list[str]]] = [
    # what a rule says of a Task, a Task, and where it is not as it says
    ('path = "Task.note"\nmax = 0', {"note": [{"text": "a"}]}, ["Task.note[0]"]),
    ('path = "note"\nmin = 2', {"note": [{"text": "a"}]}, ["Task.note"]),
    ('path = "note.text"\nmin = 1', {"note": [{"text": "a"}, {"time": "2024"}]}, ["Task.note[1].text"]),
    ('path = "note.text"\nmin = 1', {}, []),
    ('path = "note.text"\nmin = 1', {"note": [{"_text": {"id": "a"}}]}, []),
    ('path = "status"\nfixed = "requested"', {}, []),
    ('path = "status"\nfixed = "ready"', {}, ["Task.status"]),
    ('path = "input.valueBoolean"\nfixed = true', {"input": [{"valueBoolean": True}]}, []),
    (
        'path = "restriction.repetitions"\nfixed = 1',
        {"restriction": {"repetitions": True}},
        ["Task.restriction.repetitions"],
    ),
    ('path = "for"\nfixed = { reference = "A/1" }', {"for": {"reference": "A/1"}}, []),
    ('path = "for"\nfixed = { reference = "A/1" }', {"for": {"reference": "A/1", "display": "b"}}, ["Task.for"]),
    ('path = "for"\npattern = { reference = "A/1" }', {"for": {"reference": "A/1", "display": "b"}}, []),
    ('path = "code.coding"\npattern = { code = "abort" }', {}, ["Task.code.coding[0]"]),
    ('path = "status"\ncodes = ["requested", "ready"]', {}, []),
    ('path = "status"\ncodes = ["ready"]', {}, ["Task.status"]),
    ('path = "code"\ncodes = { "http://hl7.org/fhir/CodeSystem/task-code" = "*" }', {}, []),
    ('path = "code"\ncodes = { "http://hl7.org/fhir/CodeSystem/task-code" = ["abort"] }', {}, ["Task.code"]),
    ('path = "code"\ncodes = ["fulfill"]', {}, []),
    ('path = "code"\ncodes = ["fulfill"]', {"code": {"text": "do it"}}, ["Task.code"]),
    ('path = "code"\ncodes = ["abort"]\nstrength = "extensible"', {"code": {"text": "do it"}}, []),
    ('path = "code"\ncodes = ["abort"]\nstrength = "preferred"', {}, ["Task.code"]),
    ('path = "code"\ncodes = ["abort"]\nstrength = "example"', {}, []),
    ('path = "input.value[x]"\ntypes = ["string"]', {"input": [{"valueString": "a"}]}, []),
    ('path = "input.value[x]"\ntypes = ["string"]', {"input": [{"valueCode": "a"}]}, ["Task.input[0].value"]),
    ('path = "contained"\ntypes = ["Patient"]', {"contained": [task()]}, ["Task.contained[0]"]),
    ('path = "contained.subject"\nmin = 1', {"contained": [{"resourceType": "Basic"}]}, ["Task.contained[0].subject"]),
    ('path = "owner"\ntargets = ["Organization"]', {"owner": {"reference": "Organization/1"}}, []),
    ('path = "owner"\ntargets = ["Organization"]', {"owner": {"reference": "Patient/1"}}, ["Task.owner"]),
    ('path = "owner"\ntargets = ["Organization"]', {"owner": {"type": "Patient"}}, ["Task.owner"]),
    ('path = "owner"\ntargets = ["Organization"]', {"owner": {"reference": "urn:uuid:1"}}, []),
    ('path = "owner"\ntargets = ["Organization"]', {"owner": {"reference": "https://a.example/Some/thing"}}, []),
    ("path = \"extension('urn:a')\"\nmin = 1", {"extension": [{"url": "urn:b"}]}, ["Task.extension('urn:a')"]),
    (
        "path = \"extension('urn:a').value[x]\"\nfixed = true",
        {"extension": [{"url": "urn:b"}, {"url": "urn:a", "valueBoolean": False}]},
        ["Task.extension[1].value"],
    ),
    ("path = \"status.extension('urn:a')\"\nmin = 1", {"_status": {"id": "a"}}, ["Task.status.extension('urn:a')"]),
    (
        f'path = "contained"\nprofiles = ["{COW}coordination-task"]',
        {"contained": [task(identifier=None)]},
        ["Task.contained[0].identifier"],
    ),
    (
        f'path = "contained"\nprofiles = ["{COW}coordination-task", "{COW}cancellation-request-task"]',
        {"contained": [task(), task("abort", "Task/1"), task(focus=None)]},
        ["Task.contained[2]"],
    ),
]


@pytest.mark.parametrize(("text", "elements", "wrong"), RULES)
def test_a_rule_of_a_site(text: str, elements: Resource, wrong: list[str], tmp_path: Path) -> None:
    profiles = site(tmp_path, rule(text))

    issues = list(known(f"{SITE}own", profiles).check(task(**elements), "Task"))

    assert [issue.expression for issue in issues] == wrong
    assert all(re.match("By the profile (own|Coordination Task), .*[a-z]", issue.text) for issue in issues)


SLICES = """
[[profile.rule]]
path = "identifier"
closed = true

[[profile.rule]]
path = "identifier"
slice = "order"
where = { system = "urn:order", "type.coding.code" = "PLAC" }
min = 1
max = 1

[[profile.rule]]
path = "identifier:order.value"
min = 1

[[profile.rule]]
path = "identifier"
slice = "other"
where = { system = "urn:other" }
"""
ORDER = {"system": "urn:order", "type": {"coding": [{"code": "FILL"}, {"code": "PLAC"}]}, "value": "1"}


def test_slices_are_counted_and_looked_into_and_may_be_all_there_is(tmp_path: Path) -> None:
    profile = known(f"{SITE}own", site(tmp_path, SLICES))

    def wrong(*identifiers: Resource) -> list[tuple[str, str | None]]:
        return places(profile.check(task(identifier=list(identifiers)), "Task"))

    other = {"system": "urn:other"}
    assert wrong(ORDER) == wrong(other, ORDER, other) == []
    assert wrong(other) == [("required", "Task.identifier")]
    assert wrong(ORDER, other, ORDER) == [("structure", "Task.identifier[2]")]
    assert wrong(other, ORDER, {"system": "urn:order"}) == [("structure", "Task.identifier[2]")]
    assert wrong({name: value for name, value in ORDER.items() if name != "value"}) == [
        ("required", "Task.identifier[0].value")
    ]
    [issue] = profile.check(task(identifier=[other]), "Task")
    assert "identifier:order (with system 'urn:order' and type.coding.code 'PLAC')" in issue.text


def invariant(expression: str, severity: str = "error") -> str:
    return f'invariant = {{ key = "a-1", human = "It holds.", expression = "{expression}", severity = "{severity}" }}'


INVARIANTS = [
    ("", "status = 'requested'", True),
    ("", "status = 'ready'", False),
    ("", "owner", False),
    ("", "focus.reference.startsWith('ServiceRequest/')", True),
    ("", "%resource.status = %rootResource.status", True),
    ("", "input.value.ofType(Quantity).value > 1.5", True),
    ('path = "input"', "value.value = 1.6", True),
    ('path = "input"', "value.value = %resource.input.value.value + 1", False),
]


@pytest.mark.parametrize(("path", "expression", "is_true"), INVARIANTS)
def test_an_invariant_is_evaluated(path: str, expression: str, is_true: bool, tmp_path: Path) -> None:
    quantity = [{"type": {"text": "dose"}, "valueQuantity": {"value": json.number("1.60")}}]
    profile = known(f"{SITE}own", site(tmp_path, rule(f"{path}\n{invariant(expression, 'warning')}")))

    issues = list(profile.check(task(input=quantity), "Task"))

    place = "Task.input[0]" if path else "Task"
    assert [(i.severity, i.expression) for i in issues] == ([] if is_true else [("warning", place)])
    assert all("It holds (a-1)" in issue.text for issue in issues)


def test_a_profile_has_the_rules_of_its_base(tmp_path: Path) -> None:
    more = f'base = "{COW}coordination-task"\n' + rule('path = "owner"\nmin = 1')
    profile = known(f"{SITE}own", site(tmp_path, more))

    assert places(profile.check(task(), "Task")) == [("required", "Task.owner")]
    assert places(profile.check(task(code=None, owner={}), "Task")) == [("required", "Task.code")]


def test_a_sites_profile_takes_the_place_of_the_gateways(tmp_path: Path) -> None:
    url = f"{COW}cow-message-header"
    text = (
        f'[[profile]]\nurl = "{url}"\nname = "cow-message-header"\ntype = "MessageHeader"\nversions = ["1.0.0-ballot"]'
    )
    (tmp_path / "own.toml").write_text(text)

    profiles = load([tmp_path / "own.toml"])

    assert places(known(url, profiles).check(header(focus=[]), "MessageHeader")) == []
    assert len(list(profiles)) == len(list(SHIPPED))


def test_of_several_versions_the_last_is_meant_unless_one_is_named(tmp_path: Path) -> None:
    about = f'[[profile]]\nurl = "{SITE}v"\nname = "v"\ntype = "Task"\nversions = '
    (tmp_path / "own.toml").write_text(f'{about}["1"]\n{about}["2"]\n' + rule('path = "owner"\nmin = 1'))

    profiles = load([tmp_path])

    assert known(f"{SITE}v", profiles).versions == ("2",)
    assert known(f"{SITE}v|1", profiles).versions == ("1",)


def test_only_a_directory_that_nobody_named_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert len(list(load([Path("conf/profiles")]))) == len(list(SHIPPED))
    with pytest.raises(ProfileError, match="is not there"):
        load([Path("elsewhere")])


def test_the_example_says_nothing_until_it_is_uncommented(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    assert len(list(load([EXAMPLE]))) == len(list(SHIPPED))

    (tmp_path / "example.toml").write_text(re.sub(r"^# (?=\[|[a-z]+ = )", "", text, flags=re.MULTILINE))
    profile = known("https://network.example/fhir/StructureDefinition/order-header", load([tmp_path]))

    assert places(profile.check(header(), "MessageHeader")) == [
        ("code-invalid", "MessageHeader.event"),
        ("required", "MessageHeader.destination"),
    ]


# --- faults of a site's files -----------------------------------------------------------------------------------------

FAULTS = [
    (
        'path = "identifer"\nmin = 1',
        "rule 1 (identifer): Task has no element identifer in FHIR R4. Did you mean identifier?",
    ),
    ('path = "input.value"\nmin = 1', "Did you mean value[x]?"),
    ('path = "code..coding"\nmin = 1', "is no step of a path"),
    ("path = \"note('urn:a')\"\nmin = 1", "is no step of a path"),
    ('path = "note"\nminn = 1', "there is no key minn. Did you mean min?"),
    ('path = "note"\nmin = -1', "min is -1, but takes a whole number, 0 or more."),
    ('path = "note"\nmax = "many"', "max is 'many', but takes a whole number, 0 or more, or \"*\"."),
    ('path = "note"\nmin = 2\nmax = 1', "min is 2 and max 1"),
    ('path = "note"\nfixed = 2024-05-01', "fixed is datetime.date(2024, 5, 1), but takes a value as FHIR JSON has it"),
    ('path = "status"\nfixed = "a"\npattern = "a"', "there are both fixed and pattern"),
    ('path = "status"\ncodes = []', "codes is [], but takes a list of codes"),
    ('path = "status"\nstrength = "required"', "write codes = … too"),
    ('path = "status"\ncodes = ["a"]\nstrength = "strong"', "strength is 'strong', but takes one of required"),
    ('path = "note"\nslice = "a"', "write both slice"),
    ('path = "note"\nslice = "a"\nwhere = { txt = "a" }', "Annotation has no element txt"),
    ('path = "note"\nslice = "a"\nwhere = { text = "a" }\nclosed = true', "closed is said of the element"),
    ('path = "note:a.text"\nmin = 1', "there is no slice note:a. Declare it in a rule before this one"),
    ("min = 1", "path is missing"),
    ('path = "focus"\ntargets = ["https://site.example/unknown"]', "https://site.example/unknown is named in a rule"),
    ('invariant = { key = "a-1", human = "b" }', "invariant: expression is missing"),
    (invariant("a.noSuchFunction()"), "expression is no FHIRPath that can be evaluated here: Not implemented"),
]


@pytest.mark.parametrize(("text", "sentence"), FAULTS)
def test_a_fault_of_a_rule_is_told_with_its_place(text: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ProfileError) as refused:
        site(tmp_path, rule(text))

    [told] = refused.value.sentences
    assert told.startswith(f"{tmp_path / 'own.toml'}, profile own")
    assert sentence in told


ABOUT = f'[[profile]]\nurl = "{SITE}a"\nname = "a"\ntype = "Task"\n'
FAULTY_FILES = [
    ("[[profile]", "is not TOML"),
    ("profile = 1", "profile is 1, but takes tables"),
    ("[[profil]]", "there is no key profil. Did you mean profile?"),
    ('[[profile]]\nname = "a"\ntype = "Task"', "profile a: url is missing. Write url = …"),
    (ABOUT.replace(SITE, "site|"), "an absolute address without a version"),
    (ABOUT.replace("Task", "Tusk"), "type is 'Tusk', which is no resource type of FHIR R4."),
    (ABOUT.replace('"a"', '"a b"'), "name is 'a b', but takes a short name"),
    (ABOUT + 'base = "https://site.example/unknown"', "base is https://site.example/unknown, which is no profile here"),
    (ABOUT + f'base = "{SITE}a"', "is based on this one"),
    (ABOUT + f'base = "{COW}cow-message-header"', "of another type"),
    (ABOUT + ABOUT, "has the url https://site.example/StructureDefinition/a too"),
    (ABOUT + ABOUT.replace(SITE, "urn:other:"), "has a profile a too"),
]


@pytest.mark.parametrize(("text", "sentence"), FAULTY_FILES)
def test_a_fault_of_a_file_is_told(text: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(text)

    with pytest.raises(ProfileError) as refused:
        load([file])

    assert sentence in refused.value.sentences[0]
    assert str(file) in refused.value.sentences[0]


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"\xe6")

    with pytest.raises(ProfileError) as refused:
        site(tmp_path, rule('path = "a"') + rule('path = "b"\nmin = "c"'))

    assert len(refused.value.sentences) == 4


# --- totality ---------------------------------------------------------------------------------------------------------

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.just(json.Number("1e999"))
_NAMES = st.sampled_from(
    re.findall(
        "[A-Za-z_]+",
        "resourceType meta profile identifier _identifier code coding system focus reference type entry resource name "
        "part parameter valueReference valueCode _valueCode eventCoding extension url input contained status",
    )
)
_ANYTHING = st.recursive(
    _SCALARS | st.sampled_from(["Task", "Bundle", "Parameters", "MessageHeader", "Task/1", "subscription", "urn:a"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_NAMES, inner, max_size=6),
    max_leaves=24,
)
_ALL_RULES = (
    "".join(rule(text) for text, _, _ in RULES)
    + SLICES
    + "".join(rule(f"{path}\n{invariant(expression)}") for path, expression, _ in INVARIANTS)
)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Profiles:
    return site(tmp_path_factory.mktemp("profiles"), _ALL_RULES)


@settings(max_examples=300, deadline=None)
@given(content=st.dictionaries(_NAMES, _ANYTHING, max_size=8), anything=_ANYTHING)
def test_no_json_makes_a_profile_raise(everything: Profiles, content: Resource, anything: Any) -> None:
    around = Surroundings(lambda *_: anything if isinstance(anything, dict) else None)
    for profile in everything:
        list(profile.check(anything, "x", around=around))
        list(profile.check({**content, "resourceType": profile.type}, profile.type, around=around))
    list(everything.check_claims({**content, "meta": {"profile": [f"{SITE}own", anything]}}, "x", None, around))
    list(everything.check_claims(anything, "x"))


def test_of_countless_faults_only_the_first_are_told(tmp_path: Path) -> None:
    profile = known(f"{SITE}own", site(tmp_path, rule('path = "identifier.value"\nmin = 1')))

    assert len(list(profile.check(task(identifier=[{}] * 50_000), "Task"))) == 1000
