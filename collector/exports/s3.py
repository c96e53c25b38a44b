"""A bucket, laid out as GuardDuty's own export: gzipped JSON lines.

    PREFIX/AWSLogs/ACCOUNT/GuardDuty/REGION/YYYY/MM/DD/<hash>.jsonl.gz

An object is named after what is in it, so that what is sent again is the same object.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from typing import Any

from collector.exports._aws import AwsSettings
from collector.exports._aws import call
from collector.exports._aws import client
from collector.exports._base import TOGETHER
from collector.exports._base import Section
from collector.exports._base import line

FORMAT = "guardduty"


class Settings(AwsSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which bucket."""

    bucket: str
    prefix: str = ""
    kms_key_id: str | None = None
    """What objects are encrypted with; None for the bucket's own way."""


def check(settings: Settings) -> None:
    """Raise ConfigError unless boto3 is there."""
    client("s3", settings)


class Destination:
    """A bucket."""

    at_once = TOGETHER

    def __init__(self, section: Section) -> None:
        self._section = section
        self._client = client("s3", section.settings)

    def send(self, documents: Sequence[dict[str, Any]]) -> dict[int, str]:
        """Put findings, an object for each day and account; return those that were refused. Raises Unsent."""
        refused: dict[int, str] = {}
        folders: dict[str, list[int]] = {}
        for number, document in enumerate(documents):
            folders.setdefault(_folder(document), []).append(number)
        rendered = self._section.rendered(documents)
        for folder, numbers in folders.items():
            why = self._put(folder, b"".join(line(rendered[number]) + b"\n" for number in numbers))
            if why is not None:
                refused |= dict.fromkeys(numbers, why)
        return refused

    def _put(self, folder: str, lines: bytes) -> str | None:
        settings: Settings = self._section.settings
        name = hashlib.sha256(lines).hexdigest()[:32]
        key = "/".join(filter(None, (settings.prefix.strip("/"), folder, f"{name}.jsonl.gz")))
        encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": settings.kms_key_id}
        _, why = call(
            self._client.put_object,
            Bucket=settings.bucket,
            Key=key,
            Body=gzip.compress(lines, mtime=0),
            ContentType="application/x-ndjson",
            ContentEncoding="gzip",
            **(encryption if settings.kms_key_id else {}),
        )
        return why


def _folder(document: dict[str, Any]) -> str:
    day = document["updatedAt"].partition("T")[0].replace("-", "/")
    return f"AWSLogs/{document['accountId']}/GuardDuty/{document['region']}/{day}"
