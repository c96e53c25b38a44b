"""What one message of an agent may hold: far more than any agent sends, and little enough to be held for each.

A message of 4 MiB can spell two million empty events, which take a hundred times
that in memory; so a message is measured as soon as it is parsed, and what is too
much of anything ends its stream.  Numbers and text that no column can hold would
else be refused by the database for ever, and waited for as if a disk were full.

Pure: a message in, a complaint out.
"""

from __future__ import annotations

from collections.abc import Iterable

from vedette.v1 import finding_pb2
from vedette.v1 import ingest_pb2

EVENTS = 5_000  # an agent sends 500 at a time
FINDINGS = 100  # an agent sends one at a time
HEALTH_BYTES = 64 * 1024  # of counters and probes; an agent's take 8 KiB
HELLO_BYTES = 64 * 1024
TYPE_CHARACTERS = 100  # as in the guardduty model, and the column
SEVERITY_MAX = 10.0  # GuardDuty's scale
CONTAINER_ID_BYTES = 255  # NAME_MAX: it is the name of a directory; PostgreSQL's indexes take 2,704


def fault_of(message: ingest_pb2.AgentMessage, size_bytes: int) -> str | None:
    """Return what is wrong with a message that was `size_bytes` on the wire, None when nothing is."""
    match message.WhichOneof("message"):
        case "events":
            return _too_many("events", len(message.events.events), EVENTS)
        case "findings":
            findings = message.findings.findings
            return _too_many("findings", len(findings), FINDINGS) or _findings_fault(findings)
        case "health":
            return _too_many("bytes of health", size_bytes, HEALTH_BYTES)
        case "hello":
            return _too_many("bytes of hello", size_bytes, HELLO_BYTES)
        case _:
            return None


def _too_many(what: str, count: int, limit: int) -> str | None:
    return f"a message of {count} {what}; {limit} are the most" if count > limit else None


def _findings_fault(findings: Iterable[finding_pb2.Finding]) -> str | None:
    for finding in findings:
        if not 0 < len(finding.type) <= TYPE_CHARACTERS or not finding.type.isprintable():
            return f"a finding's type must have 1 to {TYPE_CHARACTERS} printable characters"
        if not 0 <= finding.severity <= SEVERITY_MAX:  # what is no number is not in there either
            return f"a finding's severity must be 0 to {SEVERITY_MAX:g}"
        if len(finding.container.id.encode()) > CONTAINER_ID_BYTES:
            return f"a container's id has {CONTAINER_ID_BYTES} bytes at most"
    return None
