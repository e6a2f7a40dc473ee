"""Makes new inputs of old ones: as bytes, and as a tree of JSON. The same seed makes the same inputs."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from gateway.fhir.json import Resource, serialize
from tests.fuzz.targets import Target, bounded_resource

_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2**31, 10**18, 10**30, 1.5, "", " ", "a", "\n", "é", "\U0001f600", "#", "urn:uuid:1"),
    *([], {}, [None], [[]], [{}], {"id": "1"}, {"extension": []}, {"": ""}, {"reference": "#"}, {"value": [1]}),
    *(
        "2024-02-30",
        "2024-02-29T24:00:00Z",
        "2024-01-01T00:00:00+14:00",
        "Task/1/_history/2",
        "http://a.example/Task/1",
    ),
    *({"resourceType": "Bundle", "type": "message"}, {"resourceType": "Task"}, {"url": "u", "valueString": "s"}),
    *("a" * 70, "\x7f"),
)
_BYTES = (*(bytes([byte]) for byte in b"\"\\{}[],:<>&/'= \n\0"), b"\xff", b"\xf0")
_MOST_STEPS = 4


def mutate(data: bytes, target: Target, pool: Sequence[bytes], rng: Random) -> bytes:
    """An input made of `data` in one to four steps; `pool` lends pieces."""
    if target.shape == "json" and rng.random() < 0.6:
        resource = bounded_resource(data)
        if resource is not None:
            return mutate_tree(resource, rng)
    for _ in range(rng.randint(1, _MOST_STEPS)):
        start = rng.randint(0, len(data))
        end = min(len(data), start + rng.choice((0, 1, 1, 2, 8, 40)))
        data = data[:start] + _piece(data, target, pool, rng) + data[end:]
    return data


def _piece(data: bytes, target: Target, pool: Sequence[bytes], rng: Random) -> bytes:
    match rng.randrange(6):
        case 0:
            return b""
        case 1:
            return rng.choice(target.words or _BYTES)
        case 2:
            return rng.randbytes(rng.randint(1, 4))
        case 3:
            other = rng.choice(pool) if pool else data
            start = rng.randint(0, len(other))
            return other[start : start + rng.randint(1, 60)]
        case 4:
            start = rng.randint(0, len(data))
            return data[start : start + rng.randint(1, 30)] * rng.randint(1, 3)
        case _:
            return rng.choice(_BYTES)


def mutate_tree(resource: Resource, rng: Random) -> bytes:
    """`resource` with one to four of its values gone, changed, doubled, moved or named otherwise, as JSON."""
    for _ in range(rng.randint(1, _MOST_STEPS)):
        places = [*_places(resource)]
        if not places:
            break
        container, key = rng.choice(places)
        _change(container, key, rng, [container[key] for container, key in rng.sample(places, min(5, len(places)))])
    try:
        return serialize(resource)
    except TypeError:  # deeper than can be written
        return b"{}"


def _places(value: Any) -> Any:
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key
        if isinstance(item, (dict, list)):
            yield from _places(item)


def _change(container: Any, key: Any, rng: Random, others: list[Any]) -> None:
    value = container[key]
    match rng.randrange(8):
        case 0:
            del container[key]
        case 1:
            container[key] = _copy(rng.choice(_VALUES))
        case 2:
            container[key] = _copy(rng.choice(others))
        case 3:
            container[key] = [value] if rng.random() < 0.7 else [_copy(value) for _ in range(3)]
        case 4 if isinstance(value, list) and value:
            container[key] = value[0]
        case 5 if isinstance(value, str):
            at = rng.randint(0, len(value))
            container[key] = value[:at] + str(rng.choice(("", " ", "x", "/", "#", "\t", "é", "0"))) + value[at + 1 :]
        case 6 if isinstance(container, dict):
            container[rng.choice((f"_{key}", f"{key}x", key.capitalize(), "id", "extension", "resourceType"))] = value
        case _:
            container[key] = {"id": "x", "extension": [{"url": "u", "valueString": "v"}]}


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copy(item) for name, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value
