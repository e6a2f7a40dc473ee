"""What is said of a policy pack that cannot be used, and where packs are found."""

import re
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from gateway import terms
from gateway.fhir.policy.loading import PolicyError, find, load
from gateway.fhir.policy.model import Policy, Role
from gateway.settings import Settings, SettingsError
from tests.conftest import ROOT

SOUND = """
name = "own"
title = "Own"
accepted = "cancelled"
hold = 60
bidding = "selection"

[expiry]
action = "expire"
status = "failed"
after = 5

[order]
states = ["requested", "accepted", "in-progress", "in-progress/half", "cancelled", "completed", "failed"]
initial = ["requested"]
create = ["placer"]
unsettled = []
business_system = "http://site.example/steps"
moves = [
    { from = ["requested"], to = ["accepted"], by = ["fulfiller"] },
    { from = ["accepted"], to = ["in-progress", "in-progress/half"], by = ["fulfiller"] },
    { from = ["in-progress", "in-progress/half"], to = ["completed"], by = ["fulfiller"] },
    { from = ["requested", "accepted"], to = ["cancelled"], by = ["placer"] },
    { from = ["in-progress", "in-progress/half"], to = ["cancelled"], on_request = true },
]

[order.business_status]
completed = "all"

[order.fields]
placer = ["priority"]
fulfiller = ["output"]

[request]
states = ["requested", "accepted", "rejected", "completed"]
initial = ["requested"]
create = ["placer"]
moves = [{ from = ["requested"], to = ["accepted", "rejected"], by = ["fulfiller"] }]
"""


def write(directory: Path, text: str, name: str = "own") -> Path:
    file = directory / f"{name}.toml"
    file.write_text(text)
    return file


def changed(*changes: tuple[str, str]) -> str:
    text = SOUND
    for old, new in changes:
        assert text.count(old) >= 1, old
        text = text.replace(old, new, 1)
    return text


def faults(directory: Path, text: str) -> list[str]:
    """What is said of a pack, without the file's name before each."""
    file = write(directory, text)
    with pytest.raises(PolicyError) as error:
        load("own", [file])
    assert str(error.value) == "\n".join(error.value.sentences)
    for sentence in error.value.sentences:
        assert sentence.startswith(str(file))
        assert re.search(r"[.?…]$", sentence)
    return [sentence.removeprefix(f"{file}").removeprefix(", ") for sentence in error.value.sentences]


def test_a_sound_pack_is_read(tmp_path: Path) -> None:
    policy = load("own", [write(tmp_path, SOUND)])
    assert (policy.name, policy.title, policy.description, policy.source) == ("own", "Own", "Own", "")
    assert (policy.accepted, policy.hold, policy.bidding) == ("cancelled", timedelta(minutes=1), "selection")
    assert (policy.expiry.action, policy.expiry.status, policy.expiry.after.seconds) == ("expire", "failed", 5)
    order = policy.order
    assert order.who("requested", "accepted") == {Role.FULFILLER}
    assert order.on_request == {state: {"cancelled"} for state in ("in-progress", "in-progress/half")}
    assert order.fields == {"priority": {Role.PLACER}, "output": {Role.FULFILLER}}
    assert (order.business_system, order.business_status) == ("http://site.example/steps", {"completed": "all"})


def test_without_expiry_what_is_overdue_is_flagged(tmp_path: Path) -> None:
    text = changed(
        ('[expiry]\naction = "expire"\nstatus = "failed"\nafter = 5\n', ""),
        (', "failed"]', "]"),
    )
    assert load("own", [write(tmp_path, text)]).expiry.action == "flag"


