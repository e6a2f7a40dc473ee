"""The invariants of the data types: https://hl7.org/fhir/R4/datatypes.html#invs"""

from __future__ import annotations

from typing import Any

from gateway.fhir.check.invariants.dates import is_after
from gateway.fhir.check.invariants.rules import (
    ALL,
    R4,
    R4B_ONLY,
    SINCE_R4,
    UCUM,
    Context,
    Element,
    Holds,
    Rule,
    Rules,
    any_of,
    error,
    has,
    has_choice,
    items,
    just_one,
    needs,
    not_both,
    text,
)

_NUMBERS = (int, float)


def _number(value: Any) -> float | None:
    return value if isinstance(value, _NUMBERS) and type(value) is not bool else None


def _ext_1(element: Element, _context: Context) -> bool:
    for member in element:
        if member[:5] == "value" or member[:6] == "_value":
            return "extension" not in element
    return "extension" in element


def _per_1(element: Element, _context: Context) -> bool:
    return "end" not in element or not is_after(element.get("start"), element["end"])


def _qty_3(element: Element, _context: Context) -> bool:
    return "code" not in element or "system" in element or "_system" in element


def _rng_2(element: Element, _context: Context) -> bool:
    low, high = element.get("low"), element.get("high")
    return type(low) is not dict or type(high) is not dict or not _is_more(low, high)


def _is_more(one: Element, other: Element) -> bool:
    """Whether a Quantity is more than another for certain: not if their units are not the same."""
    if one.get("code") != other.get("code") or one.get("system") != other.get("system"):
        return False
    if "code" not in one and one.get("unit") != other.get("unit"):
        return False
    more, less = _number(one.get("value")), _number(other.get("value"))
    return more is not None and less is not None and more > less


def _rat_1(element: Element, _context: Context) -> bool:
    if "numerator" in element:
        return "denominator" in element
    return "denominator" not in element and "extension" in element


def _rtr_1(element: Element, _context: Context) -> bool:
    if "lowNumerator" in element or "highNumerator" in element:
        return "denominator" in element
    return "denominator" not in element and "extension" in element


def _rtr_2(element: Element, _context: Context) -> bool:
    low, high = element.get("lowNumerator"), element.get("highNumerator")
    return type(low) is not dict or type(high) is not dict or not _is_more(low, high)


def _is_coded_in_ucum(element: Element) -> bool:
    return (has(element, "code") or not has(element, "value")) and _is_in_ucum(element)


def _is_in_ucum(element: Element) -> bool:
    return bool(element.get("system", UCUM) == UCUM)


def _dis_1(element: Element, _context: Context) -> bool:
    return _is_coded_in_ucum(element)


def _age_1(element: Element, _context: Context) -> bool:
    value = _number(element.get("value"))
    return _is_coded_in_ucum(element) and (value is None or value > 0)


def _cnt_3(element: Element, _context: Context) -> bool:
    value = element.get("value")
    is_whole = not isinstance(value, float) or "." not in getattr(value, "lexeme", str(value))
    is_one = bool(element.get("code", "1") == "1")
    return is_whole and is_one and _is_coded_in_ucum(element)


def _drt_1(element: Element, _context: Context) -> bool:
    return not has(element, "code") or (element.get("system") == UCUM and has(element, "value"))


def _drt_1_of_r4b(element: Element, _context: Context) -> bool:
    return not has(element, "value") or (element.get("system") == UCUM and has(element, "code"))


def _not_negative(name: str) -> Holds:
    def holds(element: Element, _context: Context) -> bool:
        value = _number(element.get(name))
        return value is None or value >= 0

    return holds


def _tim_9(element: Element, _context: Context) -> bool:
    if not has(element, "offset"):
        return True
    when = element.get("when")
    codes = when if type(when) is list else [when]
    return has(element, "when") and not any(code in ("C", "CM", "CD", "CV") for code in codes)


