"""Access tokens for partners that sign with a key of their own: SMART Backend Services.

https://hl7.org/fhir/smart-app-launch/backend-services.html, https://www.rfc-editor.org/rfc/rfc6749#section-5
"""

from __future__ import annotations

from typing import NoReturn

import structlog
from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header

from gateway.authentication.assertions import CLIENT_ALGORITHMS
from gateway.authentication.authenticator import TOKEN_SECONDS
from gateway.authentication.model import NotProven
from gateway.fhir.issues import printable
from gateway.web import context

log = structlog.get_logger()
endpoints = Blueprint("tokens", __name__)

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_FORM = "application/x-www-form-urlencoded"
_LARGEST_FORM = 64 * 1024
_PARAMETERS = ("grant_type", "scope", "client_assertion_type", "client_assertion", "client_id")
_CAPABILITIES = ["client-confidential-asymmetric", "permission-v1", "permission-v2"]


class _TokenError(Exception):
    """https://www.rfc-editor.org/rfc/rfc6749#section-5.2"""

    def __init__(self, error: str, text: str) -> None:
        super().__init__(text)
        self.error = error
        self.text = text


@endpoints.post("/auth/token")
def token() -> Response:
    """An access token for a partner whose client assertion this is."""
    here = context.get()
    try:
        said = _read_form()
        partners = here.terms.partners
        partner = here.authenticator.client(said["client_assertion"], said.get("client_id"), partners)
        if partner.state == "blocked":
            raise NotProven(f"{partner.name} is blocked")
        secret, scopes = here.authenticator.give_token(partner, frozenset(said["scope"].split()))
    except NotProven as unproven:
        log.warning("not proven", cause=unproven.cause)
        return _refusal("invalid_client", "The client assertion does not prove who sends it.", 401)
    except _TokenError as wrong:
        return _refusal(wrong.error, wrong.text, 400)
    if not scopes:
        return _refusal("invalid_scope", "None of these scopes may be given to this client.", 400)
    structlog.contextvars.bind_contextvars(partner=partner.name)
    answer = {"access_token": secret, "token_type": "bearer", "expires_in": TOKEN_SECONDS}
    return _uncached(jsonify(answer | {"scope": " ".join(sorted(scopes))}))


@endpoints.get("/.well-known/smart-configuration")
@endpoints.get("/fhir/.well-known/smart-configuration")
def smart_configuration() -> Response:
    """https://hl7.org/fhir/smart-app-launch/conformance.html"""
    in_force = context.get().settings
    return jsonify(
        issuer=in_force.base_url,
        token_endpoint=in_force.token_url,
        grant_types_supported=["client_credentials"],
        token_endpoint_auth_methods_supported=["private_key_jwt"],
        token_endpoint_auth_signing_alg_values_supported=list(CLIENT_ALGORITHMS),
        scopes_supported=["system/*.cruds", "system/*.read", "system/*.write", "system/*.*"],
        capabilities=_CAPABILITIES,
    )


def _read_form() -> dict[str, str]:
    """What the client says, each once. Raises _TokenError."""
    request.max_content_length = _LARGEST_FORM
    if parse_options_header(request.headers.get("Content-Type"))[0].lower() != _FORM:
        _wrong("invalid_request", f"Send the parameters as {_FORM}.")
    try:
        form = request.form
    except RequestEntityTooLarge:
        _wrong("invalid_request", "The request is too large.")
    repeated = [name for name in _PARAMETERS if len(form.getlist(name)) > 1]
    if repeated:
        _wrong("invalid_request", f"{repeated[0]} is there more than once.")
    said = {name: form[name] for name in _PARAMETERS if form.get(name)}
    if "grant_type" in said and said["grant_type"] != "client_credentials":
        _wrong("unsupported_grant_type", f"grant_type is client_credentials, not {printable(said['grant_type'][:40])}.")
    missing = [name for name in _PARAMETERS if name != "client_id" and name not in said]
    if missing:
        _wrong("invalid_request", f"{missing[0]} is missing.")
    if said["client_assertion_type"] != _ASSERTION_TYPE:
        _wrong("invalid_request", f"client_assertion_type is {_ASSERTION_TYPE}.")
    return said


def _wrong(error: str, text: str) -> NoReturn:
    raise _TokenError(error, text)


def _refusal(error: str, text: str, status: int) -> Response:
    response = jsonify(error=error, error_description=text)
    response.status_code = status
    return _uncached(response)


def _uncached(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.headers["Pragma"] = "no-cache"
    return response
