"""What makes a dialect of a pack: its messages are understood by the rules, and answered in the form that it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from gateway.errors import Issue, Refused
from gateway.fhir.dialects import composing
from gateway.fhir.dialects.matching import find_rule
from gateway.fhir.dialects.model import (
    Answer,
    Answering,
    Composed,
    Dialect,
    Form,
    Manner,
    Pack,
    Rule,
    Telling,
    Translate,
)
from gateway.fhir.json import Resource
from gateway.fhir.message import Message
from gateway.fhir.outcome import operation_outcome
from gateway.fhir.task.elements import dicts

_MOST_NAMED = 40
_EVENT = "Bundle.entry[0].resource.event"


AnsweringWith = Callable[[Message, Composed, Answering], Answer]
TellingWith = Callable[[Resource, Telling], Resource | None]


@dataclass(frozen=True, slots=True)
class Module:
    """What a dialect's module brings beside its pack.

    `answer` and `tell` are given what the pack alone would do, to fall back on.
    """

    translations: Mapping[str, Translate] = field(default_factory=dict)
    answer: AnsweringWith | None = None
    tell: TellingWith | None = None


def speak(pack: Pack, module: Module) -> Dialect:
    """The dialect of a pack."""
    answer: Answering = partial(_answer, pack)
    tell: Telling = partial(_tell, pack)
    return Dialect(
        pack,
        partial(_understand, pack, {**composing.TRANSLATIONS, **module.translations}),
        _answering(module.answer, answer) if module.answer else answer,
        _telling(module.tell, tell) if module.tell else tell,
    )


def _answering(answer: AnsweringWith, plainly: Answering) -> Answering:
    return lambda message, composed: answer(message, composed, plainly)


def _telling(tell: TellingWith, plainly: Telling) -> Telling:
    return lambda bundle: tell(bundle, plainly)


def _understand(pack: Pack, translations: Mapping[str, Translate], message: Message, manner: Manner) -> Message:
    if not pack.rules:
        return message
    rule = find_rule(message, pack.rules)
    if rule is None:
        return replace(composing.without_response(message), refusal=(_unknown(pack, message),))
    try:
        return replace(translations[rule.translation](message, manner, rule), holds=pack.holds)
    except Refused as refused:
        meant = message if rule.means == "response" else composing.without_response(message)
        return replace(meant, refusal=refused.issues)


def _unknown(pack: Pack, message: Message) -> Issue:
    known = list(dict.fromkeys(event for rule in pack.rules for event in rule.event))
    more = ", …" if len(known) > _MOST_NAMED else ""
    alike = [rule for rule in pack.rules if find_rule(message, [Rule(rule.means, "", event=rule.event)])]
    what = f"the event {message.event}"
    if any(rule.event for rule in alike):
        what = f"{what} with this reason, and with this status of what is in focus: {_conditions(alike)}"
    text = f"A message of {pack.title} is not known here by {what}. There are {', '.join(known[:_MOST_NAMED])}{more}."
    return Issue("not-supported", text, _EVENT)


def _conditions(rules: list[Rule]) -> str:
    """What rules ask for beside the event, in words."""
    said = []
    for rule in rules:
        wanted = {
            "reason": rule.reason,
            "focus": rule.focus,
            "status": rule.status,
            "code": rule.code,
            "businessStatus": rule.business_status,
            "activity": rule.activity,
        }
        said.append(", ".join(f"{name} {' or '.join(codes)}" for name, codes in wanted.items() if codes))
    return "; or ".join(filter(None, said[:_MOST_NAMED]))


def _answer(pack: Pack, message: Message, composed: Composed) -> Answer:
    replies = pack.replies
    if composed.code == "ok":
        return Answer(replies.status, _formed(pack, replies.form, message, composed))
    status = replies.retry_status
    if composed.code == "fatal-error":
        error = next((issue for issue in composed.issues if issue.severity in ("fatal", "error")), None)
        codes = [error.outcome[1] if error.outcome else "", error.code] if error else []
        found = [replies.statuses[code] for code in codes if code in replies.statuses]
        status = next(iter(found), replies.refused_status)
    return Answer(status, _formed(pack, replies.refused_form, message, composed))


def _formed(pack: Pack, form: Form, message: Message, composed: Composed) -> Resource | None:
    if form == "outcome":
        return operation_outcome(composed.issues)
    return _message(pack, message, composed) if form == "message" else None


def _message(pack: Pack, message: Message, composed: Composed) -> Resource:
    """The response message with the event and the identity that the network expects in it."""
    if not pack.rules:
        return composed.reply
    sent = composing.as_sent(message)
    rule = find_rule(sent, pack.rules)
    first, *others = dicts(composed.reply["entry"])
    header = first["resource"]
    event = composing.event_element(rule.answer if rule and rule.answer else None, sent.header)
    plain = {name: value for name, value in header.items() if name not in ("eventCoding", "eventUri")}
    return composed.reply | {"entry": [first | {"resource": composing.inserted(plain, event)}, *others]}


def _tell(pack: Pack, bundle: Resource) -> Resource | None:
    """What is told, by the network's event for it; as it is, where the pack names none."""
    if pack.tell is None:
        return bundle
    first, *others = dicts(bundle["entry"])
    header = first["resource"]
    ours = composing.our_event(header)
    if ours is None or ours not in pack.tell:
        return None
    event = composing.event_element(pack.tell[ours], header)
    plain = {name: value for name, value in header.items() if name not in ("eventCoding", "eventUri")}
    return bundle | {"entry": [first | {"resource": composing.inserted(plain, event)}, *others]}
