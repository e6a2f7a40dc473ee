"""The Welsh referral service: BaRS, where what is done is answered by the request itself. docs/dialects/nhs-bars.md"""

from __future__ import annotations

from gateway.fhir.dialects import composing, nhs_bars
from gateway.fhir.dialects.model import Answer, Answering, Composed
from gateway.fhir.dialects.nhs_bars_answers import answer, is_done, is_open, tell
from gateway.fhir.dialects.speaking import Module
from gateway.fhir.emptiness import without_empty
from gateway.fhir.message import Message


def _answer(message: Message, composed: Composed, plainly: Answering) -> Answer:
    """The request as it came, where it was done; what waits for the receiver is answered as in BaRS."""
    if is_done(composed) and not is_open(composed):
        return Answer(200, without_empty(composing.as_sent(message).bundle))
    return answer(message, composed, plainly)


MODULE = Module(nhs_bars.MODULE.translations, _answer, tell)
