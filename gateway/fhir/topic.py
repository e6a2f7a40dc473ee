"""The topic that partners can subscribe to: https://hl7.org/fhir/R5/subscriptiontopic.html"""

from __future__ import annotations

from gateway.fhir.definitions import Version
from gateway.fhir.json import Resource
from gateway.fhir.search import PARAMETERS

TASK_UPDATES = "task-updates"
FILTERS = ("status", "business-status", "code", "owner", "requester", "patient", "based-on")
"""Search parameters of Tasks."""
_DEFINITIONS = "http://hl7.org/fhir/StructureDefinition"
_MODIFIERS = {"status": ["not"]}


def topic_url(base_url: str) -> str:
    """The canonical url of the topic."""
    return f"{base_url}/SubscriptionTopic/{TASK_UPDATES}"


def subscription_topic(base_url: str, published: str, version: Version) -> Resource:
    """The definition of the topic, in R5 or R4B."""
    return {
        "resourceType": "SubscriptionTopic",
        "id": TASK_UPDATES,
        "url": topic_url(base_url),
        "version": published,
        "title": "Changes of one's Tasks",
        "status": "active",
        "date": published,
        "description": "A Task that the subscriber places or fulfils is created or changed by somebody else.",
        "resourceTrigger": [
            {
                "description": "A Task is created or changed, by a message or by REST.",
                "resource": f"{_DEFINITIONS}/Task",
                "supportedInteraction": ["create", "update"],
            }
        ],
        "canFilterBy": [_filter(name, version) for name in FILTERS],
        "notificationShape": [{"resource": f"{_DEFINITIONS}/Task"}],
    }


def _filter(name: str, version: Version) -> Resource:
    """R4B has no codes for the modifiers that there are."""
    modifiers = ["identifier"] if PARAMETERS["Task"][name].type == "reference" else _MODIFIERS.get(name, [])
    said = {
        "description": f"As the search parameter {name} of Tasks.",
        "resource": f"{_DEFINITIONS}/Task",
        "filterParameter": name,
    }
    return said | ({"modifier": modifiers} if modifiers and version == "R5" else {})
