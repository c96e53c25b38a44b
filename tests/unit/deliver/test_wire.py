from __future__ import annotations

import types
import typing
from typing import Any

import msgspec
import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from agent.counters import Counters
from agent.deliver import wire
from agent.deliver.lanes import Gap
from agent.deliver.lanes import Lane
from agent.deliver.lanes import Row
from agent.model import Container
from agent.model import Ec2Instance
from agent.model import Event
from agent.model import Evidence
from agent.model import Executable
from agent.model import Finding
from agent.model import Host
from agent.model import Mapping
from agent.model import Place
from agent.model import PlacedContainer
from agent.model import ProbeStatus
from agent.model import Process
from agent.model import ProcessExec
from agent.model import ProcessExit
from agent.model import ProcessKey
from agent.model import Signal
from agent.model import Standing
from agent.model import Surroundings
from agent.model import Threat
from agent.model import facts
from agent.model import places
from vedette.v1 import event_pb2
from vedette.v1 import finding_pb2
from vedette.v1 import ingest_pb2
from vedette.v1 import place_pb2

KINDS = sorted(Event.__subclasses__(), key=lambda kind: kind.__name__)
HOST = Host(id="i-1", name="web", boot_id="b", kernel="6.18", architecture="x86_64", mnt_ns=1, pid_ns=1)
PLACE = Place(instance=Ec2Instance(id="i-1"), standing=(Standing(name="ec2", known=None, detail="asked"),))
NOBODY = Surroundings(host=HOST, actor=None)
LIMITS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
HOSTILE_TEXT = st.text(alphabet=st.characters(), max_size=6) | st.sampled_from(["\udc80/bin/sh", "a\ud800b", "\0"])
HOSTILE_NUMBERS = st.integers(-(2**70), 2**70)


def process(**changes: Any) -> Process:
    plain = Process(
        key=ProcessKey(7, 8),
        uuid="u-7",
        parent=ProcessKey(1, 2),
        parent_uuid="u-1",
        exe=Executable(path="/usr/bin/python3", script_path="/srv/run.py"),
        name="python3",
        args=("python3", "--password=hunter2"),
        cwd="/srv",
        started_at_ns=9,
        uid=0,
    )
    return msgspec.structs.replace(plain, **changes)


def finding(**changes: Any) -> Finding:
    plain = Finding(
        type="Execution:Runtime/NewBinaryExecuted",
        severity=5.0,
        title="t",
        at_ns=1,
        event_kind="process_exec",
        event_time_ns=2,
        process=process(),
        sha256="ab",
        lineage=(process(key=ProcessKey(1, 2), uuid="u-1"),),
        container=Container(id="c", runtime="docker", started_at_ns=3),
        evidence=Evidence(
            reason="r",
            modifying_process=process(key=ProcessKey(5, 6)),
            threats=(Threat(list_name="l", entry="e", names=("n",)),),
        ),
        attack="T1204.002",
    )
    return msgspec.structs.replace(plain, **changes)


def exit_event(**changes: Any) -> ProcessExit:
    header = dict.fromkeys(Event.__struct_fields__, 1) | {"flags": (), "via": None, "exit_code": 0, "signal": None}
    return ProcessExit(**header | changes)


def values(hint: Any, field: FieldDescriptor, *, hostile: bool) -> st.SearchStrategy[Any]:
    """Return a strategy for what a field of the model may hold; within the message's range unless hostile."""
    if isinstance(hint, types.UnionType):
        return st.none() | values(next(arm for arm in hint.__args__ if arm is not type(None)), field, hostile=hostile)
    if typing.get_origin(hint) is tuple:
        return st.lists(values(hint.__args__[0], field, hostile=hostile), max_size=3).map(tuple)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return structs(hint, field.message_type, hostile=hostile)
    if hint is int:
        return HOSTILE_NUMBERS if hostile else st.integers(*LIMITS[field.cpp_type])
    if hint is str:
        return HOSTILE_TEXT if hostile else st.text(max_size=6)
    assert hint is bool, f"{field.name}: {hint}"
    return st.booleans()


def structs(kind: type[msgspec.Struct], message: Any, *, hostile: bool, names: Any = None) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(kind)
    chosen = names or kind.__struct_fields__
    return st.builds(
        kind, **{name: values(hints[name], message.fields_by_name[name], hostile=hostile) for name in chosen}
    )


