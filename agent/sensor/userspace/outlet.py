"""How a child tells the agent: several messages a datagram, never waiting for it.  Runs in the child.

A message is a dict of numbers and bytes, in the form of the module marshal: it
goes between two processes of ours that run the same interpreter.  Messages are
sent together, PATIENCE_S late at most, so that the agent is not woken for each.
What it does not take at once waits here, QUEUE_BYTES at most; what is over is
dropped and counted, and the count goes along.
"""

from __future__ import annotations

import io
import marshal
import os
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

QUEUE_BYTES = 4 << 20  # 1,000 execs with long arguments, 4,000 usual ones: as much as the eBPF source keeps
MESSAGE_BYTES = 65_536  # of a datagram; arguments, environment and paths are bounded where they are read
PATIENCE_S = 0.005  # a program that is gone sooner could not be looked at anyway


class Outlet:
    """Writes to a socket of SOCK_SEQPACKET that does not block."""

    def __init__(self, fd: int) -> None:
        """`fd` belongs to the agent's other end."""
        os.set_blocking(fd, False)
        self._fd = fd
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._since_s = 0.0
        self.dropped = 0

    def tell(self, message: dict[str, Any]) -> None:
        """Keep a message for the next flush, or drop it."""
        data = marshal.dumps(message)
        if len(data) > MESSAGE_BYTES or self._waiting_bytes + len(data) > QUEUE_BYTES:
            self.dropped += 1
            return
        if not self._waiting:
            self._since_s = time.monotonic()
        self._waiting.append(data)
        self._waiting_bytes += len(data)

    def flush(self, *, now: bool = False) -> float | None:
        """Send what is due; return in how many seconds to ask again, None when nothing waits.

        Raises BrokenPipeError when the agent is gone.
        """
        due_s = self._since_s + PATIENCE_S - time.monotonic()
        if not now and due_s > 0 and self._waiting_bytes < MESSAGE_BYTES:
            return due_s if self._waiting else None
        while self._waiting:
            count, data = self._datagram()
            try:
                os.write(self._fd, data)
            except BlockingIOError:
                return PATIENCE_S
            self._waiting_bytes -= len(data)
            for _ in range(count):
                self._waiting.popleft()
        return None

    def _datagram(self) -> tuple[int, bytes]:
        """Return how many of those that wait go into one datagram, and that."""
        size = count = 0
        for data in self._waiting:
            if size + len(data) > MESSAGE_BYTES:
                break
            size, count = size + len(data), count + 1
        return count, b"".join(data for data, _ in zip(self._waiting, range(count), strict=False))


def messages(datagram: bytes) -> Iterator[dict[str, Any]]:
    """Yield the messages of a datagram; in the agent."""
    stream = io.BytesIO(datagram)
    while stream.tell() < len(datagram):
        yield marshal.load(stream)  # noqa: S302  # of a child of ours
