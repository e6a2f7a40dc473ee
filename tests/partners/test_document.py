"""A partner as a document: what it takes, each fault in a sentence, and the same partner there and back."""

from __future__ import annotations

import tomllib
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OctKey

from gateway.partners import Partner, files
from gateway.partners.contradictions import find_forbidden
from gateway.partners.document import find_shared, merged, read, write
from tests.partners.documents import JWKS, KITCHEN_SINK

SMALL: dict[str, Any] = {"name": "Lab", "identifiers": ["urn:org|L"], "tell": "poll"}


def partner(**said: Any) -> Partner:
    wrong: list[str] = []
    found = read(SMALL | said, "here", wrong)
    assert found is not None, wrong
    return found


def faults(**said: Any) -> str:
    wrong: list[str] = []
    assert read(SMALL | said, "here", wrong) is None
    assert all(sentence.startswith("here") and sentence.endswith((".", "?", "…")) for sentence in wrong)
    return "\n".join(wrong)


@given(st.sets(st.sampled_from(sorted(KITCHEN_SINK.keys() - {"name", "identifiers", "tell", "endpoints"}))), st.data())
@settings(max_examples=30, deadline=None)
def test_a_document_comes_back_as_it_was_by_json_and_by_toml(names: set[str], data: st.DataObject) -> None:
    said = {key: value for key, value in KITCHEN_SINK.items() if key in names or key in SMALL or key == "endpoints"}
    if "subscription" not in said:
        said["tell"] = data.draw(st.sampled_from(["poll", "nothing"]))
    if "delivery" in said:
        kept = data.draw(st.sets(st.sampled_from(sorted(KITCHEN_SINK["delivery"])), min_size=1))
        said["delivery"] = {key: value for key, value in KITCHEN_SINK["delivery"].items() if key in kept}
    name = data.draw(st.text(st.characters(codec="utf-8", categories=["L", "N", "P"], exclude_characters="/")))
    said["name"] = f"x{name}"[:200]
    wrong: list[str] = []
    found = read(said, "here", wrong)
    assert (found is not None, wrong) == (True, [])
    assert found is not None
    assert write(found) == said
    [(_, by_toml)] = files.read_text(files.dump([write(found)]), "file", wrong)
    [(_, by_json)] = files.read_text(orjson.dumps(write(found)).decode(), "file", wrong)
    assert by_toml == by_json == found
    assert hash(by_toml) == hash(found)


def test_the_whole_document_is_read_and_written() -> None:
    found = partner(**KITCHEN_SINK)
    assert write(found) == KITCHEN_SINK
    assert found.checking == (("bdl-7", "warn"), ("dom-6", "ignore"))
    assert found.delivery.retry_schedule == (1.0, 2.5, 60.0)
    assert found.delivery.credentials is not None
    assert str(found.delivery.credentials.secret_file) == "/run/secrets/pharmacy.pem"


def test_what_is_the_default_is_not_written() -> None:
    assert write(partner(version="R4", delivery={"timeout": 30}, contact={})) == SMALL


def test_a_partner_is_told_by_poll_without_an_endpoint() -> None:
    assert partner().tell == "poll"
    assert 'Write them, or tell = "poll" or "nothing"' in faults(tell="message")


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"name": "a/b"}, "without /"),
        ({"name": "x" * 201}, "200 characters"),
        ({"state": "asleep"}, "one of active, paused, blocked"),
        ({"role": "placr"}, "did you mean placer?"),
        ({"dialect": "cwo"}, "did you mean cow?"),
        ({"fulfilled_by": "Lab"}, "fulfilled_by is itself"),
        ({"checking": {"bdl-99": "warn"}}, "there is no rule bdl-99"),
        ({"checking": {"bdl-7": "wrn"}}, "a level is one of"),
        ({"checking": {"type": "warn"}}, "the gateway relies on type"),
        ({"checking": []}, "a table of rule and level"),
        ({"limits": {"messages_per_minute": 0}}, "a whole number from 1"),
        ({"limits": {"message_bytes": True}}, "a whole number from 1024"),
        ({"limits": {"message_byte": 1}}, "Did you mean message_bytes?"),
        ({"contact": {"email": "night"}}, "an address of e-mail"),
        ({"contact": "night"}, "contact is no table"),
        ({"delivery": {"timeout": float("nan")}}, "a number from 0.1"),
        ({"delivery": {"at_once": 1.5}}, "a whole number from 1 to 64"),
        ({"delivery": {"networks": ["10.3.0.1/16"]}}, "CIDR"),
        ({"delivery": {"networks": [10]}}, "CIDR"),
        ({"delivery": {"reply_to": "ftp://lab.example"}}, "begins with https://"),
        ({"delivery": {"retry_schedule": [1, -1]}}, "a list, each a number from 0"),
        ({"delivery": {"retry_schedule": [1] * 101}}, "of 100 at most"),
        ({"authentication": {"certificates": ["ab"]}}, "64 hexadecimal digits"),
        ({"authentication": {"subjects": ["Lab"]}}, "RFC 4514"),
        ({"authentication": {"scopes": ["user/*.read"]}}, "a scope of SMART"),
        ({"authentication": {"scopes": ["system/Task."]}}, "a scope of SMART"),
        ({"authentication": {"jwks": "{"}}, "a JWK Set"),
        ({"authentication": {"jwks": {"keys": []}}}, "a JWK Set"),
        ({"authentication": {"jwks": JWKS, "jwks_url": "https://lab.example", "client_id": "a"}}, "both jwks and"),
        ({"authentication": {"jwks": JWKS}}, "no client_id that they are for"),
        ({"authentication": {"client_id": "a"}}, "no keys to prove it with"),
        ({"authentication": {"issuer": "https://issuer.example"}}, "Write both"),
        ({"authentication": {"mismatch": "ignore"}}, "one of refuse, flag"),
        ({"delivery": {"credentials": {"password": "x"}}}, "password is no key of a partner"),
        ({"delivery": {"credentials": {"kind": "basic", "user": "u"}}}, "kind basic needs secret_file"),
        ({"delivery": {"credentials": {"kind": "bearer", "secret_file": "f", "user": "u"}}}, "user is not for kind"),
        ({"delivery": {"credentials": {"kind": "header", "secret_file": "f", "header": "Host"}}}, "name of a header"),
        ({"delivery": {"credentials": {"kind": "oauth", "secret_file": "f"}}}, "kind oauth needs client_id"),
        ({"delivery": {"credentials": {"secret_file": "f"}}}, "secret_file is not for kind none"),
        ({"delivery": {"credentials": {"key_file": "f"}}}, "no certificate_file that it is for"),
    ],
)
def test_each_fault_is_told(said: dict[str, Any], sentence: str) -> None:
    assert sentence in faults(**said)


