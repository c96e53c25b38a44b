"""mount: which call, and the names it came with."""

from __future__ import annotations

import pytest

from agent.model import Mount
from agent.probes.mount import PROBE
from tests.unit.probes.records import decoded
from tests.unit.probes.records import record


@pytest.mark.parametrize("call", [6, 2**32 - 1])
def test_unknown_call(call: int) -> None:
    """A call that the kernel side does not name is malformed."""
    assert decoded(PROBE, record(PROBE, call=call)) is None


@pytest.mark.parametrize(
    ("call", "name"), list(enumerate(["mount", "umount", "move_mount", "fsopen", "fsconfig", "open_tree"]))
)
def test_call(call: int, name: str) -> None:
    """Each call has its name; its flags arrive whole."""
    event = decoded(PROBE, record(PROBE, call=call, flags_raw=2**63))

    assert isinstance(event, Mount)
    assert (name, 2**63) == (event.operation, event.flags_raw)


@pytest.mark.parametrize(
    ("known", "names"),
    [
        pytest.param(0, (None, None, None), id="nothing"),
        pytest.param(1, ("a\\xff", None, None), id="the source"),
        pytest.param(2, (None, "b", None), id="the target"),
        pytest.param(4, (None, None, ""), id="a type that is empty"),
        pytest.param(7, ("a\\xff", "b", ""), id="all three"),
    ],
)
def test_names(known: int, names: tuple[str | None, str | None, str | None]) -> None:
    """A name that was not given, or could not be read, is None and not empty."""
    event = decoded(PROBE, record(PROBE, known=known, source=b"a\xff\0rest", target=b"b\0", filesystem=b"\0x"))

    assert isinstance(event, Mount)
    assert names == (event.source, event.target, event.filesystem)


@pytest.mark.parametrize(
    ("known", "said"),
    [
        pytest.param(0, (None, None), id="nothing"),
        pytest.param(8, ("k\\xff", None), id="a key whose value is not told"),
        pytest.param(24, ("k\\xff", "v" * 256), id="a value without an end"),
    ],
)
def test_set(known: int, said: tuple[str | None, str | None]) -> None:
    """What is set, and to what, is told when the kernel side could read it."""
    event = decoded(PROBE, record(PROBE, call=4, known=known, target=b"k\xff\0rest", source=b"v" * 256))

    assert isinstance(event, Mount)
    assert said == (event.key, event.value)
