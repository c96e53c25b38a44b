"""The loader child as its parent sees it, when it does not answer."""

from __future__ import annotations

import pytest

from agent.errors import HostUnsupported
from agent.sensor.ebpf import child


@pytest.mark.parametrize("request_bytes", [10, 1 << 20], ids=["a request it could take", "one it leaves half unread"])
def test_a_loader_that_dies_is_a_line_and_no_bug(request_bytes: int) -> None:
    """A child that is killed, at whatever moment, costs one sentence with what to do next."""
    with pytest.raises(HostUnsupported, match=r"loader ended without an answer \(.+\): `vedette doctor` says"):
        child.load("/bin/true", {"padding": "x" * request_bytes})
