"""The invariants of clinical resources, and of requests and records of care."""

from __future__ import annotations

import json
import re

from gateway.fhir.check.invariants.dates import is_after
from gateway.fhir.check.invariants.rules import (
    ALL,
    R4_ONLY,
    R4B_ONLY,
    SINCE_R4,
    SINCE_R4B,
    UCUM,
    Context,
    Element,
    Rules,
    any_of,
    error,
    has_choice,
    has_coding,
    items,
    just_one,
    needs,
    not_both,
    text,
    together,
    warning,
)
from gateway.fhir.definitions import is_resource

_CODE_SYSTEM = "http://terminology.hl7.org/CodeSystem/"
_ALLERGY_VERIFICATION = f"{_CODE_SYSTEM}allergyintolerance-verification"
_CONDITION_VERIFICATION = f"{_CODE_SYSTEM}condition-ver-status"
_CONDITION_CLINICAL = f"{_CODE_SYSTEM}condition-clinical"
_CONDITION_CATEGORY = f"{_CODE_SYSTEM}condition-category"
_ABATED = ("inactive", "resolved", "remission")
_REFERENCE = re.compile(
    r"(?:https?://[^/?#]+/(?:[^?#]*/)?)?([A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?"
)
_FULL_PROBABILITY = 100


def _is_wrong(resource: Element, system: str) -> bool:
    """Whether the resource was entered in error."""
    return has_coding(resource, "verificationStatus", system, "entered-in-error")


def _ait_1(allergy: Element, _context: Context) -> bool:
    return "clinicalStatus" in allergy or _is_wrong(allergy, _ALLERGY_VERIFICATION)


def _ait_1_of_r4b(allergy: Element, context: Context) -> bool:
    return "verificationStatus" not in allergy or _ait_1(allergy, context)


def _ait_2(allergy: Element, _context: Context) -> bool:
    return "clinicalStatus" not in allergy or not _is_wrong(allergy, _ALLERGY_VERIFICATION)


def _con_3(condition: Element, _context: Context) -> bool:
    return (
        "clinicalStatus" in condition
        or not has_coding(condition, "category", _CONDITION_CATEGORY, "problem-list-item")
        or _is_wrong(condition, _CONDITION_VERIFICATION)
    )


def _con_4(condition: Element, _context: Context) -> bool:
    return not has_choice(condition, "abatement") or has_coding(
        condition, "clinicalStatus", _CONDITION_CLINICAL, *_ABATED
    )


def _con_5(condition: Element, _context: Context) -> bool:
    return "clinicalStatus" not in condition or not _is_wrong(condition, _CONDITION_VERIFICATION)


def _ctm_1(participant: Element, context: Context) -> bool:
    """What a reference is to is known if it says so itself, or if that is contained."""
    member = participant.get("member")
    if "onBehalfOf" not in participant or type(member) is not dict:
        return True
    return _type_of(member, context) in (None, "Practitioner")


def _type_of(reference: Element, context: Context) -> str | None:
    literal = text(reference, "reference") or ""
    if literal.startswith("#"):
        return context.contained_type(literal[1:])
    match = _REFERENCE.fullmatch(literal)
    name = match[1] if match and is_resource(match[1]) else text(reference, "type")
    return name if name is not None and is_resource(name) else None


def _mdd_1(dispense: Element, _context: Context) -> bool:
    return not is_after(dispense.get("whenPrepared"), dispense.get("whenHandedOver"))


def _msq_3(sequence: Element, _context: Context) -> bool:
    start = sequence.get("coordinateSystem")
    return type(start) is not int or start in (0, 1)


def _mrp_1(report: Element, _context: Context) -> bool:
    return report.get("type") != "data-collection" or "group" not in report


def _mrp_2(report: Element, _context: Context) -> bool:
    return all(
        ("value" in stratum or has_choice(stratum, "value")) is not ("component" in stratum)
        for group in items(report, "group")
        for stratifier in items(group, "stratifier")
        for stratum in items(stratifier, "stratum")
    )


def _obs_6(observation: Element, _context: Context) -> bool:
    return "dataAbsentReason" not in observation or not has_choice(observation, "value")


