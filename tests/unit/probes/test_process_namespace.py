"""process_namespace: which call, which kinds, and every number in its own place."""

from __future__ import annotations

import pytest

from agent.model import Namespaces
from agent.model import ProcessKey
from agent.model import ProcessNamespace
from agent.probes._target import TARGET
from agent.probes.process_namespace import IDS
from agent.probes.process_namespace import PROBE
from tests.unit.probes.records import Value
from tests.unit.probes.records import decoded
from tests.unit.probes.records import packed
from tests.unit.probes.records import record

NUMBERS = {name: number for number, name in enumerate(Namespaces.__struct_fields__, start=1)}


def event_of(**values: Value) -> ProcessNamespace:
    """Return the event of a record with these fields."""
    parts: dict[str, Value] = {"target": packed(TARGET), "now": packed(IDS)}
    event = decoded(PROBE, record(PROBE, **{**parts, **values}))
    assert isinstance(event, ProcessNamespace)
    return event


def test_numbers() -> None:
    """Each namespace arrives in its own place; one that the kernel has not is unknown."""
    assert Namespaces(**NUMBERS) == event_of(now=packed(IDS, **NUMBERS)).now
    assert Namespaces(**dict.fromkeys(NUMBERS)) == event_of().now


@pytest.mark.parametrize(
    ("raw", "kinds"),
    [
        pytest.param(0, (), id="none"),
        pytest.param(0x80, ("time",), id="the lowest"),
        pytest.param(0x40020000, ("mnt", "net"), id="two"),
        pytest.param(
            2**32 - 1, ("time", "mnt", "cgroup", "uts", "ipc", "user", "pid", "net"), id="all, and bits of no kind"
        ),
    ],
)
def test_kinds(raw: int, kinds: tuple[str, ...]) -> None:
    """Bits become names; what the kernel side never sets is no kind."""
    event = event_of(kinds_raw=raw, flags_raw=7)

    assert (kinds, 7) == (event.kinds, event.flags_raw)


@pytest.mark.parametrize(("unshare", "name"), [(0, "setns"), (1, "unshare"), (2**32 - 1, "unshare")])
def test_operation(unshare: int, name: str) -> None:
    """Each call has its name."""
    assert name == event_of(unshare=unshare).operation


def test_aim() -> None:
    """What setns was given is unknown until a number says so."""
    nothing, both = event_of(), event_of(inum=5, target=packed(TARGET, tgid=7, started_ns=10_000_000, number=9))

    assert (None, None, None) == (nothing.inum, nothing.target, nothing.target_started_ns)
    assert (5, ProcessKey(7, 1)) == (both.inum, both.target)
