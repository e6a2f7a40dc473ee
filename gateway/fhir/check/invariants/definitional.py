"""The invariants of the resources that define others' content: terminology, capabilities, messages, measures."""

from __future__ import annotations

import re
from typing import Any

from gateway.fhir.check.invariants.rules import (
    R4,
    R4_ONLY,
    R4B_ONLY,
    SINCE_R4,
    Context,
    Element,
    Rule,
    Rules,
    any_of,
    are_distinct,
    descendants,
    distinct,
    error,
    has,
    if_then,
    items,
    needs,
    not_both,
    not_if,
    only_if,
    text,
    warning,
)

_NAME = re.compile("[A-Z][A-Za-z0-9_]{0,254}")
_POSITIVE = re.compile("0*[1-9][0-9]*")


def _has_usable_name(definition: Element, _context: Context) -> bool:
    name = definition.get("name")
    return type(name) is not str or _NAME.fullmatch(name) is not None


# --- CapabilityStatement, TerminologyCapabilities, ImplementationGuide, MessageDefinition ----------------------------


def _cpb_3(statement: Element, _context: Context) -> bool:
    if statement.get("kind") == "instance":
        return True
    return not any("endpoint" in messaging for messaging in items(statement, "messaging"))


def _is_capability(statement: Element, _context: Context) -> bool:
    return statement.get("kind") != "capability" or ("implementation" not in statement and "software" in statement)


def _tcp_1(code_system: Element, _context: Context) -> bool:
    versions = items(code_system, "version")
    return len(versions) <= 1 or all(has(version, "code") for version in versions)


def _ig_1(definition: Element, _context: Context) -> bool:
    wanted = {text(resource, "groupingId") for resource in items(definition, "resource")} - {None}
    return wanted <= {text(grouping, "id") for grouping in items(definition, "grouping")}


def _ig_2(guide: Element, _context: Context) -> bool:
    known = _strings(guide.get("fhirVersion"))
    return all(
        _strings(resource.get("fhirVersion")) <= known
        for definition in items(guide, "definition")
        for resource in items(definition, "resource")
    )


def _strings(value: Any) -> set[str]:
    return {item for item in value if type(item) is str} if type(value) is list else set()


def _md_1(focus: Element, _context: Context) -> bool:
    most = focus.get("max")
    return type(most) is not str or most == "*" or _POSITIVE.fullmatch(most) is not None


# --- CodeSystem, ConceptMap, NamingSystem, ValueSet ------------------------------------------------------------------


def _csd_1(code_system: Element, _context: Context) -> bool:
    return are_distinct([concept.get("code") for concept in descendants(code_system, "concept")])


def _cmd_1(target: Element, _context: Context) -> bool:
    return has(target, "comment") or target.get("equivalence") not in ("narrower", "inexact")


def _nsd_1(system: Element, _context: Context) -> bool:
    return system.get("kind") != "root" or not any(unique.get("type") == "uuid" for unique in items(system, "uniqueId"))


def _nsd_2(system: Element, _context: Context) -> bool:
    return are_distinct([unique.get("type") for unique in items(system, "uniqueId") if unique.get("preferred") is True])


def _vsd_2(include: Element, _context: Context) -> bool:
    return has(include, "system") or not ("concept" in include or "filter" in include)


def _vsd_9(contains: Element, _context: Context) -> bool:
    return has(contains, "code") or contains.get("abstract") is True


# --- Measure, OperationDefinition ------------------------------------------------------------------------------------


def _mea_1(measure: Element, _context: Context) -> bool:
    return all(
        ("code" in stratifier or has(stratifier, "description") or "criteria" in stratifier)
        is not ("component" in stratifier)
        for group in items(measure, "group")
        for stratifier in items(group, "stratifier")
    )


# --- the tables ------------------------------------------------------------------------------------------------------

_USABLE_NAME = (
    "Name should be usable as an identifier for the module by machine processing applications such as code generation"
)
_NAMED = """
    CapabilityStatement cpb-0  ChargeItemDefinition cid-0  CodeSystem csd-0  CompartmentDefinition cpd-0
    ConceptMap cmd-0  EventDefinition evd-0  ExampleScenario esc-0  GraphDefinition gdf-0  ImplementationGuide ig-0
    MessageDefinition msd-0  NamingSystem nsd-0  OperationDefinition opd-0  Questionnaire que-0
    ResearchDefinition rsd-0  ResearchElementDefinition red-0  SearchParameter spd-0  StructureDefinition sdf-0
    StructureMap smp-0  TerminologyCapabilities tcp-0  TestScript tst-0  ValueSet vsd-0
"""
_NAMED_IN_R4 = """
    ActivityDefinition adf-0  EffectEvidenceSynthesis ees-0  Evidence evi-0  EvidenceVariable evv-0  Library lib-0
    Measure mea-0  PlanDefinition pdf-0  RiskEvidenceSynthesis rvs-0
"""
_NAMED_IN_R4B = """
    ActivityDefinition cnl-0  Citation cnl-0  Evidence cnl-0  EvidenceReport cnl-0  EvidenceVariable cnl-0
    Library cnl-0  Measure cnl-0  PlanDefinition cnl-0
"""


def _name_rules() -> dict[str, tuple[Rule, ...]]:
    rules: dict[str, tuple[Rule, ...]] = {}
    for named, versions in ((_NAMED, R4), (_NAMED_IN_R4, R4_ONLY), (_NAMED_IN_R4B, R4B_ONLY)):
        words = iter(named.split())
        for type_name, key in zip(words, words, strict=True):
            rule = warning(key, _USABLE_NAME, _has_usable_name, versions)
            rules[type_name] = (*rules.get(type_name, ()), rule)
    return rules


