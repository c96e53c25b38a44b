"""A finding in the envelope in which EventBridge delivers GuardDuty's.

https://docs.aws.amazon.com/guardduty/latest/ug/guardduty_findings_eventbridge.html#guardduty_findings_eventbridge_format
"""

from __future__ import annotations

import uuid
from typing import Any

from collector.formats import delivery

_NAMESPACE = uuid.UUID("8f6dd6a1-4a0f-5b8e-9d0b-7a1f4a3c2b10")
DETAIL_TYPE = "GuardDuty Finding"


def render(document: dict[str, Any]) -> dict[str, Any]:
    """Return the event; the same that is sent again has the same `id`."""
    return {
        "version": "0",
        "id": str(uuid.uuid5(_NAMESPACE, delivery(document))),
        "detail-type": DETAIL_TYPE,
        "source": "aws.guardduty",
        "account": document["accountId"],
        "time": document["updatedAt"].partition(".")[0] + "Z",
        "region": document["region"],
        "resources": [],
        "detail": document,
    }