def _trd_3(element: Element, _context: Context) -> bool:
    match text(element, "type"):
        case "named-event":
            return has(element, "name")
        case "periodic":
            return has_choice(element, "timing")
        case str(code) if code.startswith("data-"):
            return "data" in element
    return True


_EXPRESSION_OF_TIME = "There SHALL be a code if there is a value and it SHALL be an expression of time."
_IS_UCUM = "If system is present, it SHALL be UCUM."
_COUNT = (
    f'There SHALL be a code with a value of "1" if there is a value. {_IS_UCUM}  '
    "If present, the value SHALL be a whole number."
)
_PATH_OR_PARAMETER = "Either a path or a searchParam must be provided, but not both"
_RATIO = (
    "Numerator and denominator SHALL both be present, or both are absent. If both are absent, there SHALL be some "
    "extension present"
)
_RATIO_RANGE = (
    "One of lowNumerator or highNumerator and denominator SHALL be present, or all are absent. If all are absent, "
    "there SHALL be some extension present"
)
_TRIGGER = "A named event requires a name, a periodic event requires timing, and a data event requires data"

_RULES: Rules = {
    "Age": (
        error(
            "age-1", f"{_EXPRESSION_OF_TIME}  {_IS_UCUM}  If value is present, it SHALL be positive.", _age_1, SINCE_R4
        ),
    ),
    "Attachment": (
        error("att-1", "If the Attachment has data, it SHALL have a contentType", needs("data", "contentType"), ALL),
    ),
    "ContactPoint": (error("cpt-2", "A system is required if a value is provided.", needs("value", "system"), ALL),),
    "Count": (error("cnt-3", _COUNT, _cnt_3, SINCE_R4),),
    "DataRequirement.codeFilter": (error("drq-1", _PATH_OR_PARAMETER, just_one("path", "searchParam"), SINCE_R4),),
    "DataRequirement.dateFilter": (error("drq-2", _PATH_OR_PARAMETER, just_one("path", "searchParam"), SINCE_R4),),
    "Distance": (
        error(
            "dis-1",
            "There SHALL be a code if there is a value and it SHALL be an expression of length.  " + _IS_UCUM,
            _dis_1,
            SINCE_R4,
        ),
    ),
    "Duration": (
        error("drt-1", f"{_EXPRESSION_OF_TIME}  {_IS_UCUM}", _drt_1, ("STU3", "R4", "R5")),
        error("drt-1", f"{_EXPRESSION_OF_TIME}  {_IS_UCUM}", _drt_1_of_r4b, R4B_ONLY),
    ),
    "Expression": (
        error("exp-1", "An expression or a reference must be provided", any_of("expression", "reference"), SINCE_R4),
    ),
    "Extension": (error("ext-1", "Must have either extensions or value[x], not both", _ext_1, ALL),),
    "Period": (error("per-1", "If present, start SHALL have a lower value than end", _per_1, ALL),),
    "Quantity": (error("qty-3", "If a code for the unit is present, the system SHALL also be present", _qty_3, ALL),),
    "Range": (error("rng-2", "If present, low SHALL have a lower value than high", _rng_2, ALL),),
    "Ratio": (error("rat-1", _RATIO, _rat_1, ALL),),
    "RatioRange": (
        error("inv-1", _RATIO_RANGE, _rtr_1, R4B_ONLY),
        error("inv-2", "If present, lowNumerator SHALL have a lower value than highNumerator", _rtr_2, R4B_ONLY),
    ),
    "Timing.repeat": (
        error(
            "tim-1", "if there's a duration, there needs to be duration units", needs("duration", "durationUnit"), ALL
        ),
        error("tim-2", "if there's a period, there needs to be period units", needs("period", "periodUnit"), ALL),
        error("tim-4", "duration SHALL be a non-negative value", _not_negative("duration"), ALL),
        error("tim-5", "period SHALL be a non-negative value", _not_negative("period"), ALL),
        error("tim-6", "If there's a periodMax, there must be a period", needs("periodMax", "period"), ALL),
        error("tim-7", "If there's a durationMax, there must be a duration", needs("durationMax", "duration"), ALL),
        error("tim-8", "If there's a countMax, there must be a count", needs("countMax", "count"), ALL),
        error("tim-9", "If there's an offset, there must be a when (and not C, CM, CD, CV)", _tim_9, ALL),
        error(
            "tim-10",
            "If there's a timeOfDay, there cannot be a when, or vice versa",
            not_both("timeOfDay", "when"),
            ALL,
        ),
    ),
    "TriggerDefinition": (
        error("trd-1", "Either timing, or a data requirement, but not both", not_both("data", "timing[x]"), SINCE_R4),
        error("trd-2", "A condition only if there is a data requirement", needs("condition", "data"), SINCE_R4),
        error("trd-3", _TRIGGER, _trd_3, SINCE_R4),
    ),
}

