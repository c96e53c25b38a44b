"""Events as Arrow columns: the schema comes from the protobuf descriptors.

A field of `Event` is a column, a message in it is a struct, and each kind of the
`kind` oneof is one nullable struct, so that a new probe needs no line here.
A file holds one OCSF class and has the kinds of that class alone.
Before them stand the collector's own columns:

    host_id         who sent it
    spool_id        whose sequence it is: with both, `sequence` names an event for ever
    received_at_ns  when, by the collector's clock
    kind            the oneof's field that is set, or null from an agent newer than this collector
    class_uid, category_uid, activity_id, type_uid
                    the event in OCSF's numbers (`collector.classes`)

Whole columns are built at a time: a message is never turned into a dict, which
would cost ten times as much.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from operator import attrgetter
from operator import methodcaller
from typing import Any

import pyarrow as pa
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from collector import classes
from collector.names import AgentKey
from vedette.v1 import event_pb2

_TYPES = {
    FieldDescriptor.TYPE_BOOL: pa.bool_(),
    FieldDescriptor.TYPE_BYTES: pa.binary(),
    FieldDescriptor.TYPE_DOUBLE: pa.float64(),
    FieldDescriptor.TYPE_INT32: pa.int32(),
    FieldDescriptor.TYPE_INT64: pa.int64(),
    FieldDescriptor.TYPE_STRING: pa.string(),
    FieldDescriptor.TYPE_UINT32: pa.uint32(),
    FieldDescriptor.TYPE_UINT64: pa.uint64(),
}
"""Those that our .proto files use."""

_EVENT = event_pb2.Event.DESCRIPTOR
_kind_of = methodcaller("WhichOneof", "kind")


def kinds() -> frozenset[str]:
    """Return the names of all kinds of event."""
    return frozenset(field.name for field in _EVENT.oneofs_by_name["kind"].fields)


@cache
def schema(class_name: str | None = None) -> pa.Schema:
    """Return the schema of an event file: of one class, or of all of them together."""
    own = {"host_id": pa.string(), "spool_id": pa.string(), "received_at_ns": pa.int64(), "kind": pa.string()}
    own |= dict.fromkeys(("class_uid", "category_uid", "activity_id", "type_uid"), pa.int32())
    return pa.schema([pa.field(*item) for item in own.items()] + _fields(_fields_of(class_name)))


def by_class(events: Iterable[Message]) -> dict[str, list[Message]]:
    """Return events in their order under the names of their classes."""
    found: dict[str, list[Message]] = {}
    for event in events:
        found.setdefault(_class_of(_kind_of(event)), []).append(event)
    return found


def table(events: Sequence[Message], key: AgentKey, received_at_ns: int, class_name: str | None = None) -> pa.Table:
    """Return `events` as one table; all of them must be of the class, if one is named."""
    count = len(events)
    found = list(map(_kind_of, events))
    ocsf = [_numbers(kind) for kind in found]
    own = [
        pa.repeat(pa.scalar(key.host_id), count),
        pa.repeat(pa.scalar(key.spool_id), count),
        pa.repeat(pa.scalar(received_at_ns, pa.int64()), count),
        pa.array(found, pa.string()),
        *(pa.array(column, pa.int32()) for column in zip(*ocsf, strict=True)),
    ]
    return pa.Table.from_arrays(own + _arrays(events, _fields_of(class_name)), schema=schema(class_name))


@cache
def _class_of(kind: str | None) -> str:
    return classes.of_kind(kind)[0].name


@cache
def _numbers(kind: str | None) -> tuple[int, int, int, int]:
    found, activity_id = classes.of_kind(kind)
    return found.uid, found.category_uid, activity_id, classes.type_uid(kind)


@cache
def _fields_of(class_name: str | None) -> tuple[Any, ...]:
    """Return the fields of an event that a file of this class has."""
    oneof = _EVENT.oneofs_by_name["kind"]
    return tuple(
        field
        for field in _EVENT.fields
        if class_name is None or field.containing_oneof is not oneof or _class_of(field.name) == class_name
    )


def _fields(fields: Any) -> list[pa.Field]:
    return [pa.field(field.name, _type(field)) for field in fields]


def _type(field: FieldDescriptor) -> pa.DataType:
    single = pa.struct(_fields(field.message_type.fields)) if field.message_type else _TYPES[field.type]
    return pa.list_(single) if field.is_repeated else single


def _arrays(messages: Sequence[Message], fields: Any) -> list[pa.Array]:
    return [_array(messages, field) for field in fields]


def _array(messages: Sequence[Message], field: FieldDescriptor) -> pa.Array:
    if field.message_type and not field.is_repeated:
        return _structs(messages, field)
    values = list(map(attrgetter(field.name), messages))
    if field.is_repeated:
        return _lists(values, field)
    if field.has_presence:
        # A value that is not the default was given; only the others need the slower question.
        values = [
            value or (value if message.HasField(field.name) else None)
            for value, message in zip(values, messages, strict=True)
        ]
    return pa.array(values, _TYPES[field.type])


def _lists(values: list[Any], field: FieldDescriptor) -> pa.Array:
    """Return repeated fields: one flat array and where each list begins in it."""
    offsets = pa.array(list(accumulate(map(len, values), initial=0)), pa.int32())
    flat = [item for value in values for item in value]
    return pa.ListArray.from_arrays(offsets, _of_many(flat, field))


def _structs(messages: Sequence[Message], field: FieldDescriptor) -> pa.Array:
    """Return a struct per message, null where it is not set; only those that are set are looked into."""
    given = list(map(methodcaller("HasField", field.name), messages))
    places = list(accumulate(given, initial=0))
    chosen = [getattr(message, field.name) for message, is_given in zip(messages, given, strict=True) if is_given]
    dense = _of_many(chosen, field)
    if len(chosen) == len(messages):
        return dense
    indices = [place if is_given else None for place, is_given in zip(places, given, strict=False)]
    return dense.take(pa.array(indices, pa.int64()))


def _of_many(values: list[Any], field: FieldDescriptor) -> pa.Array:
    if field.message_type is None:
        return pa.array(values, _TYPES[field.type])
    fields = field.message_type.fields
    return pa.StructArray.from_arrays(_arrays(values, fields), fields=_fields(fields))
