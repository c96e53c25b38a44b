"""Model to protobuf, and nothing else.

A field of a message has the name of the field in the model, so a new kind of
event is encoded without an edit here. Unknown (None) is said by absence.

Text and numbers come from hostile places. What a field cannot hold is bounded
to what it can (a number) or escaped (text), or the field is left out, and
`wire.unencodable` counts it; protobuf never raises out of this module.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import msgspec
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message import Message

from agent.counters import Counters
from agent.deliver.lanes import Gap
from agent.deliver.lanes import Lane
from agent.deliver.lanes import Row
from agent.errors import PeerError
from agent.model import Container
from agent.model import Event
from agent.model import Finding
from agent.model import Host
from agent.model import Place
from agent.model import ProbeStatus
from agent.model import Process
from agent.model import Surroundings
from agent.model import facts
from agent.version import VERSION
from vedette.v1 import event_pb2
from vedette.v1 import finding_pb2
from vedette.v1 import ingest_pb2

Fields = Mapping[str, Any]
"""Field values of a message by name, as its constructor takes them; None is a field left out."""

MAX_MESSAGE_BYTES = (
    2 * 2**20
)  # half of what a gRPC server takes by default; an event is bounded to some 64 KiB by its record

PROTOCOL = 1
"""Version of the conversation with the collector: docs/protocol.md."""

_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
"""What each whole number of protobuf holds: https://protobuf.dev/programming-guides/proto3/#scalar"""

_UINT64_MAX = _RANGES[FieldDescriptor.CPPTYPE_UINT64][1]

_PLAIN = frozenset({FieldDescriptor.CPPTYPE_BOOL, FieldDescriptor.CPPTYPE_DOUBLE})
"""Fields that take any number as it is."""

_ACTOR_HEADER = tuple(name for name in event_pb2.Actor.DESCRIPTOR.fields_by_name if name in Event.__struct_fields__)
"""What the record header says of the actor."""
_HEADER_OF: Callable[[Event], tuple[Any, ...]] = attrgetter(*_ACTOR_HEADER)

_PROCESS_FIELDS = tuple(
    name for name in finding_pb2.Process.DESCRIPTOR.fields_by_name if name in Process.__struct_fields__
)
"""What findings show of a process by the same name."""


class UnreadableRow(PeerError):
    """A spooled row is not what was written: the disk returned something else."""


class Encoder:
    """Turns events, findings and health into bytes; counts what would not fit."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def event(self, event: Event, surroundings: Surroundings, sha256: str | None) -> bytes | None:
        """Return an EventBatch of one; batches of one, joined, are a batch of many. None when it is too large."""
        fields = {
            "time_ns": event.time_ns,
            "at_ns": event.at_ns,
            "actor": _actor(event, surroundings, sha256),
            "result": event.result,
            "flags": event.flags,
            "via": event.via,
            "existing": event.existing,
            "mapping": msgspec.to_builtins(surroundings.mapping),
            str(event.__struct_config__.tag): msgspec.to_builtins(facts(event)),
        }
        return self._batch(fields)

    def container(self, container: Container, time_ns: int, at_ns: int) -> bytes | None:
        """Return an EventBatch of one that says what a container is; `time_ns`, `at_ns`: when that was known."""
        told = msgspec.to_builtins(container)
        return self._batch({"time_ns": time_ns, "at_ns": at_ns, "container": told})

    def _batch(self, fields: Fields) -> bytes | None:
        encoded = self._encode(ingest_pb2.EventBatch, {"events": [fields]})
        if len(encoded) <= MAX_MESSAGE_BYTES:
            return encoded
        self._counters.add("wire.oversized_events")
        return None

    def finding(self, finding: Finding) -> bytes:
        """Return a FindingBatch of one. A finding is never given up: one too large goes without its ancestors."""
        encoded = self._encode(ingest_pb2.FindingBatch, {"findings": [_finding(finding)]})
        if len(encoded) <= MAX_MESSAGE_BYTES or not finding.lineage:
            return encoded
        self._counters.add("wire.trimmed_lineages")
        return self.finding(msgspec.structs.replace(finding, lineage=()))

    def health(
        self, at_ns: int, probes: Iterable[ProbeStatus], numbers: tuple[Mapping[str, int], Fields], place: Place
    ) -> bytes:
        """Return an AgentMessage with the agent's health; `numbers` are its counters and other fields of Health."""
        counters, others = numbers
        bounded = {name: min(max(value, 0), _UINT64_MAX) for name, value in counters.items()}
        fields = {
            "at_ns": at_ns,
            "probes": msgspec.to_builtins(tuple(probes)),
            "counters": bounded,
            "place": msgspec.to_builtins(place),
            **others,
        }
        return self._encode(ingest_pb2.AgentMessage, {"health": fields})

    def hello(self, host: Host, probes: Iterable[ProbeStatus], about: Fields, place: Place) -> bytes:
        """Return the AgentMessage that opens a stream; `about`: other fields of Hello, the `spool_id` among them."""
        fields = {
            "host": {name: getattr(host, name) for name in ingest_pb2.Host.DESCRIPTOR.fields_by_name},
            "agent_version": VERSION,
            "protocol": PROTOCOL,
            "probes": [probe.name for probe in probes if probe.attached],
            "place": msgspec.to_builtins(place),
            **about,
        }
        return self._encode(ingest_pb2.AgentMessage, {"hello": fields})

    def _encode(self, message: type[Message], fields: Fields) -> bytes:
        """Return the message's bytes; the slow way, field by field, only when protobuf refuses."""
        try:
            return message(**fields).SerializeToString()
        except (ValueError, TypeError, OverflowError):
            return message(**self._fitted(_descriptor(message), fields)).SerializeToString()

    def _fitted(self, descriptor: Descriptor, fields: Fields) -> dict[str, Any]:
        """Return what of `fields` the message can hold."""
        fitted: dict[str, Any] = {}
        for name, value in fields.items():
            field = descriptor.fields_by_name.get(name)
            if field is not None:
                fitted[name] = self._fit(field, value)
            elif value is not None:
                self._unfit(None)
        return fitted

    def _fit(self, field: FieldDescriptor, value: object) -> object | None:
        """Return `value` as the field can hold it, or None; counts when that is another value."""
        if value is None or _is_map(field):
            return value
        if isinstance(value, (list, tuple)):
            items = (self._fit(field, item) for item in value)
            return [item for item in items if item is not None]
        if isinstance(value, dict) and field.message_type is not None:
            return self._fitted(field.message_type, value)
        return self._fit_scalar(field, value)

    def _fit_scalar(self, field: FieldDescriptor, value: object) -> object | None:
        """Return text escaped and a number bounded, or None for what is neither."""
        if isinstance(value, str) and field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
            clean = value.encode("utf-8", "backslashreplace").decode()
            return value if clean == value else self._unfit(clean)
        if isinstance(value, (int, float)) and field.cpp_type in _PLAIN:
            return value
        if isinstance(value, int) and field.cpp_type in _RANGES:
            low, high = _RANGES[field.cpp_type]
            bounded = min(max(value, low), high)
            return value if bounded == value else self._unfit(bounded)
        return self._unfit(None)

    def _unfit(self, instead: object | None) -> object | None:
        self._counters.add("wire.unencodable")
        return instead


