"""FHIR without input or output: wire formats, definitions, messages, Tasks."""
