"""What versions say in another resource of a message than R4 does."""

from __future__ import annotations

from gateway.fhir.definitions import Version
from gateway.fhir.json import Resource
from gateway.fhir.references import Entries
from gateway.fhir.versions.carrying import url_of
from gateway.fhir.versions.telling import find_header


def after_to_r4(bundle: Resource, version: Version) -> Resource:
    """A message of the version, converted, with what the gateway reads where R4 has it."""
    header = find_header(bundle)
    if header is None:
        return bundle
    if version == "STU3":
        return _with_timestamp(bundle, header)
    if version == "R5":
        return _with_endpoint(bundle, header)
    return bundle


def before_from_r4(bundle: Resource, version: Version) -> Resource:
    """A message of R4 with its time where STU3 has it: `MessageHeader.timestamp`."""
    header = find_header(bundle)
    if version != "STU3" or header is None or "timestamp" not in bundle:
        return bundle
    url = url_of("STU3", "MessageHeader.timestamp")
    if not _carried(header, url):
        extensions = header["extension"] if isinstance(header.get("extension"), list) else []
        header = {**header, "extension": [*extensions, {"url": url, "valueInstant": bundle["timestamp"]}]}
    first, *others = bundle["entry"]
    entry = {**first, "resource": header}
    rest = {name: value for name, value in bundle.items() if name != "timestamp"}
    return {**rest, "entry": [entry, *others]}


def _with_timestamp(bundle: Resource, header: Resource) -> Resource:
    """STU3's `MessageHeader.timestamp`, which is carried, is R4's `Bundle.timestamp` too."""
    carried = _carried(header, url_of("STU3", "MessageHeader.timestamp"))
    return {"timestamp": carried["valueInstant"], **bundle} if "valueInstant" in carried else bundle


def _with_endpoint(bundle: Resource, header: Resource) -> Resource:
    """The sender's address is that of the Endpoint which R5 may refer to instead."""
    source = header.get("source")
    if not isinstance(source, dict) or "endpoint" in source:
        return bundle
    reference = _carried(source, url_of("R5", "MessageHeader.source.endpoint")).get("valueReference")
    literal = reference.get("reference") if isinstance(reference, dict) else None
    entries = Entries(bundle)
    entry = entries.resolve(literal, next(iter(entries))) if isinstance(literal, str) else None
    address = entry.resource.get("address") if entry else None
    if isinstance(address, str):
        source["endpoint"] = address
    return bundle


def _carried(element: Resource, url: str) -> Resource:
    """The extension of the element with this url, empty if there is none."""
    extensions = element["extension"] if isinstance(element.get("extension"), list) else []
    return next((item for item in extensions if isinstance(item, dict) and item.get("url") == url), {})