def test_private_keys_are_refused_and_not_repeated() -> None:
    private = ECKey.generate_key("P-384").as_dict(private=True)
    shared = OctKey.generate_key().as_dict(private=True)
    for key in (private, shared):
        told = faults(authentication={"client_id": "a", "jwks": {"keys": [key]}})
        assert "each key public" in told
        assert key.get("d", key.get("k")) not in told


def test_fingerprints_and_subjects_are_kept_in_one_spelling() -> None:
    found = partner(authentication={"certificates": [":".join(["AB"] * 32)], "subjects": ["2.5.4.3=a,O=b"]})
    assert found.authentication.certificates == ("ab" * 32,)
    assert found.authentication.subjects == ("CN=a,O=b",)


def test_what_tells_a_partner_from_all_others_is_its_own() -> None:
    own = {"certificates": ["ab" * 32], "subjects": ["CN=a"], "issuer": "https://issuer.example", "subject": "7"}
    proofs = {**own, "client_id": "a", "jwks": JWKS}
    other = partner(name="Other", identifiers=["urn:org|O"], authentication=proofs)
    told = list(find_shared([("one", partner(authentication=proofs)), ("two", other)]))
    assert len(told) == 4
    for what in ("certificate ab", "certificate's subject CN=a", "client_id a", "issuer and subject https://issuer"):
        assert any(sentence.startswith(f"two: the {what}") for sentence in told)


def test_who_carries_out_its_orders_is_a_partner() -> None:
    here, there = partner(fulfilled_by="Pharmcy"), partner(name="Pharmacy", identifiers=["urn:org|P"])
    [told] = find_shared([("here", here), ("there", there)])
    assert "fulfilled_by is Pharmcy, which is no partner. Did you mean Pharmacy?" in told
    assert not list(find_shared([("here", partner(fulfilled_by="Pharmacy")), ("there", there)]))


def test_an_address_that_may_not_be_called_is_told() -> None:
    local, far = "http://127.0.0.1:9000", "https://lab.example"
    called = partner(
        endpoints=[local],
        tell="message",
        authentication={"client_id": "a", "jwks_url": "https://169.254.169.254/keys"},
        delivery={"reply_to": "http://10.3.0.7/replies"},
    )
    assert [sentence.split()[0] for sentence in find_forbidden(called, loopback=False)] == [
        "endpoints",
        "delivery.reply_to",
        "authentication.jwks_url",
    ]
    assert len(list(find_forbidden(called, loopback=True))) == 2
    assert not list(find_forbidden(partner(endpoints=[local], tell="nothing"), loopback=False)), "a mere name"
    inside = partner(delivery={"reply_to": "http://10.3.0.7/replies", "networks": ["10.3.0.0/16"]})
    assert not list(find_forbidden(inside, loopback=False))
    assert not list(find_forbidden(partner(endpoints=[far], tell="message"), loopback=False))


def test_a_merge_patch_changes_what_it_names() -> None:
    before = {"name": "Lab", "delivery": {"timeout": 5, "at_once": 2}, "contact": {"phone": "1"}}
    patch = {"delivery": {"timeout": None, "networks": ["10.0.0.0/8"]}, "contact": None, "limits": {"message_bytes": 1}}
    assert merged(before, patch) == {
        "name": "Lab",
        "delivery": {"at_once": 2, "networks": ["10.0.0.0/8"]},
        "limits": {"message_bytes": 1},
    }


def test_what_is_exported_is_a_file_of_partners() -> None:
    text = files.dump([KITCHEN_SINK, SMALL])
    assert tomllib.loads(text)["partner"] == [KITCHEN_SINK, SMALL]
