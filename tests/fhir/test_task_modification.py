"""What a Request's status says of it, in every type of Request that FHIR R4 has."""

import pytest

from gateway.fhir.definitions import get_type
from gateway.fhir.task.elements import REQUESTS
from gateway.fhir.task.modification import goes_on, has_ended, revoked
from gateway.fhir.task.outcomes import Outcome, cancellation_of_request


def statuses_of(resource_type: str) -> list[str]:
    binding = get_type(resource_type).fields["status"].binding
    assert binding is not None
    return sorted(code for _, code in binding.codes)


@pytest.mark.parametrize("resource_type", REQUESTS)
def test_every_status_of_a_request_is_known(resource_type: str) -> None:
    statuses = statuses_of(resource_type)
    assert len(statuses) > 3
    for status in statuses:
        request = {"resourceType": resource_type, "status": status}
        is_open = cancellation_of_request(status) == Outcome.PENDING
        if status == "unknown":
            assert (goes_on(request), has_ended(request), is_open) == (False, False, True)
        else:
            assert goes_on(request) == is_open != has_ended(request), status


@pytest.mark.parametrize("resource_type", REQUESTS)
def test_a_request_is_revoked_in_the_word_of_its_type(resource_type: str) -> None:
    ended = revoked({"resourceType": resource_type, "status": "active"})
    assert ended["status"] in statuses_of(resource_type)
    assert has_ended(ended)
    assert cancellation_of_request(ended["status"]) == Outcome.ALREADY_CANCELLED
