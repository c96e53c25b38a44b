"""When two occurrences are the same finding, and what becomes of the first.

GuardDuty updates a finding that it has seen before: the count rises, the last
seen time moves, and the details are overwritten with the latest occurrence
(earlier ones stay in the events).  Its key is not published.  Ours is

    account, region, host, finding type,
    container if there is one, else the host again,
    path of the executable,
    and the one piece of evidence that sets the type's cases apart: the list
    entry that matched, else the domain, library, file, tool, target or remote
    address.

The list entry comes before the domain so that a program that asks for ever new
names below one listed domain is one finding, not a flood of them.

Pure: values in, values out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from dataclasses import field
from hashlib import sha256

from vedette.v1 import finding_pb2
from vedette.v1 import place_pb2


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose finding it is."""

    account_id: str
    region: str
    detector_id: str
    host_id: str
    host_name: str
    agent_version: str
    place: place_pb2.Place = field(default_factory=place_pb2.Place)
    """What its agent knows by now of where it is."""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """What a finding adds up to; times are Unix nanoseconds."""

    id: str
    count: int
    created_at_ns: int
    updated_at_ns: int
    first_seen_at_ns: int
    last_seen_at_ns: int


def finding_id(origin: Origin, occurrence: finding_pb2.Finding) -> str:
    """Return the stable id of the finding that `occurrence` belongs to: 32 hex digits."""
    container = occurrence.container.id if occurrence.HasField("container") else None
    key = [
        origin.account_id,
        origin.region,
        origin.host_id,
        occurrence.type,
        container or origin.host_id,
        occurrence.process.path,
        distinguishing(occurrence.evidence),
    ]
    # JSON, because joined text would let a hostile path imitate a neighbour's field.
    return sha256(json.dumps(key).encode()).hexdigest()[:32]


def distinguishing(evidence: finding_pb2.Evidence) -> str:
    """Return the piece of evidence that tells one case of a finding type from another, or `""`."""
    if evidence.threats:
        return evidence.threats[0].entry
    candidates = (
        evidence.domain,
        evidence.library_path,
        evidence.file_path,
        evidence.threat_file_path,
        evidence.tool_name,
        evidence.target_process.path,
        evidence.socket.remote_address,
        evidence.script_path,
    )
    return next((value for value in candidates if value), "")


def begin(id_: str, at_ns: int, now_ns: int) -> Aggregate:
    """Return the aggregate of a first occurrence."""
    return Aggregate(id_, 1, now_ns, now_ns, at_ns, at_ns)


def add(before: Aggregate, at_ns: int, now_ns: int) -> Aggregate:
    """Return `before` with one more occurrence."""
    return Aggregate(
        id=before.id,
        count=before.count + 1,
        created_at_ns=before.created_at_ns,
        updated_at_ns=max(now_ns, before.updated_at_ns),
        first_seen_at_ns=min(at_ns, before.first_seen_at_ns),
        last_seen_at_ns=max(at_ns, before.last_seen_at_ns),
    )
