"""The invariants of Questionnaire: https://hl7.org/fhir/R4/questionnaire.html#invs"""

from __future__ import annotations

from typing import Any

from gateway.fhir.check.invariants.rules import (
    R4_ONLY,
    SINCE_R4,
    SINCE_R4B,
    Context,
    Element,
    Rules,
    are_distinct,
    descendants,
    error,
    has,
    has_choice,
    if_then,
    not_both,
    not_if,
    text,
    warning,
)

_WITH_LENGTH = ("boolean", "decimal", "integer", "string", "text", "url", "open-choice")
_WITH_OPTIONS = ("choice", "open-choice", "decimal", "integer", "date", "dateTime", "time", "string", "quantity")


def _que_1(item: Element, _context: Context) -> bool:
    kind = item.get("type")
    return (kind != "group" or "item" in item) and (kind != "display" or "item" not in item)


def _que_1a(item: Element, context: Context) -> bool:
    return item.get("type") != "group" or context.resource.get("status") != "complete" or "item" in item


def _que_2(questionnaire: Element, _context: Context) -> bool:
    return are_distinct([item.get("linkId") for item in descendants(questionnaire, "item")])


def _que_5(item: Element, _context: Context) -> bool:
    kind = text(item, "type")
    return kind is None or kind in _WITH_OPTIONS or not (has(item, "answerValueSet") or "answerOption" in item)


def _que_7(condition: Element, _context: Context) -> bool:
    return condition.get("operator") != "exists" or (
        has(condition, "answerBoolean") or not has_choice(condition, "answer")
    )


def _que_8(item: Element, _context: Context) -> bool:
    return "initial" not in item or item.get("type") not in ("group", "display")


def _que_10(item: Element, _context: Context) -> bool:
    kind = text(item, "type")
    return kind is None or kind in _WITH_LENGTH or not has(item, "maxLength")


def _que_12(item: Element, _context: Context) -> bool:
    return len(_list(item.get("enableWhen"))) <= 1 or has(item, "enableBehavior")


def _que_13(item: Element, _context: Context) -> bool:
    return item.get("repeats") is True or len(_list(item.get("initial"))) <= 1


def _list(value: Any) -> list[Any]:
    return value if type(value) is list else []


_QUE_1 = "Group items must have nested items, display items cannot have nested items"
_VALUE_SET = "Only 'choice' and 'open-choice' items can have answerValueSet"

RULES: Rules = {
    "Questionnaire": (
        error(
            "que-2", "The link ids for groups and questions must be unique within the questionnaire", _que_2, SINCE_R4
        ),
    ),
    "Questionnaire.item": (
        error("que-1", _QUE_1, _que_1, R4_ONLY),
        error("que-1a", "Group items must have nested items when Questionanire is complete", _que_1a, SINCE_R4B),
        warning("que-1b", "Groups should have items", if_then("type", "group", "item"), SINCE_R4B),
        error("que-1c", "Display items cannot have child items", not_if("type", "display", "item"), SINCE_R4B),
        error("que-3", 'Display items cannot have a "code" asserted', not_if("type", "display", "code"), SINCE_R4),
        error(
            "que-4",
            "A question cannot have both answerOption and answerValueSet",
            not_both("answerOption", "answerValueSet"),
            SINCE_R4,
        ),
        error("que-5", _VALUE_SET, _que_5),
        error(
            "que-6",
            "Required and repeat aren't permitted for display items",
            not_if("type", "display", "required", "repeats"),
            SINCE_R4,
        ),
        error("que-8", "Initial values can't be specified for groups or display items", _que_8, SINCE_R4),
        error(
            "que-9",
            'Read-only can\'t be specified for "display" items',
            not_if("type", "display", "readOnly"),
            SINCE_R4,
        ),
        error("que-10", "Maximum length can only be declared for simple question types", _que_10),
        error(
            "que-11",
            "If one or more answerOption is present, initial[x] must be missing",
            not_both("answerOption", "initial"),
            SINCE_R4,
        ),
        error("que-12", "If there are more than one enableWhen, enableBehavior must be specified", _que_12, SINCE_R4),
        error("que-13", "Can only have multiple initial values for repeating items", _que_13, SINCE_R4),
    ),
    "Questionnaire.item.enableWhen": (
        error("que-7", "If the operator is 'exists', the value must be a boolean", _que_7, SINCE_R4),
    ),
}