def _obs_7(observation: Element, _context: Context) -> bool:
    if "component" not in observation or not has_choice(observation, "value"):
        return True
    codings = _codings(observation)
    return not codings or all(codings.isdisjoint(_codings(component)) for component in items(observation, "component"))


def _codings(element: Element) -> set[str]:
    """Those of its code, each as a text that is the same for the same Coding."""
    return {json.dumps(coding, sort_keys=True) for code in items(element, "code") for coding in items(code, "coding")}


def _qrs_1(item: Element, _context: Context) -> bool:
    return not ("answer" in item and "item" in item)


def _ras_1(prediction: Element, _context: Context) -> bool:
    return all(
        limit.get("code") == "%" and limit.get("system") == UCUM
        for probability in items(prediction, "probabilityRange")
        for name in ("low", "high")
        for limit in items(probability, name)
    )


def _ras_2(prediction: Element, _context: Context) -> bool:
    probability = prediction.get("probabilityDecimal")
    return not isinstance(probability, (int, float)) or probability <= _FULL_PROBABILITY


def _inv_1_of_task(task: Element, _context: Context) -> bool:
    return "lastModified" not in task or not is_after(task.get("authoredOn"), task["lastModified"])


def _sst_1(status: Element, _context: Context) -> bool:
    return status.get("type") != "event-notification" or "notificationEvent" in status


def _cud_1(definition: Element, _context: Context) -> bool:
    kinds = ("indication", "contraindication", "interaction", "undesirableEffect", "warning")
    return sum([kind in definition for kind in kinds]) <= 1


def _ing_1(ingredient: Element, _context: Context) -> bool:
    return ingredient.get("allergenicIndicator") is not True or not any(
        "reference" in code for substance in items(ingredient, "substance") for code in items(substance, "code")
    )


_AIT_1 = "AllergyIntolerance.clinicalStatus SHALL be present if verificationStatus is not entered-in-error."
_AIT_2 = "AllergyIntolerance.clinicalStatus SHALL NOT be present if verification Status is entered-in-error"
_CON_3 = (
    "Condition.clinicalStatus SHALL be present if verificationStatus is not entered-in-error and category is "
    "problem-list-item"
)
_CON_4 = "If condition is abated, then clinicalStatus must be either inactive, resolved, or remission"
_CTM_1 = "CareTeam.participant.onBehalfOf can only be populated when CareTeam.participant.member is a Practitioner"
_MSQ_5 = "GenomeBuild and chromosome must be both contained if either one of them is contained"
_MSQ_6 = (
    "Have and only have one of the following elements in referenceSeq : 1. genomeBuild ; 2 referenceSeqId; 3. "
    "referenceSeqPointer;  4. referenceSeqString;"
)
_NOR_1 = "Nutrition Order SHALL contain either Oral Diet , Supplement, or Enteral Formula class"
_OBS_6 = "dataAbsentReason SHALL only be present if Observation.value[x] is not present"
_OBS_7 = (
    "If Observation.code is the same as an Observation.component.code then the value element associated with the code "
    "SHALL NOT be present"
)
_MRP_1 = "Measure Reports used for data collection SHALL NOT communicate group and score information"
_CUD_1 = "Indication, Contraindication, Interaction, UndesirableEffect and Warning cannot be used in the same instance"
_ING_1 = (
    "If an ingredient is noted as an allergen (allergenicIndicator) then its substance should be a code. If the "
    "substance is a SubstanceDefinition, then the allegen information should be documented in that resource"
)

