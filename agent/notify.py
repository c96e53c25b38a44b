"""What a service says to systemd, by the datagrams of sd_notify(3).  Without systemd nothing is said.

`WATCHDOG_USEC` is how long systemd waits for a sign of life before it ends the
service; it wants one at half of that (sd_watchdog_enabled(3)).
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress

_US_PER_S = 1_000_000


class Service:
    """This process as systemd sees it."""

    def __init__(self) -> None:
        self._where = os.environ.get("NOTIFY_SOCKET", "")
        usec = os.environ.get("WATCHDOG_USEC", "")
        ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._every_s = int(usec) / _US_PER_S / 2 if usec.isdecimal() and ours else None
        self._said_s = time.monotonic()

    def ready(self, status: str) -> None:
        """Say that the service does its work, and in a line how."""
        self._say(f"READY=1\nSTATUS={status}")

    def stopping(self) -> None:
        """Say that the service was told to end and does."""
        self._say("STOPPING=1")

    def alive(self) -> None:
        """Give a sign of life when one is due; call it from the loop that must not hang."""
        now_s = time.monotonic()
        if self._every_s is not None and now_s - self._said_s >= self._every_s:
            self._said_s = now_s
            self._say("WATCHDOG=1")

    def _say(self, text: str) -> None:
        if not self._where:
            return
        address = "\0" + self._where[1:] if self._where.startswith("@") else self._where
        # Who does not listen to us does not stop us; systemd will see the silence.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
            line.setblocking(False)
            line.sendto(text.encode(), address)
