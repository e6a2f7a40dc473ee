"""A running gateway on each database, which all journeys share: each has ids of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest
import sqlalchemy as sa

from gateway.store import schema
from tests import services, validity
from tests.conftest import DATABASES
from tests.running import Gateway, running

SETTINGS = {
    "GATEWAY_HANDLERS": '["handlers", "tests.trial_handlers"]',
    "GATEWAY_REPLY_TIMEOUT": "2",
    "GATEWAY_RETRY_SCHEDULE": "[1, 1, 1]",
    "GATEWAY_SWEEP_INTERVAL": "0.2",
    "GATEWAY_MAX_MESSAGE_BYTES": "200000",
    "GATEWAY_LOG_FORMAT": "json",
}
JSON, XML = "application/fhir+json", "application/fhir+xml"


@dataclass
class Partner:
    """Talks to a gateway over HTTP, and looks into its database."""

    gateway: Gateway
    database_url: str
    client: httpx.Client

    def post(self, body: bytes, content_type: str | None = JSON, query: str = "", **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = named | ({"Content-Type": content_type} if content_type else {})
        return self.client.post(f"{self.gateway.url}/fhir/$process-message{query}", content=body, headers=sent)

    def send(self, message: dict[str, Any], query: str = "", **headers: str) -> httpx.Response:
        return self.post(orjson.dumps(message), JSON, query, **headers)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.client.get(self.gateway.url + path, headers=headers)

    def rows(self, statement: Any) -> list[Any]:
        engine = sa.create_engine(self.database_url.replace("postgresql://", "postgresql+psycopg://"))
        try:
            with engine.connect() as connection:
                return list(connection.execute(statement))
        finally:
            engine.dispose()

    def count_effects(self, header_id: str) -> int:
        """How many versions of Tasks the message made, all times that it was sent."""
        made = (
            sa.select(sa.func.count())
            .select_from(schema.resource_version)
            .join(schema.message, schema.message.c.id == schema.resource_version.c.message_id)
            .join(schema.resource, schema.resource.c.id == schema.resource_version.c.resource_id)
            .where(schema.message.c.header_id == header_id, schema.resource.c.type == "Task")
        )
        found: int = self.rows(made)[0][0]
        return found


@pytest.fixture(scope="package", params=DATABASES)
def partner(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Partner]:
    var = tmp_path_factory.mktemp("journeys") / "var"
    if request.param == "sqlite":
        url = f"sqlite:///{var}/gateway.db"
        with running(var, SETTINGS) as gateway, validity.client() as client:
            yield Partner(gateway, url, client)
        return
    server = request.getfixturevalue("postgres_server")
    with (
        services.postgres_database(server) as url,
        running(var, SETTINGS | {"GATEWAY_DATABASE_URL": url}) as gateway,
        validity.client() as client,
    ):
        yield Partner(gateway, url, client)