FAULTS: list[tuple[list[tuple[str, str]], str]] = [
    # keys
    ([("hold = 60", "held = 60\nhold = 60")], "the pack: there is no key held. Did you mean hold?"),
    ([('title = "Own"', "")], "the pack: title is missing. Write title = …"),
    ([('name = "own"', 'name = "My own"')], "the pack: name is 'My own', but takes a short name of small letters"),
    ([('title = "Own"', "title = 3")], "the pack: title is 3, but takes a text that is not empty."),
    ([("hold = 60", "hold = -1")], "the pack: hold is -1, but takes a number of seconds from 0 to 2592000."),
    ([("hold = 60", "hold = true")], "the pack: hold is True, but takes a number of seconds"),
    (
        [('bidding = "selection"', 'bidding = "first-claims"')],
        "the pack: bidding is 'first-claims', but takes one of selection, first-claim; did you mean first-claim?",
    ),
    ([('accepted = "cancelled"', 'accepted = "on-request"')], "the pack: accepted is 'on-request', but takes one of"),
    ([('action = "expire"', 'action = "end"')], "expiry: action is 'end', but takes one of flag, expire."),
    ([('action = "expire"\n', "")], "expiry: action is missing."),
    ([("after = 5", 'after = "5"')], "expiry: after is '5', but takes a number of seconds"),
    ([('create = ["placer"]\nunsettled', "unsettled")], "order: create is missing."),
    ([("unsettled = []", "unsetled = []")], "order: there is no key unsetled. Did you mean unsettled?"),
    ([("unsettled = []", 'unsettled = "draft"')], "order: unsettled is 'draft', but takes a list of texts"),
    # states
    ([('"accepted", "in-p', '"acepted", "in-p')], "order: the state 'acepted' is no status of a Task, nor one with a"),
    ([('"accepted", "in-p', '"acepted", "in-p')], "Did you mean accepted?"),
    ([("in-progress/half", "in-progress/")], "order: the state 'in-progress/' is no status of a Task"),
    ([('"completed", "f', '"completed", "completed", "f')], "order: the state completed is there twice."),
    (
        [('business_system = "http://site.example/steps"', "")],
        "order: the state in-progress/half has a business status: write business_system = … too",
    ),
    ([('business_system = "http://site.example/steps"', "")], "order, business_status: business_system is missing."),
    ([("http://site.example/steps", "steps")], "order: business_system is 'steps', but takes an absolute address."),
    (
        [('completed = "all"', 'complete = "all"')],
        "order, business_status: complete is no state. Did you mean completed?",
    ),
    (
        [('completed = "all"', "completed = 7.0")],
        'order, business_status: completed is 7.0, but takes a code, like "3.0".',
    ),
    (
        [('initial = ["requested"]', 'initial = ["request"]')],
        "order: initial has 'request', which is no state. Did you m",
    ),
    ([('initial = ["requested"]', "initial = []")], "order: initial is empty, so that no Task can begin."),
    (
        [('initial = ["requested"]', 'initial = ["requested", "completed"]')],
        "order: initial has completed, in which a T",
    ),
    (
        [('create = ["placer"]', 'create = ["plaser"]')],
        "order: create has 'plaser', which is no role. Did you mean placer?",
    ),
    ([('create = ["placer"]', "create = []")], "order: create is empty, so that nobody can make a Task."),
    (
        [("unsettled = []", 'unsettled = ["draft"]')],
        "order: unsettled has 'draft', which is no state. There are requested,",
    ),
    # moves
    ([("moves = [\n", "moves = [\n    3,\n")], "order: moves is [3, {'from'"),
    ([("from =", "form =")], "order, move 1: there is no key form. Did you mean from?"),
    ([("from =", "form =")], "order, move 1: from is missing."),
    (
        [('to = ["accepted"]', 'to = ["accept"]')],
        "order, move 1: to has 'accept', which is no state. Did you mean accepted?",
    ),
    ([('from = ["requested"]', 'from = ["draft"]')], "order, move 1: from has 'draft', which is no state."),
    ([('to = ["accepted"]', 'to = ["accepted", "requested"]')], "order, move 1: requested to requested is no move"),
    (
        [
            (
                '{ from = ["accepted"]',
                '{ from = ["requested"], to = ["accepted"], by = ["placer"] }, { from = ["accepted"]',
            )
        ],
        "order, move 2: requested to accepted is in move 1 already. Leave one out.",
    ),
    ([('by = ["fulfiller"] },\n    { from = ["acc', 'by = [] },\n    { from = ["acc')], "order, move 1: by is empty"),
    ([(', by = ["fulfiller"] },\n    { from = ["acc', ' },\n    { from = ["acc')], "order, move 1: by is missing."),
    (
        [("on_request = true", 'by = ["placer"], on_request = true')],
        "order, move 5: no party makes a move on request its",
    ),
    ([("on_request = true", "on_request = 1")], "order, move 5: on_request is 1, but takes true or false."),
    (
        [('by = ["fulfiller"]', 'by = ["pharmacy"]')],
        "order, move 1: by has 'pharmacy', which is no role. There are placer,",
    ),
    # fields
    (
        [('placer = ["priority"]', 'nurse = ["priority"]')],
        "order, fields: there is no key nurse. There are placer, fulfiller, candidate, creator.",
    ),
    (
        [('["priority"]', '["priorty"]')],
        "order, fields: placer has 'priorty', which is no element of a Task. Did you mean p",
    ),
    ([('["priority"]', '["status"]')], "order, fields: status has rules of its own"),
    ([('["priority"]', '"priority"')], "order, fields: placer is 'priority', but takes a list of texts"),
    # what the parts must have of each other
    (
        [('to = ["in-progress", "in-progress/half"]', 'to = ["in-progress"]')],
        "order: no moves lead to the state in-progress/half. Write one that does, or leave the state out.",
    ),
    ([('action = "expire"', 'action = "flag"')], "order: no moves lead to the state failed."),
    (
        [
            (
                '{ from = ["accepted"]',
                '{ from = ["completed"], to = ["accepted"], by = ["placer"] }, { from = ["accepted"]',
            )
        ],
        "order: a Task that is completed has ended, but moves lead from there to accepted. Leave these out.",
    ),
    (
        [('accepted = "cancelled"', 'accepted = "failed"')],
        'has no move to that. Write { from = ["in-progress"], to = ["failed"], on_request = true }, or another.',
    ),
    (
        [("on_request = true", 'by = ["placer"]'), ('accepted = "cancelled"', 'accepted = "on-hold"')],
        "the pack: accepted is on-hold, which is no state of an order.",
    ),
    ([('accepted = "cancelled"', 'accepted = "failed"')], "accepted is failed, but an order that is in-progress/half,"),
    ([('status = "failed"\n', "")], "expiry: status is missing: what expires becomes that."),
    (
        [('status = "failed"', 'status = "rejected"')],
        "expiry: status is rejected, which is no state of an order. There are c",
    ),
    (
        [('status = "failed"', 'status = "in-progress"')],
        "expiry: status is in-progress, in which an order has not ended.",
    ),
    (
        [('"rejected", "completed"]', '"rejected"]')],
        "request: the state completed is missing, which every request needs.",
    ),
    (
        [
            (
                'initial = ["requested"]\ncreate = ["placer"]\nmoves',
                'initial = ["requested", "accepted"]\ncreate = ["placer"]\nmoves',
            )
        ],
        'request: initial has accepted, but a request begins requested. Write initial = ["requested"].',
    ),
]


