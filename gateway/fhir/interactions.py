"""What the RESTful API does, as the CapabilityStatement says it: https://hl7.org/fhir/R4/capabilitystatement.html"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from gateway.fhir.definitions import is_resource, type_names
from gateway.fhir.search import PARAMETERS
from gateway.fhir.subscription import PROFILE

_DOCUMENTATION = (
    "A create, an update or a patch is a message of its caller, and goes by the same rules as one that is sent to"
    " `$process-message`. Who writes names itself in the header `X-Party`."
)
_NOT_KEPT = ("CodeSystem", "MessageDefinition", "ValueSet")
"""Types that the gateway publishes, and keeps no versions of."""
_DERIVED = {
    "Provenance": ("target", "The resource, `Type/id`, or one version of it, `Type/id/_history/n`."),
    "AuditEvent": ("entity", "The resource, `Type/id`, that was changed, or was to be."),
}
_TOPIC = (
    "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/capabilitystatement-subscriptiontopic-canonical"
)
_SUBSCRIPTION = "http://hl7.org/fhir/uv/subscriptions-backport/OperationDefinition/backport-subscription"
_TRAIL = ("Provenance:target", "AuditEvent:entity")


def rest(operations: list[dict[str, Any]], written: Collection[str], topic: str) -> dict[str, Any]:
    """The `rest` of the statement; resources of the types in `written` can be created and updated, and the `topic` with
    this canonical url subscribed to.

    It names the types that R4B has as well: the statement is the same in both.
    """
    types = [name for name in type_names("R4") if is_resource(name, "R4") and is_resource(name, "R4B")]
    return {
        "mode": "server",
        "documentation": _DOCUMENTATION,
        "resource": [
            _subscription(topic) if name == "Subscription" else _resource(name, name in written)
            for name in sorted(types)
        ],
        "interaction": [{"code": "batch", "documentation": "Of messages: `POST $process-message`."}],
        "operation": operations,
    }


def is_searched(name: str) -> bool:
    """Whether there are searches of a type."""
    return name in PARAMETERS or name in _DERIVED or name in _NOT_KEPT


def _resource(name: str, is_written: bool) -> dict[str, Any]:
    if name in _NOT_KEPT:
        return {
            "type": name,
            "interaction": _interactions("read", "search-type"),
            "versioning": "no-version",
            "searchParam": [{"name": "url", "type": "uri"}],
        }
    codes = ["read", "vread", "history-instance"]
    codes += ["create", "update", "patch"] if is_written else []
    codes += ["search-type"] if name in PARAMETERS or name in _DERIVED else []
    said: dict[str, Any] = {
        "type": name,
        "interaction": _interactions(*codes),
        "versioning": "versioned-update" if is_written else "versioned",
        "readHistory": True,
        "updateCreate": False,
        "conditionalCreate": is_written,
        "conditionalRead": "full-support",
        "conditionalUpdate": False,
        "conditionalDelete": "not-supported",
    }
    return said | _search(name)


def _subscription(topic: str) -> dict[str, Any]:
    """http://hl7.org/fhir/uv/subscriptions-backport/CapabilityStatement/backport-subscription-server-r4"""
    return {
        "extension": [{"url": _TOPIC, "valueCanonical": topic}],
        "type": "Subscription",
        "supportedProfile": [PROFILE],
        "interaction": _interactions("read", "create", "update", "delete", "search-type"),
        "versioning": "versioned-update",
        "readHistory": False,
        "updateCreate": False,
        "searchParam": [
            {"name": "_id", "type": "token"},
            {"name": "status", "type": "token"},
            {"name": "url", "type": "uri"},
        ],
        "operation": [{"name": name, "definition": f"{_SUBSCRIPTION}-{name}"} for name in ("status", "events")],
    }


def _search(name: str) -> dict[str, Any]:
    if name in _DERIVED:
        parameter, text = _DERIVED[name]
        return {"searchParam": [{"name": parameter, "type": "reference", "documentation": text}]}
    if name not in PARAMETERS:
        return {}
    references = [p.name for p in PARAMETERS[name].values() if p.type == "reference"]
    parameters = [{"name": p.name, "type": p.type} for p in PARAMETERS[name].values()]
    return {
        "searchInclude": [f"{name}:*", *(f"{name}:{parameter}" for parameter in references)],
        "searchRevInclude": [*_referring(name), *_TRAIL],
        "searchParam": [{"name": "_id", "type": "token"}, {"name": "_lastUpdated", "type": "date"}, *parameters],
    }


def _referring(name: str) -> list[str]:
    """The parameters of all types by which resources of this type can be referred to."""
    all_of_them = [(source, p) for source, found in PARAMETERS.items() for p in found.values()]
    return [f"{source}:{p.name}" for source, p in all_of_them if p.type == "reference" and name in p.targets]


def _interactions(*codes: str) -> list[dict[str, str]]:
    return [{"code": code} for code in codes]
