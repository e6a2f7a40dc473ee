"""The rules of a Task: what it is, what may be done to it, how a message changes it, what a cancellation comes to.

https://hl7.org/fhir/R4/task.html, and the HL7 Clinical Order Workflows guide (hl7.fhir.uv.cow). Everything here is
pure: it looks at Tasks and says what is wrong with them, as issues, by a policy (`gateway.fhir.policy`).
"""
