"""A partner's document with every key there is."""

from __future__ import annotations

from typing import Any

from joserfc.jwk import ECKey

JWKS = {"keys": [{**ECKey.generate_key("P-384").as_dict(private=False), "kid": "1"}]}
KITCHEN_SINK: dict[str, Any] = {
    "name": "Street Pharmacy",
    "identifiers": ["http://registry.example/org|P-7"],
    "endpoints": ["https://pharmacy.example/fhir", "urn:demo:pharmacy"],
    "tell": "subscription",
    "version": "R5",
    "format": "xml",
    "accepts_cancellation": True,
    "state": "paused",
    "role": "fulfiller",
    "fulfilled_by": "Hospital",
    "reply": "later",
    "checking": {"bdl-7": "warn", "dom-6": "ignore"},
    "subscription": {
        "reference": "https://pharmacy.example/fhir/Subscription/7",
        "topic": "https://pharmacy.example/topics/tasks",
        "content": "full-resource",
    },
    "authentication": {
        "client_id": "pharmacy",
        "jwks": JWKS,
        "certificates": ["ab" * 32],
        "subjects": ["CN=pharmacy.example,O=Street Pharmacy"],
        "issuer": "https://issuer.example",
        "subject": "7",
        "scopes": ["system/Task.cru", "system/Bundle.c"],
        "mismatch": "flag",
    },
    "delivery": {
        "reply_to": "https://pharmacy.example/replies",
        "retry_schedule": [1, 2.5, 60],
        "timeout": 10,
        "at_once": 2,
        "networks": ["10.3.0.0/16"],
        "credentials": {
            "kind": "oauth",
            "secret_file": "/run/secrets/pharmacy.pem",
            "client_id": "gateway",
            "token_url": "https://pharmacy.example/token",
            "scope": "system/*.write",
            "certificate_file": "/run/secrets/gateway.pem",
            "key_file": "/run/secrets/gateway.key",
            "authority_file": "/run/secrets/authority.pem",
        },
    },
    "limits": {"messages_per_minute": 600, "message_bytes": 1048576},
    "contact": {"name": "Night desk", "email": "night@pharmacy.example", "phone": "+44 20 7946 0000"},
}
