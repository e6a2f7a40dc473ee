"""Who calls: what a request proves of its sender, before its body is read.

It brings nothing by itself: who needs to know an Identity alone does without the HTTP client and the cryptography.
https://hl7.org/fhir/smart-app-launch/backend-services.html; docs/security.md says it to those who call.
"""