@pytest.mark.parametrize(("changes", "sentence"), FAULTS)
def test_a_fault_is_a_sentence_with_place_and_remedy(
    changes: list[tuple[str, str]], sentence: str, tmp_path: Path
) -> None:
    said = faults(tmp_path, changed(*changes))
    assert any(sentence in one for one in said), said


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    text = changed(("hold = 60", "hold = false"), ('["priority"]', '["priorty"]'), ('to = ["accepted"]', 'to = ["x"]'))
    said = faults(tmp_path, text)
    assert [one.partition(":")[0] for one in said] == ["the pack", "order, move 1", "order, fields"]


@pytest.mark.parametrize("part", ["order", "request", "expiry"])
def test_a_part_that_is_no_table_is_told_of(part: str, tmp_path: Path) -> None:
    head, _, _ = SOUND.partition("[expiry]")
    said = faults(tmp_path, f"{part} = 3\n{head}")
    assert f"the pack: {part} is 3, but takes a table, begun by [{part}]." in said


@pytest.mark.parametrize("content", [b"order = [", b"\xff\xfe", b'name = "a"\nname = "b"'])
def test_what_is_no_toml_is_told_of(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_bytes(content)
    with pytest.raises(PolicyError, match=r"own\.toml (is not TOML|cannot be read: it is not UTF-8)"):
        load("cow", [tmp_path])


def test_a_file_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"absent\.toml cannot be read: No such file"):
        load("cow", [tmp_path / "absent.toml"])


def test_a_policy_that_there_is_not_is_answered_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(PolicyError) as error:
        load("fihr", [write(tmp_path, SOUND)])
    assert (
        str(error.value)
        == "policy is 'fihr', which is no policy pack here. Did you mean fhir? There are bser, cow, fhir, own."
    )


def test_a_pack_that_is_not_in_force_stops_the_start_too(tmp_path: Path) -> None:
    write(tmp_path, changed(("hold = 60", "")))
    with pytest.raises(SettingsError, match="hold is missing"):
        terms.load(Settings(policies=(tmp_path,)))


def test_the_policy_of_the_settings_is_in_force(tmp_path: Path) -> None:
    write(tmp_path, SOUND)
    assert terms.load(Settings(policy="own", policies=(tmp_path,))).policy.title == "Own"
    assert terms.load(Settings()).policy.name == "cow"
    with pytest.raises(SettingsError, match="is no policy pack here"):
        terms.load(Settings(policy="own"))


def test_two_packs_of_one_name_are_a_fault(tmp_path: Path) -> None:
    first, second = write(tmp_path, SOUND), write(tmp_path, changed(("hold = 60", "hold = 61")), "second")
    with pytest.raises(PolicyError) as error:
        load("own", [tmp_path])
    sentence = f"{second}: {first} has a pack own too. Write another name, or leave one out."
    assert error.value.sentences == (sentence,)
    with pytest.raises(PolicyError, match=r"conf/policies/cow\.toml has a pack cow too"):
        load("cow", [write(tmp_path, changed(('name = "own"', 'name = "cow"')))])


def test_a_copy_of_a_pack_is_no_second_one(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "conf" / "policies", tmp_path / "policies")
    assert [pack.policy.name for pack in find([tmp_path / "policies"]) if pack.policy] == ["bser", "cow", "fhir"]


def test_the_packs_of_the_gateway_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = {pack.policy.name for pack in find([Path("conf/policies")]) if pack.policy}
    assert names == {"bser", "cow", "fhir"}


def test_there_is_one_copy_of_the_packs() -> None:
    assert sorted((ROOT / "conf" / "policies").glob("*.toml")) == sorted(pack.file for pack in find())


def described(policy: Policy) -> list[str]:
    return [policy.title, policy.description, policy.source]


@pytest.mark.parametrize("name", ["cow", "fhir", "bser"])
def test_the_packs_of_the_gateway_say_what_they_are_and_where_from(name: str) -> None:
    assert all(described(load(name)))
