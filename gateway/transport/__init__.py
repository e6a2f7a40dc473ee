"""The one way out over HTTP: one request, one answer, bounded in time and size, and only where it may go."""

from gateway.transport.addresses import check_address
from gateway.transport.calls import LARGEST_ANSWER, Answer, Credentials, Outcome, Target
from gateway.transport.sending import Transport

__all__ = ["LARGEST_ANSWER", "Answer", "Credentials", "Outcome", "Target", "Transport", "check_address"]