def events(kind: type[Event], *, hostile: bool) -> st.SearchStrategy[Event]:
    """Return a strategy for one class of events; header fields stand in three places of the message."""
    hints = typing.get_type_hints(kind)
    fields = event_pb2.Event.DESCRIPTOR.fields_by_name[str(kind.__struct_config__.tag)].message_type.fields_by_name
    header = event_pb2.Actor.DESCRIPTOR.fields_by_name
    outer = event_pb2.Event.DESCRIPTOR.fields_by_name
    own = {name for name in kind.__struct_fields__ if name not in Event.__struct_fields__}

    def field(name: str) -> Any:
        return fields[name] if name in own else header.get(name) or outer[name]

    return st.builds(
        kind, **{name: values(hints[name], field(name), hostile=hostile) for name in kind.__struct_fields__}
    )


def seen(message: Any, name: str) -> Any:
    """Return a field of a message the way the model says it."""
    field = message.DESCRIPTOR.fields_by_name[name]
    if field.has_presence and not message.HasField(name):
        return None
    return plain(getattr(message, name))


def plain(value: Any) -> Any:
    if hasattr(value, "DESCRIPTOR"):
        return {field.name: seen(value, field.name) for field in value.DESCRIPTOR.fields}
    if isinstance(value, (str, int, float)):
        return value
    return [plain(item) for item in value]


def decoded(encoder: wire.Encoder, event: Event, surroundings: Surroundings = NOBODY) -> event_pb2.Event:
    encoded = encoder.event(event, surroundings, None)
    assert encoded is not None
    [only] = ingest_pb2.EventBatch.FromString(encoded).events
    return only


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_event_arrives_as_it_was_seen(kind: type[Event]) -> None:
    """What the kernel said is what the collector gets: each field of each kind, unknown as unknown."""
    counters = Counters()
    encoder = wire.Encoder(counters)
    tag = str(kind.__struct_config__.tag)

    @settings(max_examples=30, deadline=None)
    @given(events(kind, hostile=False))
    def arrives(event: Event) -> None:
        message = decoded(encoder, event)

        assert message.WhichOneof("kind") == tag
        assert msgspec.json.decode(msgspec.json.encode(facts(event))) == plain(getattr(message, tag))
        assert event.time_ns == message.time_ns
        assert event.result == message.result
        assert list(event.flags) == list(message.flags)
        assert event.via == (message.via if message.HasField("via") else None)
        assert event.existing == message.existing
        for name in ("tgid", "tid", "started_ns", "ns_tgid", "uid", "euid", "gid", "egid", "cgroup_id", "mnt_ns"):
            assert getattr(event, name) == getattr(message.actor, name)

    arrives()

    assert {} == counters.snapshot()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_event_however_hostile_stops_the_agent(kind: type[Event]) -> None:
    """Numbers beyond their field and text that is not Unicode are bounded and escaped, never fatal."""
    encoder = wire.Encoder(Counters())

    @settings(max_examples=30, deadline=None)
    @given(events(kind, hostile=True))
    def survives(event: Event) -> None:
        message = decoded(encoder, event)

        assert min(max(event.time_ns, 0), 2**64 - 1) == message.time_ns
        assert kind.__struct_config__.tag == message.WhichOneof("kind")

    survives()


@pytest.mark.parametrize(
    ("changes", "expected", "counted"),
    [
        pytest.param({"flags": ("late",)}, {"flags": ["late"]}, 0, id="nothing to bound"),
        pytest.param({"result": -(2**63)}, {"result": -(2**63)}, 0, id="the least result"),
        pytest.param({"result": -(2**63) - 1}, {"result": -(2**63)}, 1, id="below the least result"),
        pytest.param({"flags": ("\udc80",)}, {"flags": ["\\udc80"]}, 1, id="lone surrogate"),
        pytest.param({"time_ns": "soon"}, {"time_ns": 0}, 1, id="text for a number"),
    ],
)
def test_what_does_not_fit_is_counted(changes: dict[str, Any], expected: dict[str, Any], counted: int) -> None:
    """An operator can see that a value was changed on its way, and only then."""
    counters = Counters()

    message = decoded(wire.Encoder(counters), exit_event(**changes))

    assert expected == {name: plain(getattr(message, name)) for name in expected}
    assert counted == counters.get("wire.unencodable")


