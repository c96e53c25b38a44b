"""What belongs together carries one stem, and the set is whole.

A probe is its C, its mirror, its event, its message, its kernel test and a recorded sample; a finding type is its
declaration and its trigger.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor

from agent import model
from agent.model import Event
from vedette.v1 import event_pb2

ROOT = Path(__file__).resolve().parents[2]
EVENTS = {kind.__struct_config__.tag: kind for kind in Event.__subclasses__()}
KIND = event_pb2.Event.DESCRIPTOR.oneofs_by_name["kind"]
MESSAGES = {field.name: field.message_type for field in KIND.fields}

NOT_PROBES = frozenset({"__init__", "declaration", "header", "layout", "prices"})
"""Modules of agent/probes that are what probes are written in."""
NOT_HAPPENINGS = frozenset({"container"})
"""Messages in the oneof of Event that no probe tells of: what became known later."""
PRELUDE = frozenset(
    {
        "prelude",
        "prelude_calls",
        "prelude_compat",
        "prelude_objects",
        "prelude_names",
        "prelude_uring",
        "prelude_targets",
        "prelude_packets",
        "prelude_opens",
    }
)
"""C files that are what probes are written in."""


def stems(folder: str, pattern: str = "*.py") -> set[str]:
    """Return the stems of the files that are declarations: not underscored, not the package itself."""
    names = {path.name.partition(".")[0] for path in (ROOT / folder).glob(pattern)}
    return {name for name in names if not name.startswith("_")}


PROBES = stems("agent/probes") - NOT_PROBES
FINDINGS = stems("agent/findings")


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(stems("ebpf", "*.c") - PRELUDE, id="C files"),
        pytest.param({str(tag) for tag in EVENTS}, id="event classes"),
        pytest.param(set(MESSAGES) - NOT_HAPPENINGS, id="messages in the oneof of Event"),
    ],
)
def test_every_probe_has_its_parts(found: set[str]) -> None:
    """From the name of a probe one can name all its files, and back."""
    assert PROBES == found


@pytest.mark.parametrize("stem", sorted(PROBES))
def test_every_probe_is_tested(stem: str) -> None:
    """A probe has a test that does the deed in a real kernel, and a record that was written by one."""
    assert (ROOT / "tests/kernel" / f"test_{stem}.py").exists()
    assert list((ROOT / "tests/golden").glob(f"{stem}*.bin"))


def test_no_test_without_a_probe() -> None:
    """A recorded sample whose probe is gone is gone, too."""
    recorded = {path.name for path in (ROOT / "tests/golden").glob("*.bin")}

    assert set() == {name for name in recorded if not any(name.startswith(stem) for stem in PROBES)}


@pytest.mark.parametrize("stem", sorted(PROBES & set(MESSAGES)))
def test_module_declares_what_its_name_says(stem: str) -> None:
    """The module, the event it makes and the struct it reads are of one name."""
    module = __import__(f"agent.probes.{stem}", fromlist=["PROBE"])

    assert stem == module.PROBE.name
    assert EVENTS[stem] is module.PROBE.event
    assert f"{stem}_record" == module.RECORD.struct_name


@pytest.mark.parametrize("stem", sorted(set(MESSAGES) & {str(tag) for tag in EVENTS}))
def test_message_carries_every_fact(stem: str) -> None:
    """What an event says arrives at the collector under the same name, and nothing else does."""
    event = EVENTS[stem]
    facts = set(event.__struct_fields__) - set(Event.__struct_fields__)

    assert facts == set(MESSAGES[stem].fields_by_name)
    assert event.__name__ == MESSAGES[stem].name


@pytest.mark.parametrize("stem", sorted(set(MESSAGES) & {str(tag) for tag in EVENTS}))
def test_unknown_can_be_said(stem: str) -> None:
    """A field that may be unknown in the model may be absent on the wire, and no other may."""
    hints = {name: str(hint) for name, hint in model_hints(stem).items()}
    may_be_none = {name for name, hint in hints.items() if "None" in hint}
    fields = MESSAGES[stem].fields
    may_be_absent = {field.name for field in fields if field.has_presence and is_plain(field)}

    assert may_be_none - {field.name for field in fields if not is_plain(field)} == may_be_absent


def model_hints(stem: str) -> dict[str, object]:
    """Return the annotations of an event class, its own alone."""
    return dict(EVENTS[stem].__annotations__)


def is_plain(field: FieldDescriptor) -> bool:
    """Return whether a field is a number, text or truth; a message may be absent anyway."""
    return field.message_type is None


def test_actor_carries_the_header() -> None:
    """Who did it arrives at the collector: the common fields of the model are on the wire."""
    common = set(Event.__struct_fields__)
    event = set(event_pb2.Event.DESCRIPTOR.fields_by_name)
    actor = set(event_pb2.Actor.DESCRIPTOR.fields_by_name)

    assert set() == common - event - actor


@pytest.mark.parametrize("name", ["Process", "PlacedContainer", "Evidence", "Threat"])
def test_finding_parts_have_the_same_names(name: str) -> None:
    """What the classifier found can be told field by field: the wire invents no name of its own."""
    from vedette.v1 import finding_pb2

    parts = finding_pb2.DESCRIPTOR.message_types_by_name
    message = name.removeprefix("Placed")  # as it is told by itself; of a finding the two stand beside it
    described = parts[message] if message in parts else event_pb2.DESCRIPTOR.message_types_by_name[message]
    on_the_wire = set(described.fields_by_name)
    known = set(getattr(model, name).__struct_fields__)
    spelled_out = {"Process": {"tgid", "started_ticks", "path", "script_path", "sha256"}}  # of its key and its exe

    assert set() == on_the_wire - known - spelled_out.get(name, set())


def test_every_finding_has_its_trigger() -> None:
    """Each finding type can be seen fire, harmlessly: `vedette simulate TYPE`."""
    assert FINDINGS == stems("agent/simulate")


@pytest.mark.parametrize("stem", sorted(FINDINGS))
def test_finding_is_where_its_name_says(stem: str) -> None:
    """From the name of a finding type one can name the file, and back."""
    module = __import__(f"agent.findings.{stem}", fromlist=["FINDING"])
    tactic, _, what = module.FINDING.name.partition(":Runtime/")
    tactic, what = (tactic, what) if what else module.FINDING.name.split(":", 1)

    assert stem.replace("_", "") == "".join(letter for letter in f"{tactic}{what}".lower() if letter.isalnum())


def test_no_two_probes_take_one_operation_for_their_own() -> None:
    """What is told once a second is known by its number: under another's, one deed would hide the other."""
    numbers = {
        path.stem: int(number, 16)
        for path in (ROOT / "ebpf").glob("*.c")
        for number in re.findall(
            r"^#define \w+_OPERATION (0x[0-9a-f]+)", path.read_text(encoding="utf-8"), re.MULTILINE
        )
    }
    ranges = {stem: number >> 16 for stem, number in numbers.items()}

    assert len(ranges) > 10
    assert len(set(ranges.values())) == len(ranges), ranges
