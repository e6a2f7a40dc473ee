"""The mutants by which the checker is judged: sound resources, faults in them, and what is odd and yet sound.

Written from R4's definitions and its text (https://hl7.org/fhir/R4), not from the checker.
"""

from tests.fhir.check.mutants import bindings, bundles, invariants, narratives, nulls, odd, primitives, sound, structure
from tests.fhir.check.mutants.fault import Fault
from tests.fhir.check.mutants.sound import Sound

FAULTS: dict[str, list[Fault]] = {
    "cardinality": structure.CARDINALITY,
    "unknown elements": structure.UNKNOWN,
    "choices": structure.CHOICES,
    "kinds of value": [*structure.KINDS, *primitives.KINDS],
    "types of resource": structure.RESOURCE_TYPES,
    "lexical forms": primitives.FORMATS,
    "null": nulls.NULLS,
    "empty": [*nulls.EMPTY, *nulls.ID_ONLY],
    "required bindings": bindings.BINDINGS,
    "bundles": bundles.BUNDLES,
    "contained resources": bundles.CONTAINED,
    "reference targets": bundles.TARGETS,
    "unresolved references": bundles.UNRESOLVED,
    "invariants of periods": invariants.PERIODS,
    "invariants of data types": [*invariants.DATA_TYPES, *invariants.TIMINGS],
    "invariants of resources": invariants.RESOURCES,
    "narratives": narratives.NARRATIVES,
}
"""By group."""

SOUND: list[Sound] = [*sound.VALUES, *odd.RESOURCES]
