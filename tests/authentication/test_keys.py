"""Which published key may be used for a signature, and when keys are asked for anew."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest
from joserfc.jwk import RSAKey

from gateway.authentication.keys import AGAIN_SECONDS, FRESH_SECONDS, STALE_SECONDS, PublishedKeys, read_set, usable
from gateway.transport import Answer, Target
from tests.authentication import Publisher, elliptic, rsa

URL = "https://pharmacy.example/jwks"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_key_is_used_for_its_own_algorithm_only() -> None:
    assert usable(elliptic().public, "ES384") is not None
    assert usable(rsa().public, "RS384") is not None
    for algorithm in ("ES256", "RS384", "RS256"):
        assert usable(elliptic().public, algorithm) is None


SYMMETRIC = {"kty": "oct", "k": "c2VjcmV0", "kid": "pharmacy-1"}
UNFIT: dict[str, dict[str, Any]] = {
    "of another type": {**elliptic().public, "kty": "RSA"},
    "for encryption": {**elliptic().public, "use": "enc"},
    "of another algorithm": {**elliptic().public, "alg": "ES512"},
    "to sign only": {**elliptic().public, "key_ops": ["sign"]},
    "with odd key_ops": {**elliptic().public, "key_ops": "verify"},
    "with its private part": elliptic().key.as_dict(private=True) | {"kid": "pharmacy-1"},
    "on another curve": {**elliptic("small", "P-256", "ES256").public, "alg": "ES384"},
    "with a point that is on no curve": {**elliptic().public, "x": "AAAA"},
    "with no point": {"kty": "EC", "crv": "P-384"},
    "symmetric": SYMMETRIC,
}


@pytest.mark.parametrize("why", UNFIT)
def test_a_key_is_not_used(why: str) -> None:
    assert usable(UNFIT[why], "ES384") is None


def test_a_short_rsa_key_is_not_used() -> None:
    with pytest.warns(match="2048"):
        short = RSAKey.generate_key(1024).as_dict(private=False)
    assert usable(short, "RS384") is None


@pytest.mark.parametrize("text", ["", "[]", '{"keys": {}}', '{"keys": ["key"]}', '{"keys": [], "keys": []}'])
def test_what_is_no_set_of_keys_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"JWK Set|JSON"):
        read_set(text)


def found(published: PublishedKeys, kid: str = "pharmacy-1") -> bool:
    return bool(published.find(URL, kid, "ES384", networks=(), loopback=False))


def test_published_keys_are_asked_for_once_and_when_an_unknown_one_is_named_but_not_at_each_time() -> None:
    publisher, clock = Publisher(**{URL: elliptic().jwks}), Clock()
    published = PublishedKeys(publisher, clock)  # type: ignore[arg-type]
    assert found(published)
    assert found(published)
    assert len(publisher.asked) == 1
    assert not any(found(published, f"unknown-{n}") for n in range(9))
    assert len(publisher.asked) == 1
    both = [elliptic().public, elliptic("pharmacy-2").public]
    publisher.published[URL] = orjson.dumps({"keys": both}).decode()
    clock.now += AGAIN_SECONDS
    assert found(published, "pharmacy-2")
    assert len(publisher.asked) == 2


def test_a_key_that_is_published_no_longer_is_not_used_for_long() -> None:
    publisher, clock = Publisher(**{URL: elliptic().jwks}), Clock()
    published = PublishedKeys(publisher, clock)  # type: ignore[arg-type]
    assert found(published)
    publisher.published[URL] = '{"keys": []}'
    clock.now += FRESH_SECONDS
    assert not found(published)


def test_keys_are_used_on_while_the_url_does_not_answer_but_not_for_ever() -> None:
    publisher, clock = Publisher(**{URL: elliptic().jwks}), Clock()
    published = PublishedKeys(publisher, clock)  # type: ignore[arg-type]
    assert found(published)
    publisher.published.clear()
    clock.now += FRESH_SECONDS
    assert found(published)
    assert found(published)
    assert len(publisher.asked) == 2, "what did not answer is not asked at once again"
    clock.now += STALE_SECONDS
    assert not found(published)


class Slow(Publisher):
    """Answers the second time only when it is let."""

    def __init__(self, **published: str) -> None:
        super().__init__(**published)
        self.is_asked, self.may_answer = threading.Event(), threading.Event()

    def get(self, target: Target, headers: Any = None) -> Answer:
        if self.asked:
            self.is_asked.set()
            assert self.may_answer.wait(60)
        return super().get(target, headers)


def test_nobody_is_kept_waiting_while_keys_are_fetched_again() -> None:
    """Whoever names unknown keys would else hold up every thread there is, as long as the url is slow."""
    publisher, clock = Slow(**{URL: elliptic().jwks}), Clock()
    published = PublishedKeys(publisher, clock)  # type: ignore[arg-type]
    assert found(published)
    clock.now += AGAIN_SECONDS
    with ThreadPoolExecutor(2) as pool:
        fetching = pool.submit(found, published, "unknown")
        assert publisher.is_asked.wait(60)
        others = [pool.submit(found, published, kid) for kid in ("pharmacy-1", "unknown")]
        try:
            assert [other.result(10) for other in others] == [True, False]
        finally:
            publisher.may_answer.set()
        assert not fetching.result(60)
    assert len(publisher.asked) == 2


@pytest.mark.parametrize("answer", ["no JSON", "{}"])
def test_a_url_that_answers_nonsense_proves_nothing(answer: str) -> None:
    assert not found(PublishedKeys(Publisher(**{URL: answer})))  # type: ignore[arg-type]
