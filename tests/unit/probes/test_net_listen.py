"""net_listen: from the record to the event."""

from __future__ import annotations

import socket

import pytest

from agent.model import NetListen
from agent.model import Socket
from agent.probes.header import SOCKET
from agent.probes.net_listen import PROBE
from tests.unit.probes.records import decoded
from tests.unit.probes.records import packed
from tests.unit.probes.records import record

INFO = packed(SOCKET, family=socket.AF_INET6, protocol=6, local_address=bytes(16), local_port=443, cookie=2**64 - 1)


@pytest.mark.parametrize(
    ("info", "flags"),
    [
        pytest.param(bytes(len(INFO)), (), id="no socket"),
        pytest.param(bytes(len(INFO)), ("fd_shared",), id="no socket, in a shared table"),
        pytest.param(packed(SOCKET, family=socket.AF_UNIX), (), id="no internet socket"),
        pytest.param(packed(SOCKET, family=socket.AF_UNIX), ("fd_raced",), id="no internet socket, raced"),
    ],
)
def test_record_that_cannot_be(info: bytes, flags: tuple[str, ...]) -> None:
    """A record without its socket is malformed, unless it says that somebody took it away."""
    assert decoded(PROBE, record(PROBE, *flags, socket=info, fd=3)) is None


def test_every_field() -> None:
    """Who waits where, on which socket."""
    event = decoded(PROBE, record(PROBE, socket=INFO, fd=3))

    expected = Socket(
        protocol=6, local_address="::", local_port=443, remote_address=None, remote_port=None, cookie=2**64 - 1
    )
    assert isinstance(event, NetListen)
    assert (3, expected, ()) == (event.fd, event.socket, event.flags)


def test_socket_taken_away() -> None:
    """A socket that was not found any more is unknown, and the reason is there."""
    event = decoded(PROBE, record(PROBE, "fd_shared", "fd_raced", socket=bytes(len(INFO)), fd=3))

    assert isinstance(event, NetListen)
    assert (None, ("fd_shared", "fd_raced")) == (event.socket, event.flags)
