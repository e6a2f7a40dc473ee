"""Tests of `gateway.fhir.dialects`."""
