"""fd_dup: the socket that a record shows."""

from __future__ import annotations

import socket

import pytest

from agent.model import FdDup
from agent.model import Socket
from agent.probes.fd_dup import PROBE
from agent.probes.header import SOCKET
from tests.unit.probes.records import decoded
from tests.unit.probes.records import packed
from tests.unit.probes.records import record

LOCAL = socket.inet_aton("192.0.2.1")
REMOTE = socket.inet_aton("198.51.100.2")


def shown(**fields: int | bytes) -> FdDup | None:
    info = {"family": socket.AF_INET, "protocol": 6, "local_address": LOCAL, "local_port": 40000, **fields}
    event = decoded(PROBE, record(PROBE, socket=packed(SOCKET, **info), old_fd=3, new_fd=1))
    assert event is None or isinstance(event, FdDup)
    return event


@pytest.mark.parametrize("family", [0, socket.AF_UNIX, 65535])
def test_no_internet_socket(family: int) -> None:
    """A record that shows no internet socket is malformed."""
    assert shown(family=family) is None


@pytest.mark.parametrize(
    ("fields", "remote"),
    [
        pytest.param({"remote_address": REMOTE, "remote_port": 443}, ("198.51.100.2", 443, None), id="connected"),
        pytest.param({"remote_address": REMOTE}, (None, None, None), id="no port: not connected"),
        pytest.param({"cookie": 2**64 - 1}, (None, None, 2**64 - 1), id="the largest cookie"),
    ],
)
def test_other_end(fields: dict[str, int | bytes], remote: tuple[str | None, int | None, int | None]) -> None:
    """What is not known of the other end is None: no address, no port, no cookie."""
    address, port, cookie = remote
    expected = Socket(
        protocol=6,
        local_address="192.0.2.1",
        local_port=40000,
        remote_address=address,
        remote_port=port,
        cookie=cookie,
    )
    event = shown(**fields)

    assert event is not None
    assert (3, 1, expected) == (event.old_fd, event.new_fd, event.socket)


def test_mapped_address() -> None:
    """An IPv4 address in IPv6's clothes is told as IPv4."""
    mapped = socket.inet_pton(socket.AF_INET6, "::ffff:198.51.100.2")
    event = shown(family=socket.AF_INET6, local_address=mapped, remote_address=mapped, remote_port=1)

    assert event is not None
    assert ("198.51.100.2", "198.51.100.2") == (event.socket.local_address, event.socket.remote_address)
