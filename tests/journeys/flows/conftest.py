"""A network on each kind of database, and the parties by their names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.store.database import upgrade
from tests import services
from tests.conftest import DATABASES
from tests.journeys.flows.network import Named, Network
from tests.journeys.flows.parties import Party
from tests.journeys.flows.resources import AMOXICILLIN, GLUCOSE, laboratory_test, placed, prescription, taken_up


@pytest.fixture(scope="module", params=DATABASES)
def shared_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database on each of DATABASES in turn, for all journeys of a module: each has names of its own."""
    if request.param == "sqlite":
        template = request.getfixturevalue("sqlite_template")
        with services.sqlite_database(tmp_path_factory.mktemp("journeys"), template) as url:
            yield url
        return
    with services.postgres_database(request.getfixturevalue("postgres_server")) as url:
        upgrade(url)
        yield url


@pytest.fixture
def network(shared_url: str) -> Iterator[Network]:
    """The partners with the gateway between them, under the policy `cow`."""
    opened = Network(shared_url)
    yield opened
    opened.close()


@pytest.fixture
def hospital(network: Network) -> Party:
    return Party(network, "hospital")


@pytest.fixture
def patient(hospital: Party) -> Named:
    """A patient of the hospital's."""
    return hospital.writes("Patient", active=True)


@pytest.fixture
def laboratory(network: Network) -> Party:
    return Party(network, "laboratory")


@pytest.fixture
def reference_laboratory(network: Network) -> Party:
    return Party(network, "reference-laboratory")


@pytest.fixture
def phlebotomist(network: Network) -> Party:
    """A partner that is told in XML."""
    return Party(network, "phlebotomist")


@pytest.fixture
def pharmacy(network: Network) -> Party:
    return Party(network, "pharmacy")


@pytest.fixture
def second_pharmacy(network: Network) -> Party:
    return Party(network, "second-pharmacy")


@pytest.fixture
def automatic_pharmacy(network: Network) -> Party:
    """A partner that is registered as accepting cancellations at once."""
    return Party(network, "automatic-pharmacy")


@pytest.fixture
def coordinator(network: Network) -> Party:
    return Party(network, "coordinator")


@pytest.fixture
def facility_a(network: Network) -> Party:
    """A partner that is told by subscription notifications."""
    return Party(network, "facility-a")


@pytest.fixture
def facility_b(network: Network) -> Party:
    return Party(network, "facility-b")


@pytest.fixture
def home_care(network: Network) -> Party:
    """A partner that is told by subscription notifications in R5."""
    return Party(network, "home-care")


@pytest.fixture
def reader(network: Network) -> Party:
    """A partner that is told nothing: it reads the Tasks here."""
    return Party(network, "reader")


@pytest.fixture
def outsider(network: Network) -> Party:
    """A registered partner that has no part in any order."""
    return Party(network, "outsider")


@pytest.fixture
def glucose(hospital: Party, patient: Named) -> Named:
    """The hospital's Request for a laboratory test."""
    return laboratory_test(hospital, GLUCOSE, patient)


@pytest.fixture
def request_(hospital: Party, patient: Named) -> Named:
    """The hospital's Request for a medicine."""
    return prescription(hospital, AMOXICILLIN, patient)


@pytest.fixture
def order(hospital: Party, pharmacy: Party, request_: Named) -> Named:
    """An order of `request_` that the pharmacy has not answered yet."""
    return placed(hospital, request_, of=pharmacy)


@pytest.fixture
def begun(hospital: Party, pharmacy: Party, order: Named) -> Named:
    """The order, being dispensed."""
    return taken_up(order, by=pharmacy, placer=hospital)