NAME_RULES: Rules = _name_rules()

_SOMETHING = "A Capability Statement SHALL have at least one of description, software, or implementation element."
_INSTANCE = "If kind = instance, implementation must be present and software may be present"
_CAPABILITY = "If kind = capability, implementation must be absent, software must be present"
_REQUIREMENTS = "If kind = requirements, implementation and software must be absent"


def _of_kinds(prefix: str, numbers: tuple[int, int, int, int]) -> tuple[Rule, ...]:
    """What CapabilityStatement and TerminologyCapabilities say alike."""
    something, instance, capability, requirements = [f"{prefix}-{number}" for number in numbers]
    return (
        error(something, _SOMETHING, any_of("description", "software", "implementation"), SINCE_R4),
        error(instance, _INSTANCE, if_then("kind", "instance", "implementation"), SINCE_R4),
        error(capability, _CAPABILITY, _is_capability, SINCE_R4),
        error(requirements, _REQUIREMENTS, not_if("kind", "requirements", "implementation", "software"), SINCE_R4),
    )


RULES: Rules = {
    "CapabilityStatement": (
        error(
            "cpb-1",
            "A Capability Statement SHALL have at least one of REST, messaging or document element.",
            any_of("rest", "messaging", "document"),
            SINCE_R4,
        ),
        *_of_kinds("cpb", (2, 14, 15, 16)),
        error(
            "cpb-3",
            "Messaging end-point is required (and is only permitted) when a statement is for an implementation.",
            _cpb_3,
            SINCE_R4,
        ),
        error(
            "cpb-7",
            "The set of documents must be unique by the combination of profile and mode.",
            distinct("document", "profile", "mode"),
            SINCE_R4,
        ),
    ),
    "CapabilityStatement.rest": (
        error(
            "cpb-9",
            "A given resource can only be described once per RESTful mode.",
            distinct("resource", "type"),
            SINCE_R4,
        ),
    ),
    "CapabilityStatement.rest.resource": (
        error(
            "cpb-12",
            "Search parameter names must be unique in the context of a resource.",
            distinct("searchParam", "name"),
            SINCE_R4,
        ),
    ),
    "CodeSystem": (error("csd-1", "Within a code system definition, all the codes SHALL be unique", _csd_1, SINCE_R4),),
    "ConceptMap.group.element.target": (
        error("cmd-1", "If the map is narrower or inexact, there SHALL be some comments", _cmd_1),
    ),
    "ConceptMap.group.unmapped": (
        error("cmd-2", "If the mode is 'fixed', a code must be provided", if_then("mode", "fixed", "code")),
        error("cmd-3", "If the mode is 'other-map', a url must be provided", if_then("mode", "other-map", "url")),
    ),
    "ImplementationGuide": (
        error(
            "ig-2",
            "If a resource has a fhirVersion, it must be oe of the versions defined for the Implementation Guide",
            _ig_2,
            SINCE_R4,
        ),
    ),
    "ImplementationGuide.definition": (
        error(
            "ig-1",
            "If a resource has a groupingId, it must refer to a grouping defined in the Implementation Guide",
            _ig_1,
            SINCE_R4,
        ),
    ),
    "Measure": (
        error(
            "mea-1", "Stratifier SHALL be either a single criteria or a set of criteria components", _mea_1, SINCE_R4
        ),
    ),
    "MessageDefinition.focus": (error("md-1", "Max must be postive int or *", _md_1, SINCE_R4),),
    "NamingSystem": (
        error("nsd-1", "Root systems cannot have uuid identifiers", _nsd_1, SINCE_R4),
        error("nsd-2", "Can't have more than one preferred identifier for a type", _nsd_2, SINCE_R4),
    ),
    "OperationDefinition.parameter": (
        error("opd-1", "Either a type must be provided, or parts", any_of("type", "part"), SINCE_R4),
        error(
            "opd-2",
            "A search type can only be specified for parameters of type string",
            only_if("searchType", "type", "string"),
            SINCE_R4,
        ),
        error(
            "opd-3",
            "A targetProfile can only be specified for parameters of type Reference or Canonical",
            only_if("targetProfile", "type", "Reference", "canonical"),
        ),
    ),
    "SearchParameter": (
        error("spd-1", "If an xpath is present, there SHALL be an xpathUsage", needs("xpath", "xpathUsage")),
        error(
            "spd-2",
            "Search parameters can only have chain names when the search parameter type is 'reference'",
            only_if("chain", "type", "reference"),
            SINCE_R4,
        ),
    ),
    "TerminologyCapabilities": _of_kinds("tcp", (2, 3, 4, 5)),
    "TerminologyCapabilities.codeSystem": (
        error("tcp-1", "If there is more than one version, a version code must be defined", _tcp_1, SINCE_R4),
    ),
    "ValueSet.compose.include": (
        error(
            "vsd-1",
            "A value set include/exclude SHALL have a value set or a system",
            any_of("valueSet", "system"),
            SINCE_R4,
        ),
        error("vsd-2", "A value set with concepts or filters SHALL include a system", _vsd_2, SINCE_R4),
        error("vsd-3", "Cannot have both concept and filter", not_both("concept", "filter"), SINCE_R4),
    ),
    "ValueSet.expansion.contains": (
        error("vsd-6", "SHALL have a code or a display", any_of("code", "display"), SINCE_R4),
        error("vsd-9", "Must have a code if not abstract", _vsd_9, SINCE_R4),
        error("vsd-10", "Must have a system if a code is present", needs("code", "system"), SINCE_R4),
    ),
}
