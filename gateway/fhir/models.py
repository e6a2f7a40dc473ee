"""What a resource may hold: the models of `fhir.resources` R4B, linked into one validator per resource type.

Elements, their types, cardinality and choices are those of the models. Their own `model_validate` goes through Python
for every element, takes about ten times as long, stops at the first kind of fault in an element, takes `"yes"` for true
and a string with JSON in it for an object, and refuses what R4 has (`_value[x]` in an Extension, `valueMeta`, a UUID
not of version 4). So pydantic-core, the engine the models are made for, goes over the plain dict here, once. What a
primitive looks like is as R4 has it: https://hl7.org/fhir/R4/datatypes.html#primitive.

R4B has the structure of R4, but for the types in `NOT_IN_R4B`.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from fhir.resources.R4B import get_fhir_model_class
from fhir_core.fhirabstractmodel import FHIRAbstractModel
from fhir_core.types import FhirBase, FhirElementOrResourceBase
from fhir_core.utils import get_fhir_type_name, is_list_type
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, SchemaValidator, core_schema

Model = type[FHIRAbstractModel]

NOT_IN_R4B = frozenset(
    {
        "EffectEvidenceSynthesis",
        "Evidence",
        "EvidenceVariable",
        "MedicinalProduct",
        "MedicinalProductAuthorization",
        "MedicinalProductContraindication",
        "MedicinalProductIndication",
        "MedicinalProductIngredient",
        "MedicinalProductInteraction",
        "MedicinalProductManufactured",
        "MedicinalProductPackaged",
        "MedicinalProductPharmaceutical",
        "MedicinalProductUndesirableEffect",
        "RiskEvidenceSynthesis",
        "SubstanceNucleicAcid",
        "SubstancePolymer",
        "SubstanceProtein",
        "SubstanceReferenceInformation",
        "SubstanceSourceMaterial",
        "SubstanceSpecification",
    }
)
"""The resource types of R4 that R4B does not have, or not in the same structure."""

_ABSTRACT = frozenset(("Resource", "DomainResource"))
_RESOURCE_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}")


# --- what a primitive looks like -------------------------------------------------------------------------------------

_YEAR = "(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
_LEAP_YEAR = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][48]|[13579][26]|[2468]0)00)"
_MONTH = "(?:0[1-9]|1[0-2])"
_DAY_OF_MONTH = "(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
_DAY = f"(?:{_YEAR}-{_DAY_OF_MONTH}|{_LEAP_YEAR}-02-29)"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?"
_OFFSET = "(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_BASE64 = (
    r"\s*(?:(?:[A-Za-z0-9+/]\s*){4})*"
    r"(?:(?:[A-Za-z0-9+/]\s*){4}|(?:[A-Za-z0-9+/]\s*){3}=\s*|(?:[A-Za-z0-9+/]\s*){2}=\s*=\s*)"
)


@dataclass(frozen=True, slots=True)
class _Primitive:
    schema: CoreSchema
    wording: str


def _text(pattern: str, wording: str) -> _Primitive:
    return _Primitive(core_schema.str_schema(strict=True, pattern=f"^(?:{pattern})$"), wording)


def _whole(least: int, wording: str) -> _Primitive:
    return _Primitive(core_schema.int_schema(strict=True, ge=least, le=2**31 - 1), wording)


_STRING = _Primitive(core_schema.str_schema(strict=True, min_length=1), "a string that is not empty")
_URI = _text(r"\S+", "a URI: not empty and without blanks")

PRIMITIVES: Mapping[str, _Primitive] = {
    "base64Binary": _text(_BASE64, "base64, padded with = to a multiple of four characters"),
    "boolean": _Primitive(core_schema.bool_schema(strict=True), "true or false, without quotes"),
    "canonical": _URI,
    "code": _text(r"\S+(?:\s\S+)*", "a code: not empty, no blank at either end, no two blanks together"),
    "date": _text(f"{_YEAR}(?:-{_MONTH})?|{_DAY}", "a date of the calendar: YYYY, YYYY-MM or YYYY-MM-DD"),
    "dateTime": _text(
        f"{_YEAR}(?:-{_MONTH})?|{_DAY}(?:T{_TIME}{_OFFSET})?",
        "a date of the calendar, with seconds and an offset if it has a time:"
        " YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss+zz:zz",
    ),
    "decimal": _Primitive(core_schema.float_schema(strict=True), "a number, without quotes"),
    "id": _text(r"[A-Za-z0-9\-.]{1,64}", "an id: 1 to 64 letters, digits, hyphens and dots"),
    "instant": _text(f"{_DAY}T{_TIME}{_OFFSET}", "an instant: YYYY-MM-DDThh:mm:ss.sss+zz:zz"),
    "integer": _whole(-(2**31), "a whole number from -2147483648 to 2147483647, without quotes"),
    "markdown": _STRING,
    "oid": _text(r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+", "an OID: urn:oid:1.2.3"),
    "positiveInt": _whole(1, "a whole number from 1 to 2147483647, without quotes"),
    "string": _STRING,
    "time": _text(_TIME, "a time: hh:mm:ss"),
    "unsignedInt": _whole(0, "a whole number from 0 to 2147483647, without quotes"),
    "uri": _URI,
    "url": _URI,
    "uuid": _text("(?i)urn:uuid:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "a UUID: urn:uuid:8-4-4-4-12 hex digits"),
    "xhtml": _STRING,
}


# --- what a resource may hold ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Element:
    """One name that an object may have. It holds a `primitive`, or an object of a `model`, or any resource.

    `path` is what FHIRPath calls it: `value` for `valueQuantity`, `status` for `_status`.
    """

    path: str
    primitive: str | None
    model: Model | None
    many: bool
    required: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """The names of which an object may have one (`effective[x]`), and those of their `_` siblings."""

    path: str
    names: tuple[str, ...]
    required: bool
    present: Callable[[Iterable[str]], frozenset[str]]

    def chosen(self, element: Mapping[str, Any]) -> set[str]:
        return {name.removeprefix("_") for name in self.present(element)}

    def is_unfit(self, element: Mapping[str, Any]) -> bool:
        return not self.required <= len(self.chosen(element)) <= 1


_LEFT_OUT = {
    "Extension": ("valueMeta",),
    "ElementDefinition": ("defaultValueMeta", "fixedMeta", "patternMeta"),
    "ElementDefinitionExample": ("valueMeta",),
}
"""Elements of R4, all of type Meta, that R4B has not."""

_ATTRIBUTES = frozenset((("id", "string"), ("url", "uri")))
"""What is an attribute in XML has no extensions (where `url` is none, the models have its sibling)."""


@cache
def elements(model: Model) -> Mapping[str, Element]:
    """By the name that JSON gives them."""
    fields = {field.alias or name: field for name, field in model.model_fields.items() if name != "fhir_comments"}
    paths = {name: _extra(field).get("one_of_many") or name for name, field in fields.items()}
    known = {name: _element(field, paths[name.removeprefix("_")]) for name, field in fields.items()}
    for name in _LEFT_OUT.get(model.get_resource_type(), ()):
        known[name] = Element(name.removesuffix("Meta"), None, get_fhir_model_class("Meta"), False, False)
    return _siblings(known) | known


def _siblings(known: Mapping[str, Element]) -> dict[str, Element]:
    """The `_field` beside each primitive; the models have forgotten those of `Extension.value[x]`."""
    model = get_fhir_model_class("FHIRPrimitiveExtension")
    return {
        f"_{name}": Element(element.path, None, model, element.many, False)
        for name, element in known.items()
        if element.primitive is not None and (name, element.primitive) not in _ATTRIBUTES
    }


def _element(field: FieldInfo, path: str) -> Element:
    referred = _model_in(field.annotation)
    is_any = referred is not None and issubclass(referred, FhirElementOrResourceBase)
    return Element(
        path=path,
        primitive=get_fhir_type_name(field, "R4B.") if referred is None else None,
        model=None if referred is None or is_any else referred.get_model_klass(),
        many=is_list_type(field),
        required=field.is_required() or bool(_extra(field).get("element_required")),
    )


def _extra(field: FieldInfo) -> dict[str, Any]:
    extra = field.json_schema_extra
    return extra if isinstance(extra, dict) else {}


def _model_in(annotation: Any) -> type[FhirBase] | None:
    """The type of FHIR that `list[XType] | None` speaks of; None if it is a primitive."""
    if isinstance(annotation, type) and issubclass(annotation, FhirBase):
        return annotation
    found = (_model_in(argument) for argument in typing.get_args(annotation))
    return next((model for model in found if model is not None), None)


@cache
def _choices(model: Model) -> tuple[Choice, ...]:
    required = {
        extra["one_of_many"]: bool(extra.get("one_of_many_required"))
        for extra in map(_extra, model.model_fields.values())
        if "one_of_many" in extra
    }
    return tuple(_choice(model, path, is_required) for path, is_required in required.items())


def _choice(model: Model, path: str, required: bool) -> Choice:
    known = elements(model).items()
    names = tuple(name for name, element in known if element.path == path and not name.startswith("_"))
    siblings = frozenset(names) | {f"_{name}" for name in names}
    return Choice(path, names, required, siblings.intersection)


# --- the validators --------------------------------------------------------------------------------------------------


def find_validator(resource_type: str) -> SchemaValidator | None:
    """What validates a resource as a plain dict, given a list `Unfit` as its context; None for what is no resource."""
    model = find_resource_model(resource_type)
    return None if model is None else _validator(model)


@cache
def _validator(model: Model) -> SchemaValidator:
    linked = {model}
    waiting = [model]
    while waiting:
        new = _referred(waiting.pop()) - linked
        linked |= new
        waiting.extend(new)
    definitions = [_definition(each) for each in linked]
    return SchemaValidator(core_schema.definitions_schema(_reference(model), definitions))


def find_resource_model(resource_type: str) -> Model | None:
    if not _RESOURCE_TYPE.fullmatch(resource_type) or resource_type in _ABSTRACT:
        return None
    try:
        model = get_fhir_model_class(resource_type)
    except ValueError:
        return None
    return model if model.has_resource_base() else None


def _referred(model: Model) -> set[Model]:
    return {element.model for element in elements(model).values() if element.model is not None}


def _reference(model: Model) -> CoreSchema:
    return core_schema.definition_reference_schema(_name(model))


def _name(model: Model) -> str:
    return f"{model.__module__}.{model.__name__}"


@cache
def _definition(model: Model) -> CoreSchema:
    fields = {
        name: core_schema.typed_dict_field(_schema(element), required=element.required)
        for name, element in elements(model).items()
    }
    if model.has_resource_base():
        fields["resourceType"] = core_schema.typed_dict_field(core_schema.any_schema())
    choices = _choices(model)
    if not choices:
        return core_schema.typed_dict_schema(fields, strict=True, extra_behavior="forbid", ref=_name(model))
    schema = core_schema.typed_dict_schema(fields, strict=True, extra_behavior="forbid")
    check = _check_of(choices)
    return core_schema.with_info_before_validator_function(check, schema, ref=_name(model))


def _schema(element: Element) -> CoreSchema:
    if element.primitive is not None:
        schema = PRIMITIVES[element.primitive].schema
    elif element.model is not None:
        schema = _reference(element.model)
    else:
        schema = core_schema.any_schema()
    if not element.many:
        return schema
    if element.model is not None and element.model.__name__ == "FHIRPrimitiveExtension":
        schema = core_schema.nullable_schema(schema)
    return core_schema.list_schema(schema, strict=True)


Unfit = list[tuple[dict[str, Any], Choice]]
"""The objects that make too many choices, or too few."""


def _check_of(choices: tuple[Choice, ...]) -> Callable[[Any, core_schema.ValidationInfo[Unfit]], Any]:
    """Notes an unfit object, and lets its validation go on: raising would hide what else is wrong with it."""

    def check(value: Any, info: core_schema.ValidationInfo[Unfit]) -> Any:
        if type(value) is dict:
            for choice in choices:
                number = len(choice.present(value))
                if number > 1 or number < choice.required:
                    info.context.append((value, choice))
        return value

    return check