def test_a_field_that_the_message_lacks_is_left_out_and_counted() -> None:
    """An agent with a newer model than its proto still delivers what the proto knows."""
    counters = Counters()
    encoder = wire.Encoder(counters)

    fitted = encoder._fitted(event_pb2.ProcessExit.DESCRIPTOR, {"exit_code": 3, "core_dumped": True})

    assert {"exit_code": 3} == fitted
    assert 1 == counters.get("wire.unencodable")


def test_the_actor_is_who_enrichment_says_it_is() -> None:
    """An event names program, container and parent of the process that acted."""
    actor = process(container_id="from-cgroup")
    encoded = wire.Encoder(Counters()).event(exit_event(), Surroundings(host=HOST, actor=actor), "ab")

    assert encoded is not None
    got = ingest_pb2.EventBatch.FromString(encoded).events[0].actor
    assert ("u-7", "/usr/bin/python3", "python3") == (got.uuid, got.path, got.name)
    assert (1, "u-1") == (got.parent_tgid, got.parent_uuid)
    assert ("from-cgroup", "ab") == (got.container_id, got.sha256)


def test_an_actor_that_is_gone_is_said_by_absence() -> None:
    """A process nobody could look at has no program, rather than an empty one."""
    got = decoded(wire.Encoder(Counters()), exit_event()).actor

    assert not any(got.HasField(name) for name in ("path", "name", "container_id", "parent_tgid", "sha256"))


def test_an_event_too_large_for_the_collector_is_counted() -> None:
    """A record that could block the stream for ever is given up by number."""
    counters = Counters()
    fields = dict.fromkeys(ProcessExec.__struct_fields__, 1) | {
        "args": ("x" * wire.MAX_MESSAGE_BYTES,),
        "flags": (),
        "via": None,
        "args_tail": (),
        "stdio": (),
    }
    text = ("path", "filename", "cwd", "comm", "cgroup_path", "ld_preload", "ld_library_path")
    huge = ProcessExec(**fields | dict.fromkeys(text, "x"))

    assert wire.Encoder(counters).event(huge, NOBODY, None) is None
    assert 1 == counters.get("wire.oversized_events")


def test_a_finding_never_carries_a_command_line() -> None:
    """Secrets on a command line stay in the events, on the owner's side."""
    encoded = wire.Encoder(Counters()).finding(finding())

    assert b"hunter2" not in encoded
    assert b"python3" in encoded


def test_a_finding_arrives_whole() -> None:
    """Process, ancestors, container and evidence are what the classifier decided on."""
    counters = Counters()

    [got] = ingest_pb2.FindingBatch.FromString(wire.Encoder(counters).finding(finding())).findings

    assert ("Execution:Runtime/NewBinaryExecuted", 5.0, "T1204.002") == (got.type, got.severity, got.attack)
    assert (7, 8, "u-7", "ab") == (got.process.tgid, got.process.started_ticks, got.process.uuid, got.process.sha256)
    assert ("/usr/bin/python3", "/srv/run.py") == (got.process.path, got.process.script_path)
    assert ["u-1"] == [ancestor.uuid for ancestor in got.lineage]
    assert ("c", "docker", 3) == (got.container.id, got.container.runtime, got.container.started_at_ns)
    assert ("r", 5) == (got.evidence.reason, got.evidence.modifying_process.tgid)
    assert ("l", "e", ["n"]) == (*_threat(got.evidence.threats[0]),)
    assert not got.evidence.HasField("target_process")
    assert 0 == counters.get("wire.unencodable")


def _threat(threat: finding_pb2.Threat) -> tuple[str, str, list[str]]:
    return threat.list_name, threat.entry, list(threat.names)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Evidence, finding_pb2.Evidence),
        (PlacedContainer, event_pb2.Container),
        (Threat, finding_pb2.Threat),
        (Signal, finding_pb2.Signal),
        *((getattr(places, name), getattr(place_pb2, name)) for name in place_pb2.DESCRIPTOR.message_types_by_name),
    ],
    ids=lambda kind: kind.__name__,
)
def test_model_and_message_have_the_same_fields(model: type[msgspec.Struct], message: Any) -> None:
    """A field that is added to the model and forgotten on the wire is noticed here, not by an analyst."""
    assert set(model.__struct_fields__) == set(message.DESCRIPTOR.fields_by_name)