RULES: Rules = {
    "AllergyIntolerance": (
        error("ait-1", _AIT_1, _ait_1, R4_ONLY),
        error("ait-1", _AIT_1, _ait_1_of_r4b, R4B_ONLY),
        error("ait-2", _AIT_2, _ait_2),
    ),
    "CarePlan.activity": (error("cpl-3", "Provide a reference or detail, not both", not_both("detail", "reference")),),
    "CareTeam.participant": (error("ctm-1", _CTM_1, _ctm_1, SINCE_R4),),
    "ClinicalUseDefinition": (error("cud-1", _CUD_1, _cud_1, SINCE_R4B),),
    "Condition": (
        warning("con-3", _CON_3, _con_3),
        error("con-4", _CON_4, _con_4),
        error(
            "con-5", "Condition.clinicalStatus SHALL NOT be present if verification Status is entered-in-error", _con_5
        ),
    ),
    "Condition.evidence": (error("con-2", "evidence SHALL have code or details", any_of("code", "detail")),),
    "Condition.stage": (
        error("con-1", "Stage SHALL have summary or assessment", any_of("summary", "assessment"), SINCE_R4),
    ),
    "FamilyMemberHistory": (
        error("fhs-1", "Can have age[x] or born[x], but not both", not_both("age[x]", "born[x]"), SINCE_R4),
        error("fhs-2", "Can only have estimatedAge if age[x] is present", needs("estimatedAge", "age[x]"), SINCE_R4),
    ),
    "Goal.target": (
        error(
            "gol-1",
            "Goal.target.measure is required if Goal.target.detail is populated",
            needs("detail[x]", "measure"),
            SINCE_R4,
        ),
    ),
    "Immunization.education": (
        error("imm-1", "One of documentType or reference SHALL be present", any_of("documentType", "reference")),
    ),
    "ImmunizationRecommendation.recommendation": (
        error(
            "imr-1",
            "One of vaccineCode or targetDisease SHALL be present",
            any_of("vaccineCode", "targetDisease"),
            SINCE_R4,
        ),
    ),
    "Ingredient": (error("ing-1", _ING_1, _ing_1, SINCE_R4B),),
    "MeasureReport": (
        error("mrp-1", _MRP_1, _mrp_1),
        error(
            "mrp-2", "Stratifiers SHALL be either a single criteria or a set of criteria components", _mrp_2, SINCE_R4
        ),
    ),
    "MedicationAdministration.dosage": (
        error("mad-1", "SHALL have at least one of dosage.dose or dosage.rate[x]", any_of("dose", "rate[x]")),
    ),
    "MedicationDispense": (error("mdd-1", "whenHandedOver cannot be before whenPrepared", _mdd_1, SINCE_R4),),
    "MolecularSequence": (error("msq-3", "Only 0 and 1 are valid for coordinateSystem", _msq_3),),
    "MolecularSequence.referenceSeq": (
        error("msq-5", _MSQ_5, together("chromosome", "genomeBuild")),
        error("msq-6", _MSQ_6, just_one("genomeBuild", "referenceSeqId", "referenceSeqPointer", "referenceSeqString")),
    ),
    "NutritionOrder": (warning("nor-1", _NOR_1, any_of("oralDiet", "supplement", "enteralFormula"), SINCE_R4),),
    "Observation": (error("obs-6", _OBS_6, _obs_6, SINCE_R4), error("obs-7", _OBS_7, _obs_7, SINCE_R4)),
    "Observation.referenceRange": (
        error("obs-3", "Must have at least a low or a high or text", any_of("low", "high", "text"), SINCE_R4),
    ),
    "QuestionnaireResponse.item": (
        error("qrs-1", "Nested item can't be beneath both item and answer", _qrs_1, SINCE_R4),
    ),
    "RequestGroup.action": (
        error("rqg-1", "Must have resource or action but not both", just_one("resource", "action")),
    ),
    "RequestOrchestration.action": (
        error("rqg-1", "Must have resource or action but not both", just_one("resource", "action"), ("R5",)),
    ),
    "RiskAssessment.prediction": (
        error("ras-1", "low and high must be percentages, if present", _ras_1, SINCE_R4, "probability"),
        error("ras-2", "Must be <= 100", _ras_2, SINCE_R4),
    ),
    "ServiceRequest": (
        error("prr-1", "orderDetail SHALL only be present if code is present", needs("orderDetail", "code"), SINCE_R4),
    ),
    "SubscriptionStatus": (error("sst-1", "events listed in event notifications", _sst_1, R4B_ONLY),),
    "Task": (
        error("inv-1", "Last modified date must be greater than or equal to authored-on date.", _inv_1_of_task, ALL),
    ),
}
