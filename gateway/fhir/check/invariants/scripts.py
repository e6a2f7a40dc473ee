"""The invariants of TestScript and TestReport: https://hl7.org/fhir/R4/testscript.html#invs"""

from __future__ import annotations

from gateway.fhir.check.invariants.rules import Context, Element, Holds, Rules, error, has, items, just_one

_ASSERTIONS = (
    *("contentType", "expression", "headerField", "minimumId", "navigationLinks", "path", "requestMethod", "resource"),
    *("responseCode", "response", "validateProfileId"),
)
_ALONE = ("capabilities", "search", "transaction", "history")


def _in(name: str, holds_of_one: Holds) -> Holds:
    """What holds of each child of this name: children of several elements share one type, but not the keys."""
    return lambda element, context: all(holds_of_one(item, context) for item in items(element, name))


def _with_request(operation: Element, _context: Context) -> bool:
    if has(operation, "sourceId") or sum([has(operation, name) for name in ("targetId", "url", "params")]) == 1:
        return True
    return any(code.get("code") in _ALONE for code in items(operation, "type"))


def _with_one_assertion(assertion: Element, _context: Context) -> bool:
    return "extension" in assertion or sum([has(assertion, name) for name in _ASSERTIONS]) <= 1


def _with_comparison(assertion: Element, _context: Context) -> bool:
    compared = has(assertion, "compareToSourceExpression") or has(assertion, "compareToSourcePath")
    return has(assertion, "compareToSourceId") is compared


def _without_response(assertion: Element, _context: Context) -> bool:
    is_response = has(assertion, "response") or has(assertion, "responseCode")
    return assertion.get("direction") != "request" or not is_response


def _tst_3(variable: Element, _context: Context) -> bool:
    return not all(has(variable, name) for name in ("expression", "headerField", "path"))


def _tst_4(metadata: Element, _context: Context) -> bool:
    capabilities = items(metadata, "capability")
    return not capabilities or any(
        has(capability, name) for capability in capabilities for name in ("required", "validated")
    )


_TST_10 = (
    "Setup action assert SHALL contain either compareToSourceId and compareToSourceExpression, "
    "compareToSourceId and compareToSourcePath or neither."
)
_TST_11 = (
    "Test action assert SHALL contain either compareToSourceId and compareToSourceExpression, "
    "compareToSourceId and compareToSourcePath or neither."
)

RULES: Rules = {
    "TestReport.setup.action": (
        error(
            "inv-1",
            "Setup action SHALL contain either an operation or assert but not both.",
            just_one("operation", "assert"),
        ),
    ),
    "TestReport.test.action": (
        error(
            "inv-2",
            "Test action SHALL contain either an operation or assert but not both.",
            just_one("operation", "assert"),
        ),
    ),
    "TestScript.metadata": (
        error("tst-4", "TestScript metadata capability SHALL contain required or validated or both.", _tst_4),
    ),
    "TestScript.setup.action": (
        error(
            "tst-1",
            "Setup action SHALL contain either an operation or assert but not both.",
            just_one("operation", "assert"),
        ),
    ),
    "TestScript.setup.action.assert": (
        error(
            "tst-5", "Only a single assertion SHALL be present within setup action assert element.", _with_one_assertion
        ),
        error("tst-10", _TST_10, _with_comparison),
        error(
            "tst-12",
            "Setup action assert response and responseCode SHALL be empty when direction equals request",
            _without_response,
        ),
    ),
    "TestScript.setup.action.operation": (
        error("tst-7", "Setup operation SHALL contain either sourceId or targetId or params or url.", _with_request),
    ),
    "TestScript.teardown.action": (
        error(
            "tst-9",
            "Teardown operation SHALL contain either sourceId or targetId or params or url.",
            _in("operation", _with_request),
            path="operation",
        ),
    ),
    "TestScript.test.action": (
        error(
            "tst-2",
            "Test action SHALL contain either an operation or assert but not both.",
            just_one("operation", "assert"),
        ),
        error(
            "tst-8",
            "Test operation SHALL contain either sourceId or targetId or params or url.",
            _in("operation", _with_request),
            path="operation",
        ),
        error(
            "tst-6",
            "Only a single assertion SHALL be present within test action assert element.",
            _in("assert", _with_one_assertion),
            path="assert",
        ),
        error("tst-11", _TST_11, _in("assert", _with_comparison), path="assert"),
        error(
            "tst-13",
            "Test action assert response and response and responseCode SHALL be empty when direction equals request",
            _in("assert", _without_response),
            path="assert",
        ),
    ),
    "TestScript.variable": (
        error("tst-3", "Variable can only contain one of expression, headerField or path.", _tst_3),
    ),
}
