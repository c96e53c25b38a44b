"""process_chdir: where a process is now."""

from __future__ import annotations

import pytest

from agent.model import ProcessChdir
from agent.probes.process_chdir import PROBE
from tests.unit.probes.records import decoded
from tests.unit.probes.records import record


@pytest.mark.parametrize(
    ("data", "path", "in_root"),
    [
        pytest.param(b"d\0/\0jail\0", "/jail/d", "/d", id="in a chroot"),
        pytest.param(b"/\0jail\0", "/jail", "/", id="the root of a chroot"),
        pytest.param(b"d\0/\0", "/d", None, id="below the root"),
        pytest.param(b"d\0jail\0", "/jail/d", None, id="outside of the root"),
        pytest.param(b"/\0", "/", None, id="the root"),
        pytest.param(b"", "/", None, id="a root that has no mark"),
        pytest.param(b"d\0\0", "…/d", None, id="cut"),
        pytest.param(b"\xff\n\0c", "/\\xff\n", None, id="not UTF-8, and no end"),
    ],
)
def test_path(data: bytes, path: str, in_root: str | None) -> None:
    """The directory is told from the root of the mounts, and as the process has it."""
    event = decoded(PROBE, record(PROBE, data=data))

    assert isinstance(event, ProcessChdir)
    assert (path, in_root) == (event.path, event.path_in_root)
