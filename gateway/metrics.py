"""What is counted and timed, for Prometheus. Every process counts for itself; `exposition` adds them up.

Events that no handler knows are counted as "other": a sender must not be able to make new time series.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_received = Counter(
    "fhir_gateway_messages_received",
    "Messages received, by event and by what they were: new, repeat, refused (kept as refused at once) or response.",
    ("event", "outcome"),
)
_rejected = Counter(
    "fhir_gateway_requests_rejected",
    "Requests answered with an HTTP error, by endpoint and status.",
    ("endpoint", "status"),
)
_answered = Histogram(
    "fhir_gateway_answer_seconds",
    "From a request's arrival to its answer, by endpoint.",
    ("endpoint",),
    buckets=_SECONDS,
)
_processed = Counter(
    "fhir_gateway_messages_processed",
    "Attempts to process a message, by event and outcome: ok, fatal-error, failed (tried again) or dead (set aside).",
    ("event", "outcome"),
)
_processing = Histogram(
    "fhir_gateway_processing_seconds", "From taking a message up to its commit, by event.", ("event",), buckets=_SECONDS
)
_checked = Counter(
    "fhir_gateway_check_issues",
    "Messages in which the checker found a rule broken, by rule; whether that refuses a message is its level.",
    ("rule",),
)

_responded = Counter(
    "fhir_gateway_responses",
    "Responses to what partners were told, by their code and by what they came to: closed, again, known, unknown, "
    "foreign.",
    ("code", "outcome"),
)
_delivered = Counter(
    "fhir_gateway_deliveries",
    "Calls of recipients, by partner and outcome: delivered, refused, busy, failed, unreachable or forbidden.",
    ("partner", "outcome"),
)
_delivering = Histogram(
    "fhir_gateway_delivery_seconds", "Seconds a call took, by partner.", ("partner",), buckets=_SECONDS
)
_dead_letters = Counter("fhir_gateway_dead_letters", "What was set aside for the operator, by partner.", ("partner",))
_trouble = Counter(
    "fhir_gateway_delivery_trouble", "How often trouble with a partner began and ended.", ("partner", "what")
)
_replayed = Counter(
    "fhir_gateway_replayed",
    "Items of replays, by the replay's mode and by what became of them: ok, refused, skipped, left, failed, ….",
    ("mode", "outcome"),
)


def replayed(mode: str, outcome: str, items: int) -> None:
    _replayed.labels(mode, outcome).inc(items)


def responded(code: str, outcome: str) -> None:
    _responded.labels(code, outcome).inc()


def delivered(partner: str, outcome: str, seconds: float) -> None:
    _delivered.labels(partner, outcome).inc()
    _delivering.labels(partner).observe(seconds)


def dead_letters(partner: str, how_many: int) -> None:
    _dead_letters.labels(partner).inc(how_many)


def trouble(partner: str, what: str) -> None:
    """`what`: began or ended."""
    _trouble.labels(partner, what).inc()


def received(event: str, outcome: str) -> None:
    _received.labels(event, outcome).inc()


def answered(endpoint: str, status: int, seconds: float) -> None:
    _answered.labels(endpoint).observe(seconds)
    if status >= 400:
        _rejected.labels(endpoint, str(status)).inc()


def checked(broken: Iterable[str]) -> None:
    for rule in set(broken):
        _checked.labels(rule).inc()


def processed(event: str, outcome: str, seconds: float) -> None:
    _processed.labels(event, outcome).inc()
    _processing.labels(event).observe(seconds)


@dataclass(frozen=True, slots=True)
class Depth:
    """How many rows of a box are in a state, and since when the oldest is (None: there is none, or no age is told)."""

    box: str
    state: str
    rows: int
    oldest: datetime | None = None


def exposition(depths: list[Depth], open_circuits: int = 0) -> bytes:
    """All metrics in Prometheus' text format: the processes' own, the depths and the open circuits as they are now."""
    now = CollectorRegistry()
    now.register(_Depths(depths, open_circuits))
    return generate_latest(_counted()) + generate_latest(now)


def serve(host: str, port: int) -> None:
    """Serves what the processes count, in a thread, for workers without a web server beside them. Raises OSError."""
    start_http_server(port, host, _counted())


def _counted() -> CollectorRegistry:
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    counted = CollectorRegistry()
    MultiProcessCollector(counted)  # type: ignore[no-untyped-call]
    return counted


class _Depths(Collector):
    def __init__(self, depths: list[Depth], open_circuits: int) -> None:
        self._depths = depths
        self._open_circuits = open_circuits

    def collect(self) -> Iterator[GaugeMetricFamily]:
        labels = ("box", "state")
        rows = GaugeMetricFamily("fhir_gateway_box_rows", "Rows in the inbox and the outbox, by state.", labels=labels)
        ages = GaugeMetricFamily("fhir_gateway_box_oldest_seconds", "Age of the oldest of these rows.", labels=labels)
        for depth in self._depths:
            rows.add_metric((depth.box, depth.state), depth.rows)
            if depth.oldest is not None:
                ages.add_metric((depth.box, depth.state), (datetime.now(UTC) - depth.oldest).total_seconds())
        told = "Recipients that are in trouble: calls of them fail."
        yield from (rows, ages, GaugeMetricFamily("fhir_gateway_circuits_open", told, self._open_circuits))
