"""kexec: which call, and which kernel."""

from __future__ import annotations

import pytest

from agent.model import Kexec
from agent.probes.kexec import PROBE
from tests.unit.probes.records import decoded
from tests.unit.probes.records import record

MAX = 2**64 - 1


@pytest.mark.parametrize(
    ("by_file", "operation", "segments"),
    [
        pytest.param(0, "kexec_load", MAX, id="from memory"),
        pytest.param(1, "kexec_file_load", None, id="from a file"),
        pytest.param(2**32 - 1, "kexec_file_load", None, id="from a file, said oddly"),
    ],
)
def test_call(by_file: int, operation: str, segments: int | None) -> None:
    """Pieces are counted where there are any."""
    event = decoded(PROBE, record(PROBE, by_file=by_file, segments=MAX, flags_raw=MAX))

    assert isinstance(event, Kexec)
    assert (operation, segments, MAX, None) == (event.operation, event.segments, event.flags_raw, event.path)


def test_path() -> None:
    """The file is told from the root, and as the caller has it."""
    event = decoded(PROBE, record(PROBE, by_file=1, data=b"b\xff\0boot\0/\0jail\0"))

    assert isinstance(event, Kexec)
    assert ("/jail/boot/b\\xff", "/boot/b\\xff") == (event.path, event.path_in_root)
