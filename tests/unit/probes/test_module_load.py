"""module_load: which call, what it was given, and with which parameters."""

from __future__ import annotations

import pytest

from agent.model import ModuleLoad
from agent.probes.module_load import PROBE
from tests.unit.probes.records import decoded
from tests.unit.probes.records import record

MAX = 2**64 - 1


@pytest.mark.parametrize(
    ("by_file", "operation", "size_bytes"),
    [
        pytest.param(0, "init_module", MAX, id="from memory"),
        pytest.param(1, "finit_module", None, id="from a file"),
        pytest.param(2**32 - 1, "finit_module", None, id="from a file, said oddly"),
    ],
)
def test_call(by_file: int, operation: str, size_bytes: int | None) -> None:
    """A size is told where it is known."""
    event = decoded(PROBE, record(PROBE, by_file=by_file, size_bytes=MAX, flags_raw=MAX))

    assert isinstance(event, ModuleLoad)
    assert (operation, size_bytes, MAX, None) == (event.operation, event.size_bytes, event.flags_raw, event.path)


@pytest.mark.parametrize(
    ("known", "raw", "expected"),
    [
        pytest.param(0, b"a=1\0", None, id="unreadable"),
        pytest.param(1, b"\0", "", id="none, for certain"),
        pytest.param(1, b"a=\xff\0rest", "a=\\xff", id="hostile"),
        pytest.param(1, b"a" * 256, "a" * 256, id="without an end"),
    ],
)
def test_parameters(known: int, raw: bytes, expected: str | None) -> None:
    """Parameters end where the text does, and are harmless to show."""
    event = decoded(PROBE, record(PROBE, parameters_known=known, parameters=raw))

    assert isinstance(event, ModuleLoad)
    assert expected == event.parameters


def test_path() -> None:
    """The file is told from the root, and as the caller has it."""
    event = decoded(PROBE, record(PROBE, by_file=1, data=b"b\xff.ko\0lib\0/\0jail\0"))

    assert isinstance(event, ModuleLoad)
    assert ("/jail/lib/b\\xff.ko", "/lib/b\\xff.ko") == (event.path, event.path_in_root)
