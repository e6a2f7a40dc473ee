"""The flows of the Clinical Order Workflows guide, message by message, as its sequence diagrams show them.

`parties` has who takes part and what each can send, `network` what comes of a message: the reply, what is kept, and who
is told. https://hl7.org/fhir/uv/cow
"""
