"""A finding as GuardDuty's API says it (botocore `guardduty`, shape Finding): as it is kept."""

from __future__ import annotations

from typing import Any


def render(document: dict[str, Any]) -> dict[str, Any]:
    """Return the finding."""
    return document
