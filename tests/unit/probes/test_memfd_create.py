"""memfd_create: from the dentry's name to the one its maker chose."""

from __future__ import annotations

import pytest

from agent.model import MemfdCreate
from agent.probes.header import FILE
from agent.probes.memfd_create import PROBE
from tests.unit.probes.records import decoded
from tests.unit.probes.records import packed
from tests.unit.probes.records import record


@pytest.mark.parametrize(
    ("data", "flags", "name"),
    [
        pytest.param(b"memfd:x\0", (), "x", id="the kernel's prefix"),
        pytest.param(b"memfd:memfd:x\0", (), "memfd:x", id="the prefix twice: once it was chosen"),
        pytest.param(b"memfd:x\0", ("user_memory", "fd_raced"), "memfd:x", id="the maker's copy has no prefix"),
        pytest.param(b"memfd:\0", (), "", id="empty"),
        pytest.param(b"memfd:\xff\0", (), "\\xff", id="not UTF-8"),
        pytest.param(b"", ("fd_raced", "read_error"), "", id="nothing could be read"),
    ],
)
def test_name(data: bytes, flags: tuple[str, ...], name: str) -> None:
    """The prefix that the kernel adds is taken off, and nothing else is."""
    event = decoded(PROBE, record(PROBE, *flags, data=data))

    assert isinstance(event, MemfdCreate)
    assert name == event.name


def test_numbers() -> None:
    """Flags and identity arrive in their own fields."""
    event = decoded(PROBE, record(PROBE, data=b"memfd:x\0", flags_raw=1, file=packed(FILE, device=2, inode=3)))

    assert isinstance(event, MemfdCreate)
    assert (1, 2, 3) == (event.flags_raw, event.device, event.inode)
