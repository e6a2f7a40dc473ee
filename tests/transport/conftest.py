"""The transport that each test calls with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.transport import Transport
from tests.transport.receivers import LOCALHOST


@pytest.fixture
def transport() -> Iterator[Transport]:
    """One for which every name is this machine."""
    made = Transport(user_agent="fhir-gateway test", resolver=lambda host, port: [LOCALHOST])
    yield made
    made.close()
