"""Search: which parameters there are, the tokens by which resources are found, and what a query asks for.

https://hl7.org/fhir/R4/search.html. `parameters` is the table, `tokens` what a resource is found by, `query` reads what
a client asks for.
"""

from gateway.fhir.search.cursors import Cursor, Order
from gateway.fhir.search.moments import Span
from gateway.fhir.search.parameters import PARAMETERS, SEARCHED, Parameter
from gateway.fhir.search.query import Include, Query, digests_of, included, parse, reverse_digests, terms_for
from gateway.fhir.search.tokens import creator_tokens, tokens_of, waiting_token, waiting_tokens
from gateway.fhir.search.values import Group

__all__ = [
    "PARAMETERS",
    "SEARCHED",
    "Cursor",
    "Group",
    "Include",
    "Order",
    "Parameter",
    "Query",
    "Span",
    "creator_tokens",
    "digests_of",
    "included",
    "parse",
    "reverse_digests",
    "terms_for",
    "tokens_of",
    "waiting_token",
    "waiting_tokens",
]
