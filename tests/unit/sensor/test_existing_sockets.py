"""The sockets of a network namespace, what each of them is, and who holds it."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

import pytest
from pyroute2.netlink import diag

from agent.sensor.existing import owners
from agent.sensor.existing import sockets
from agent.sensor.existing.counts import Counts
from agent.sensor.existing.processes import Process
from agent.sensor.existing.processes import Processes


def message(state: int, local: tuple[str, int], remote: tuple[str, int] = ("192.0.2.1", 443)) -> dict[str, object]:
    """Return a socket as the kernel shows it."""
    return {
        "idiag_family": 10 if ":" in local[0] else 2,
        "idiag_state": state,
        "idiag_src": local[0],
        "idiag_sport": local[1],
        "idiag_dst": remote[0],
        "idiag_dport": remote[1],
        "idiag_cookie": 5,
        "idiag_inode": 6,
    }


@pytest.mark.parametrize(
    ("listening", "local", "kind"),
    [
        pytest.param(("192.0.2.9", 80), ("192.0.2.9", 80), "net_accept", id="its own address"),
        pytest.param(("192.0.2.9", 80), ("192.0.2.9", 81), "net_connect", id="another port"),
        pytest.param(("192.0.2.9", 80), ("192.0.2.8", 80), "net_connect", id="another address"),
        pytest.param(("0.0.0.0", 80), ("192.0.2.9", 80), "net_accept", id="on every address"),
        pytest.param(("0.0.0.0", 80), ("2001:db8::9", 80), "net_connect", id="on every address of the other family"),
        pytest.param(("::", 80), ("2001:db8::9", 80), "net_accept", id="on every address of both, IPv6"),
        pytest.param(("::", 80), ("::ffff:192.0.2.9", 80), "net_accept", id="on every address of both, IPv4"),
        pytest.param(("192.0.2.9", 80), ("::ffff:192.0.2.9", 80), "net_accept", id="mapped"),
        pytest.param(("2001:db8::9", 80), ("2001:db8::8", 80), "net_connect", id="another address of IPv6"),
    ],
)
def test_a_connection_to_where_somebody_listens_was_accepted(
    listening: tuple[str, int], local: tuple[str, int], kind: str
) -> None:
    """What comes in is told from what goes out by where somebody listens."""
    known: set[tuple[int, str]] = set()
    first = sockets._socket(message(diag.SS_LISTEN, listening), 6, known)
    then = sockets._socket(message(diag.SS_ESTABLISHED, local), 6, known)

    assert ("net_listen", kind) == (first.kind, then.kind)


def test_a_datagram_socket_is_bound_or_connected() -> None:
    """UDP knows no listening: the port of a TCP server says nothing of it."""
    known = {(80, "192.0.2.9")}
    states = (diag.SS_CLOSE, diag.SS_ESTABLISHED)

    kinds = [sockets._socket(message(state, ("192.0.2.9", 80)), 17, known).kind for state in states]
    assert ["net_bind", "net_connect"] == kinds


def test_what_the_kernel_shows_is_bounded() -> None:
    """A host with a million sockets is not held in memory; that it has more is counted."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        mine = {struct.unpack("Q", each.getsockopt(socket.SOL_SOCKET, 57, 8))[0] for each in (one, other)}  # SO_COOKIE
        counts = Counts()
        all_of_them = list(
            sockets._shown(dict.fromkeys((1 << diag.SS_LISTEN, sockets._UNCONNECTED, sockets._CONNECTED), 1000), counts)
        )
        assert mine <= {found.fields["cookie"] for found in all_of_them}
        assert 0 == counts.failed

        some = list(sockets._shown({1 << diag.SS_LISTEN: 1, sockets._UNCONNECTED: 1, sockets._CONNECTED: 1}, counts))
        assert (1, 1) == (len(some), counts.failed)


class Made(Processes):
    """Processes of a made proc file system, in the order in which they are given."""

    def __init__(self, root: Path, **links: dict[str, str]) -> None:
        self._root = root
        self.oldest_first = []
        for name, of_process in links.items():
            tgid = int(name[1:])
            self.oldest_first.append(Process(started_ticks=tgid, tgid=tgid, mnt_ns=1, net_ns=1))
            (root / str(tgid) / "fd").mkdir(parents=True)
            for fd, link in of_process.items():
                (root / str(tgid) / "fd" / fd).symlink_to(link)


def test_the_oldest_holder_owns_a_socket(tmp_path: Path) -> None:
    """Who made it comes before those who have it from there; one process may hold it twice."""
    made = Made(
        tmp_path,
        p1={"0": "/dev/null", "3": "socket:[30]"},
        p2={"4": "socket:[30]", "5": "socket:[50]", "6": "socket:[50]", "7": "pipe:[70]", "8": "socket:[80]"},
    )
    found = owners.owners(made, {30, 50, 70, 90})

    assert {30, 50} == set(found)
    assert (1, 3, False) == (found[30].process.tgid, found[30].fd, found[30].alone)
    assert (2, True) == (found[50].process.tgid, found[50].alone)


def test_processes_that_are_gone_hide_nobody(tmp_path: Path) -> None:
    """A process or descriptor that vanishes meanwhile is passed over."""
    made = Made(tmp_path, p1={"3": "socket:[30]"}, p2={"4": "socket:[40]"})
    (tmp_path / "2" / "fd" / "9").write_text("no link")
    os.unlink(tmp_path / "1" / "fd" / "3")
    os.rmdir(tmp_path / "1" / "fd")

    assert [40] == list(owners.owners(made, {30, 40}))


def test_descriptors_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process with a million descriptors does not hold up the start."""
    monkeypatch.setattr(owners, "DESCRIPTORS", 2)
    made = Made(tmp_path, p1={"1": "/a", "2": "/b"}, p2={"4": "socket:[40]"})

    assert {} == owners.owners(made, {40})
