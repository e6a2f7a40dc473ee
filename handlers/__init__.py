"""What the gateway does for each event: one file per event, each with its handler. To add an event, add a file.

1. Copy the file that is nearest to what you need, say `new_order.py`, and name it after your event.
2. Register its function: `@handles(Event(system, code), category=…, title=…, focus=("Task",))`. An event given as an
   `eventUri` is `Event(None, uri)`. The category is `consequence` (done once, however often it is sent) or `currency`
   or `notification` (done again when it is sent again in a new Bundle). The function's docstring is published as the
   documentation of the event's MessageDefinition, and the CapabilityStatement lists the event.
3. Write the function: it takes the `Message` and the `Records`, reads and writes by these alone, and returns a `Reply`
   with the resources in focus as they are now kept. What it writes and its reply take effect together, or not at all:
   no threads, no network, no clock but `message.received_at`. Messages about one Task come one after the other.
4. When the message cannot be done as it is, raise `Refused` with every `Issue`: what is wrong, where (FHIRPath), what
   the sender can do. Nothing is kept then. Any other exception is a fault of the handler: the message is kept, and
   tried again on the schedule of the setting `retry_schedule`.
5. What several events have in common is in `handlers/rules/`: a handler that changes an order calls
   `rules.orders.follow` once it has kept it, so that what follows from the change happens whichever event brought it.
   What handlers look up by `Records.find_own` is named beforehand in `foresight.py`: it is read for many at once.
6. Put one payload per case into `tests/messages/` (`event__variant.json`), and a test beside the others in
   `tests/handlers/`.

A handler imports the names that `gateway` exports and the pure modules of `gateway.fhir`, nothing else of the gateway.
Handlers may live in any package that the setting `handlers` names: a site adds its own without touching this one.
"""
