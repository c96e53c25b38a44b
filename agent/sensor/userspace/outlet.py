"""How a child tells the agent: one message a datagram, never waiting for it.  Runs in the child.

A message is a dict of numbers and bytes, in the form of the module marshal: it
goes between two processes of ours that run the same interpreter.  What the agent
does not take at once waits here, QUEUE_BYTES at most; what is over is dropped and
counted, and the count goes along.
"""

from __future__ import annotations

import marshal
import os
from collections import deque
from typing import Any

QUEUE_BYTES = 4 << 20  # 1,000 execs with long arguments, 8,000 usual ones: as much as the eBPF source keeps
MESSAGE_BYTES = 65_536  # a message is shorter: arguments, environment and paths are bounded where they are read


class Outlet:
    """Writes to a socket of SOCK_SEQPACKET that does not block."""

    def __init__(self, fd: int) -> None:
        """`fd` belongs to the agent's other end."""
        os.set_blocking(fd, False)
        self._fd = fd
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self.sent = 0
        self.dropped = 0

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message, or keep it for later, or drop it.  Raises BrokenPipeError when the agent is gone."""
        data = marshal.dumps(message)
        if len(data) > MESSAGE_BYTES or self._waiting_bytes + len(data) > QUEUE_BYTES:
            self.dropped += 1
            return
        self.sent += 1
        if self._waiting or not self._written(data):
            self._waiting.append(data)
            self._waiting_bytes += len(data)

    def flush(self) -> bool:
        """Send what waits, as far as it is taken; tell whether that was all."""
        while self._waiting and self._written(self._waiting[0]):
            self._waiting_bytes -= len(self._waiting.popleft())
        return not self._waiting

    def _written(self, data: bytes) -> bool:
        try:
            os.write(self._fd, data)
        except BlockingIOError:
            return False
        return True
