"""An EventBridge bus, by PutEvents.

`detail-type` and `detail` are GuardDuty's, so that rules written for its findings match when they do not ask for the
source: AWS lets nobody else say `aws.guardduty`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from collector.errors import ConfigError
from collector.exports._aws import LATER
from collector.exports._aws import AwsSettings
from collector.exports._aws import call
from collector.exports._aws import client
from collector.exports._base import TOGETHER
from collector.exports._base import Section
from collector.exports._base import Unsent
from collector.formats.eventbridge import DETAIL_TYPE

FORMAT = "eventbridge"
FORMATS = ("eventbridge",)
BATCH = 10  # entries in a call, its API reference
ENTRY_BYTES = 250_000  # 256 KB with the rest of the entry


class Settings(AwsSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which bus."""

    bus: str = "default"
    source: str = "vedette"


def check(settings: Settings) -> None:
    """Raise ConfigError for a source that AWS keeps for itself, or without boto3."""
    if settings.source.lower().startswith("aws."):
        raise ConfigError("source` may not begin with aws., which AWS keeps for itself")
    client("events", settings)


class Destination:
    """A bus."""

    at_once = TOGETHER

    def __init__(self, section: Section) -> None:
        self._section = section
        self._client = client("events", section.settings)

    def send(self, documents: Sequence[dict[str, Any]]) -> dict[int, str]:
        """Put findings on the bus; return those that were refused. Raises Unsent."""
        refused: dict[int, str] = {}
        entries: list[tuple[int, dict[str, Any]]] = []
        for number, event in enumerate(self._section.rendered(documents)):
            detail = json.dumps(event["detail"])
            if len(detail) > ENTRY_BYTES:
                refused[number] = f"{len(detail)} bytes are more than an event may have"
            else:
                entries.append((number, self._entry(event, detail)))
        for first in range(0, len(entries), BATCH):
            refused |= self._put(entries[first : first + BATCH])
        return refused

    def _entry(self, event: dict[str, Any], detail: str) -> dict[str, Any]:
        settings: Settings = self._section.settings
        return {
            "Source": settings.source,
            "DetailType": DETAIL_TYPE,
            "Detail": detail,
            "EventBusName": settings.bus,
            "Time": event["time"],
        }

    def _put(self, entries: list[tuple[int, dict[str, Any]]]) -> dict[int, str]:
        answer, why = call(self._client.put_events, Entries=[entry for _, entry in entries])
        if why is not None:
            return {number: why for number, _ in entries}
        refused = {}
        for (number, _), result in zip(entries, answer.get("Entries", ()), strict=True):
            code = result.get("ErrorCode")
            if code in LATER:
                raise Unsent(f"{code}: {result.get('ErrorMessage')}")
            if code:
                refused[number] = f"{code}: {result.get('ErrorMessage')}"
        return refused