def message_of(piece: Row | Gap) -> ingest_pb2.AgentMessage:
    """Return a row, its sequences stamped, or a gap, as it is sent.

    Raises UnreadableRow when the payload does not parse, or holds more or less than the row says.
    """
    if isinstance(piece, Gap):
        return ingest_pb2.AgentMessage(evicted={"lane": piece.lane.value, "first": piece.first, "last": piece.last})
    message = ingest_pb2.AgentMessage()
    try:
        items = _items(message, piece)
    except DecodeError as exc:
        raise UnreadableRow(f"{piece.lane.label} {piece.first} to {piece.last} in the spool do not parse") from exc
    if len(items) != piece.items:
        raise UnreadableRow(f"{piece.lane.label} {piece.first} to {piece.last} in the spool are {len(items)}")
    for sequence, item in enumerate(items, piece.first):
        item.sequence = sequence
    return message


def _items(message: ingest_pb2.AgentMessage, row: Row) -> Sequence[finding_pb2.Finding | event_pb2.Event]:
    """Parse the payload into the message; return its items, in place."""
    if row.lane is Lane.FINDINGS:
        message.findings.MergeFromString(row.payload)
        return message.findings.findings
    message.events.MergeFromString(row.payload)
    return message.events.events


def _descriptor(message: type[Message]) -> Descriptor:
    described: Any = message.DESCRIPTOR  # declared as either of two classes with one face
    described_by: Descriptor = described
    return described_by


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _actor(event: Event, surroundings: Surroundings, sha256: str | None) -> Fields:
    """Return who did it: the record says what it is now, enrichment who that is."""
    fields = dict(zip(_ACTOR_HEADER, _HEADER_OF(event), strict=True))
    fields["sha256"] = sha256
    container = surroundings.container
    fields["container_id"] = container.id if container else None
    actor = surroundings.actor
    if actor is None:
        return fields
    fields["uuid"] = actor.uuid
    fields["path"] = actor.exe.path if actor.exe else None
    fields["name"] = actor.name
    fields["parent_tgid"] = actor.parent.tgid if actor.parent else None
    fields["parent_uuid"] = actor.parent_uuid
    if container is None:
        fields["container_id"] = actor.container_id
    return fields


def _finding(finding: Finding) -> Fields:
    return {
        **msgspec.to_builtins(finding),
        "process": _process(finding.process, finding.sha256),
        "lineage": [_process(ancestor) for ancestor in finding.lineage],
        "evidence": {
            **msgspec.to_builtins(finding.evidence),
            "modifying_process": _process(finding.evidence.modifying_process),
            "target_process": _process(finding.evidence.target_process),
        },
    }


def _process(process: Process | None, sha256: str | None = None) -> Fields | None:
    """Return a process as findings show it; its arguments stay behind."""
    if process is None:
        return None
    exe = process.exe
    return {
        **{name: getattr(process, name) for name in _PROCESS_FIELDS},
        "tgid": process.key.tgid,
        "started_ticks": process.key.started_ticks,
        "path": exe.path if exe else None,
        "script_path": exe.script_path if exe else None,
        "sha256": sha256,
    }