def test_a_finding_too_large_goes_without_its_ancestors() -> None:
    """A finding is delivered even when somebody nests processes with endless names."""
    counters = Counters()
    endless = tuple(process(name="x" * 1000) for _ in range(3000))

    [got] = ingest_pb2.FindingBatch.FromString(wire.Encoder(counters).finding(finding(lineage=endless))).findings

    assert (0, "u-7") == (len(got.lineage), got.process.uuid)
    assert 1 == counters.get("wire.trimmed_lineages")


def test_a_hostile_finding_is_still_delivered() -> None:
    """A file name that is not Unicode does not hide who ran it."""
    counters = Counters()
    named = finding(process=process(exe=Executable(path="/tmp/\udcff"), uid=-1))

    [got] = ingest_pb2.FindingBatch.FromString(wire.Encoder(counters).finding(named)).findings

    assert ("/tmp/\\udcff", 0) == (got.process.path, got.process.uid)
    assert 2 == counters.get("wire.unencodable")


def test_hello_and_health_name_the_probes() -> None:
    """The collector learns what is attached, why the rest is not, and what goes blind."""
    probes = (
        ProbeStatus(name="process_exec", attached=True, lane="raw_tracepoint"),
        ProbeStatus(name="dns_query", attached=False, reason="no cgroup2", blind_findings=("A:B/C",)),
    )
    encoder = wire.Encoder(Counters())

    hello = ingest_pb2.AgentMessage.FromString(encoder.hello(HOST, probes, {"spool_id": "s"}, PLACE)).hello
    health = ingest_pb2.AgentMessage.FromString(
        encoder.health(5, probes, ({"a": 2**65, "b": -1}, {"resident_bytes": 7}), PLACE)
    ).health

    assert ("i-1", "s", ["process_exec"]) == (hello.host.id, hello.spool_id, list(hello.probes))
    assert [("no cgroup2", ["A:B/C"])] == [
        (probe.reason, list(probe.blind_findings)) for probe in health.probes if not probe.attached
    ]
    assert ["i-1", "i-1"] == [said.place.instance.id for said in (hello, health)]
    assert ("ec2", False) == (health.place.standing[0].name, health.place.standing[0].HasField("known"))
    assert ({"a": 2**64 - 1, "b": 0}, 7, 5) == (dict(health.counters), health.resident_bytes, health.at_ns)


def test_sequences_are_stamped_when_a_row_is_sent() -> None:
    """Each event of a batch has the number that the spool gave it."""
    encoder = wire.Encoder(Counters())
    payload = (encoder.event(exit_event(), NOBODY, None) or b"") * 3

    message = wire.message_of(Row(Lane.EVENTS, 5, 7, payload))

    assert [5, 6, 7] == [event.sequence for event in message.events.events]


def test_a_gap_is_announced() -> None:
    """What was evicted is said, so that it does not look like loss on the wire."""
    message = wire.message_of(Gap(Lane.FINDINGS, 3, 9))

    assert (ingest_pb2.LANE_FINDINGS, 3, 9) == (message.evicted.lane, message.evicted.first, message.evicted.last)


@pytest.mark.parametrize(
    "payload",
    [pytest.param(b"\xff\xff\xff", id="not protobuf"), pytest.param(b"", id="fewer than the row says")],
)
def test_a_row_that_the_disk_changed_is_told_from_a_good_one(payload: bytes) -> None:
    """A flipped bit on disk costs a row, not the agent."""
    with pytest.raises(wire.UnreadableRow, match="findings 1 to 1"):
        wire.message_of(Row(Lane.FINDINGS, 1, 1, payload))


def test_mapping_goes_beside_the_event() -> None:
    """What enrichment read late is no fact of the record, and absent where nothing was read."""
    mapping = Mapping(kind="file", path="/lib/x.so", start_address=1 << 46, end_address=(1 << 46) + 4096)
    there = wire.Encoder(Counters()).event(exit_event(), Surroundings(host=HOST, actor=None, mapping=mapping), None)
    absent = wire.Encoder(Counters()).event(exit_event(), NOBODY, None)
    sent = ingest_pb2.EventBatch.FromString(there or b"").events[0].mapping

    assert ("file", "/lib/x.so", 1 << 46) == (sent.kind, sent.path, sent.start_address)
    assert not ingest_pb2.EventBatch.FromString(absent or b"").events[0].HasField("mapping")
