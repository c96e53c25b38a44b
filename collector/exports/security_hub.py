"""Security Hub, by BatchImportFindings: what is sent again updates the finding of the same ARN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from collector.exports._aws import AwsSettings as Settings
from collector.exports._aws import call
from collector.exports._aws import client
from collector.exports._base import TOGETHER
from collector.exports._base import Section

FORMAT = "asff"
FORMATS = ("asff",)
BATCH = 100  # findings in a call, its API reference


def check(settings: Settings) -> None:
    """Raise ConfigError unless boto3 is there."""
    client("securityhub", settings)


class Destination:
    """A Security Hub."""

    at_once = TOGETHER

    def __init__(self, section: Section) -> None:
        self._section = section
        self._client = client("securityhub", section.settings)

    def send(self, documents: Sequence[dict[str, Any]]) -> dict[int, str]:
        """Import findings; return those that were refused. Raises Unsent."""
        rendered = self._section.rendered(documents)
        refused: dict[int, str] = {}
        for first in range(0, len(rendered), BATCH):
            some = rendered[first : first + BATCH]
            failed = self._import(some)
            refused |= {first + number: failed[one["Id"]] for number, one in enumerate(some) if one["Id"] in failed}
        return refused

    def _import(self, findings: list[dict[str, Any]]) -> dict[str, str]:
        """Return why which were refused, by their `Id`."""
        answer, why = call(self._client.batch_import_findings, Findings=findings)
        if why is not None:
            return {one["Id"]: why for one in findings}
        return {one["Id"]: f"{one['ErrorCode']}: {one['ErrorMessage']}" for one in answer.get("FailedFindings", ())}
