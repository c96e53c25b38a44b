"""unix_connect: from the record to the event."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import UnixConnect
from agent.probes.unix_connect import PROBE
from tests.unit.probes.records import decoded
from tests.unit.probes.records import record


def shown(name: bytes, kind: int = 1) -> UnixConnect:
    event = decoded(PROBE, record(PROBE, "user_memory", data=name, type=kind))
    assert isinstance(event, UnixConnect)
    return event


NAMES = {
    "nothing": (b"", None, False),
    "a path": (b"/run/docker.sock\0", "/run/docker.sock", False),
    "a path that fills its room": (b"/" + b"x" * 107, "/" + "x" * 107, False),
    "what stands behind a path": (b"/run/a\0/run/docker.sock", "/run/a", False),
    "a relative path": (b"a\0", "a", False),
    "a file whose name looks abstract": (b"@a\0", "@a", False),
    "no text": (b"/\xff\n\0", "/\\xff\n", False),
    "abstract": (b"\0a", "@a", True),
    "abstract, with NULs": (b"\0a\0b\0", "@a\0b\0", True),
    "abstract, no text": (b"\0\xff", "@\\xff", True),
    "abstract, empty": (b"\0", "@", True),
}


@pytest.mark.parametrize(("name", "path", "abstract"), [pytest.param(*case, id=name) for name, case in NAMES.items()])
def test_names(name: bytes, path: str | None, *, abstract: bool) -> None:
    """A name reads as ss(8) shows it, and says whether it is a file's."""
    event = shown(name)

    assert (path, abstract) == (event.path, event.abstract)


@pytest.mark.parametrize(("raw", "kind"), [(1, 1), (2, 2), (5, 5), pytest.param(0, None, id="the socket was gone")])
def test_kind_of_socket(raw: int, kind: int | None) -> None:
    """What was not found any more is unknown."""
    assert kind == shown(b"/a\0", raw).type_raw


@given(st.binary(max_size=112))
def test_any_name(name: bytes) -> None:
    """Whatever the caller wrote is shown, and a file's name never passes for an abstract one."""
    event = shown(name)

    assert event.abstract == name.startswith(b"\0")
    assert (event.path is None) == (name == b"")
