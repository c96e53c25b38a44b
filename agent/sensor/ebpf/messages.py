"""What agent and loader, and the loader's two halves, say to each other: JSON, and file descriptors with it.

Runs in the loader child, too: standard library only, compatible with Python 3.9.
"""

from __future__ import annotations

import json
import select
import socket
import time
from typing import Any

FDS_PER_MESSAGE = 200  # SCM_MAX_FD is 253, include/net/scm.h


def send(to: socket.socket, body: dict[str, Any], fds: list[int]) -> None:
    """Send `body` and `fds`.  Raises OSError when nobody is there."""
    text = json.dumps(body).encode()
    to.sendall(len(text).to_bytes(4, "little") + len(fds).to_bytes(4, "little") + text)
    for start in range(0, len(fds), FDS_PER_MESSAGE):
        socket.send_fds(to, [b"f"], fds[start : start + FDS_PER_MESSAGE])


def receive(sender: socket.socket, timeout_s: float | None = None) -> tuple[dict[str, Any], list[int]]:
    """Return what was sent; every descriptor is then ours to close.

    Raises EOFError when the sender ends in the middle, OSError, and TimeoutError after `timeout_s`.
    """
    until_s = None if timeout_s is None else time.monotonic() + timeout_s
    size, count = (int.from_bytes(_exactly(sender, 4, until_s), "little") for _ in range(2))
    body = json.loads(_exactly(sender, size, until_s))
    fds: list[int] = []
    while len(fds) < count:
        _wait(sender, until_s)
        _, received, _, _ = socket.recv_fds(sender, 1, FDS_PER_MESSAGE)
        if not received:
            raise EOFError
        fds += received
    return body, fds


def _exactly(sender: socket.socket, size: int, until_s: float | None) -> bytes:
    data = b""
    while len(data) < size:
        _wait(sender, until_s)
        more = sender.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def _wait(sender: socket.socket, until_s: float | None) -> None:
    if until_s is None:
        return
    left_s = until_s - time.monotonic()
    if left_s <= 0 or not select.select([sender], [], [], left_s)[0]:
        raise TimeoutError
