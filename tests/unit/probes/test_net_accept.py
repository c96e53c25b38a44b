"""net_accept: from the record to the event."""

from __future__ import annotations

import socket

import pytest

from agent.model import NetAccept
from agent.model import Socket
from agent.probes.header import SOCKET
from agent.probes.net_accept import PROBE
from tests.unit.probes.records import decoded
from tests.unit.probes.records import packed
from tests.unit.probes.records import record

INFO = packed(
    SOCKET,
    family=socket.AF_INET,
    protocol=6,
    local_address=b"\xc0\0\2\1",
    local_port=443,
    remote_address=b"\xc0\0\2\2",
    remote_port=50000,
)
NOTHING = bytes(len(INFO))


@pytest.mark.parametrize(
    ("info", "flags"),
    [
        pytest.param(NOTHING, (), id="no socket"),
        pytest.param(NOTHING, ("fd_shared",), id="no socket, in a shared table"),
        pytest.param(packed(SOCKET, family=socket.AF_UNIX), ("fd_raced",), id="no internet socket, raced"),
    ],
)
def test_record_that_cannot_be(info: bytes, flags: tuple[str, ...]) -> None:
    """A record without its socket is malformed, unless it says that somebody took it away."""
    assert decoded(PROBE, record(PROBE, *flags, socket=info, fd=4, listening_fd=3)) is None


def test_every_field() -> None:
    """Who was visited by whom; a cookie that was never given out is unknown."""
    event = decoded(PROBE, record(PROBE, socket=INFO, fd=4, listening_fd=3))

    expected = Socket(
        protocol=6,
        local_address="192.0.2.1",
        local_port=443,
        remote_address="192.0.2.2",
        remote_port=50000,
        cookie=None,
    )
    assert isinstance(event, NetAccept)
    assert (4, 3, expected, ()) == (event.fd, event.listening_fd, event.socket, event.flags)


def test_socket_taken_away() -> None:
    """A socket that was not found any more is unknown, and the reason is there."""
    event = decoded(PROBE, record(PROBE, "fd_shared", "fd_raced", socket=NOTHING, fd=4, listening_fd=3))

    assert isinstance(event, NetAccept)
    assert (None, ("fd_shared", "fd_raced")) == (event.socket, event.flags)


def test_a_connection_that_was_there_before() -> None:
    """Which listening socket took it is not known then: never a descriptor of -1."""
    event = decoded(PROBE, record(PROBE, socket=INFO, fd=4, listening_fd=-1))

    assert isinstance(event, NetAccept)
    assert (4, None) == (event.fd, event.listening_fd)
