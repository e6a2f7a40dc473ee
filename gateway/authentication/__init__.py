"""Who calls: what a request proves of its sender, before its body is read.

https://hl7.org/fhir/smart-app-launch/backend-services.html; docs/security.md says it to those who call.
"""

from gateway.authentication.authenticator import Authenticator, Evidence
from gateway.authentication.claims import hold_to
from gateway.authentication.model import Identity, NotProven

__all__ = ["Authenticator", "Evidence", "Identity", "NotProven", "hold_to"]
