"""notice: something that is to be kept, and changes nothing here.

What other networks send besides orders comes to this: docs/dialects.md, `keep`. How to add a handler is written in
`handlers/__init__.py`.
"""

from gateway import Event, Message, Records, Reply, handles


@handles(Event("urn:x-fhir-gateway:message-event", "notice"), category="notification", title="Notice", focus=())
def notice(_message: Message, _records: Records) -> Reply:
    """Takes note of something that changes nothing: the message is kept, and nobody is told of it.

    - Whatever it is about, and whatever comes with it, stays in the message: nothing of it can be read here.
    - Answered with `ok`.
    """
    return Reply()
