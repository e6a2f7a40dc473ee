"""Tests of gateway.fhir."""
