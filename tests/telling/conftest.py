"""Gateways on one database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gateway.partners import Partner
from tests.telling.gateways import Gateway, Make
from tests.telling.parties import HOSPITAL, OTHER, PHARMACY


@pytest.fixture
def make(database_url: str) -> Iterator[Make]:
    """Makes gateways on one database, and closes them."""
    made: list[Gateway] = []

    def new(*partners: Partner, **named: Any) -> Gateway:
        made.append(Gateway(database_url, *(partners or (HOSPITAL, PHARMACY, OTHER)), **named))
        return made[-1]

    yield new
    for gateway in made:
        gateway.database.close()