# --- SimpleQuantity, which is no type of its own but a profile of elements ------------------------------------------

_SIMPLE_QUANTITIES = """
    ActivityDefinition quantity
    CarePlan.activity.detail dailyAmount quantity
    Claim.item quantity
    Claim.item.detail quantity
    Claim.item.detail.subDetail quantity
    ClaimResponse.addItem quantity
    ClaimResponse.addItem.detail quantity
    ClaimResponse.addItem.detail.subDetail quantity
    Contract.term.asset.valuedItem quantity
    Coverage.costToBeneficiary value[x]
    CoverageEligibilityRequest.item quantity
    Dosage maxDosePerAdministration maxDosePerLifetime
    Dosage.doseAndRate dose[x] rate[x]
    ExplanationOfBenefit.addItem quantity
    ExplanationOfBenefit.addItem.detail quantity
    ExplanationOfBenefit.addItem.detail.subDetail quantity
    ExplanationOfBenefit.item quantity
    ExplanationOfBenefit.item.detail quantity
    ExplanationOfBenefit.item.detail.subDetail quantity
    Immunization doseQuantity
    MedicationAdministration.dosage dose rate[x]
    MedicationDispense daysSupply quantity
    MedicationKnowledge amount
    MedicationKnowledge.administrationGuidelines.patientCharacteristics characteristic[x]
    MedicationKnowledge.drugCharacteristic value[x]
    MedicationKnowledge.kinetics areaUnderCurve lethalDose50
    MedicationKnowledge.packaging quantity
    MedicationKnowledge.regulatory.maxDispense quantity
    MedicationRequest.dispenseRequest quantity
    MedicationRequest.dispenseRequest.initialFill quantity
    NutritionOrder.enteralFormula caloricDensity maxVolumeToDeliver
    NutritionOrder.enteralFormula.administration quantity rate[x]
    NutritionOrder.oralDiet.nutrient amount
    NutritionOrder.supplement quantity
    Observation.referenceRange high low
    Range high low
    SampledData origin
    Specimen.collection quantity
    Specimen.container capacity specimenQuantity
    SpecimenDefinition.typeTested.container capacity minimumVolume[x]
    Substance.instance quantity
    SupplyDelivery.suppliedItem quantity
    VisionPrescription.lensSpecification duration
"""


def _simple(name: str) -> Rule:
    choice = name.removesuffix("[x]")
    member = name.replace("[x]", "Quantity")

    def holds(element: Element, _context: Context) -> bool:
        return member not in element or not any(has(item, "comparator") for item in items(element, member))

    return error("sqty-1", "The comparator is not used on a SimpleQuantity", holds, R4, choice)


def _simple_quantities() -> Rules:
    lines = [line.split() for line in _SIMPLE_QUANTITIES.strip().splitlines()]
    return {type_name: tuple(_simple(name) for name in names) for type_name, *names in lines}


SIMPLE_QUANTITIES = _simple_quantities()
RULES: Rules = {
    name: _RULES.get(name, ()) + SIMPLE_QUANTITIES.get(name, ()) for name in {**_RULES, **SIMPLE_QUANTITIES}
}
